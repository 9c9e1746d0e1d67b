"""Status messages taken up under a lease, recorded, pruned: one statement each, whatever the number of messages.

All times are the database's own, as those that the outbox is filled with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from django.db import connection
from django.utils.timezone import now as clock

from deliveries.status_webhooks.models import DisabledReason, MessageState
from deliveries.status_webhooks.schedule import GIVE_UP_AFTER
from tenants.columns import columns_of
from tenants.fields import decrypt
from tenants.ids import first_id_at

LEASE: Final = timedelta(seconds=30)
"""Longer than a claim's requests can take: all are under way at once, and each has a time limit of 15 s."""
CLAIM_SIZE: Final = 64
AT_ONCE: Final = 32
"""Requests under way to one endpoint, by all workers together. One that fails gets one at a time, until it succeeds."""
KEPT_FOR: Final = timedelta(days=7)
PRUNED_AT_ONCE: Final = 1000

_DUE = "m.state = 0 AND m.next_attempt_at <= statement_timestamp() AND COALESCE(m.lease_until < statement_timestamp(), true)"

# Hops along status_message_due from one endpoint with something pending to the next; then those with room that have something
# due. Who takes part in a full claim is drawn by lot.
_FREE = f"""
WITH RECURSIVE waiting AS (
    (SELECT endpoint_id FROM deliveries_statusmessage WHERE state = 0 ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT next.endpoint_id FROM waiting, LATERAL (
        SELECT endpoint_id FROM deliveries_statusmessage WHERE state = 0 AND endpoint_id > waiting.endpoint_id
        ORDER BY endpoint_id LIMIT 1
    ) next
), free AS MATERIALIZED (
    SELECT e.id, e.url, e.secret, room.size,
        CASE WHEN e.old_secret_until > statement_timestamp() THEN e.old_secret ELSE '' END AS old_secret
    FROM waiting JOIN deliveries_statusendpoint e ON e.id = waiting.endpoint_id AND e.is_active, LATERAL (
        SELECT CASE WHEN e.failing_since IS NULL THEN %(at_once)s ELSE 1 END - count(*) AS size
        FROM deliveries_statusmessage m
        WHERE m.endpoint_id = e.id AND m.state = 0 AND m.lease_until >= statement_timestamp()
    ) room
    WHERE room.size > 0 AND EXISTS (SELECT FROM deliveries_statusmessage m WHERE m.endpoint_id = e.id AND {_DUE})
    ORDER BY random() LIMIT %(limit)s
)
"""  # noqa: S608 - made of constants

_CLAIM = f"""{_FREE}, due AS (
    SELECT picked.id, free.url, free.secret, free.old_secret FROM free, LATERAL (
        SELECT m.id FROM deliveries_statusmessage m WHERE m.endpoint_id = free.id AND {_DUE}
        ORDER BY m.next_attempt_at
        LIMIT least(free.size, greatest(1, %(limit)s / (SELECT count(*) FROM free)))
        FOR UPDATE SKIP LOCKED
    ) picked
)
UPDATE deliveries_statusmessage m
SET lease_until = statement_timestamp() + %(lease)s, attempt_count = m.attempt_count + 1
FROM due WHERE m.id = ANY(ARRAY(SELECT id FROM due)) AND m.id = due.id
RETURNING m.id, m.tenant_id, m.endpoint_id, due.url, due.secret, due.old_secret, m.status, m.payload::text, m.created_at,
    m.attempt_count, m.lease_until
"""  # noqa: S608 - made of constants


class ClaimedMessage(msgspec.Struct, frozen=True, gc=False):
    id: UUID
    tenant_id: int
    endpoint_id: UUID
    url: str
    secret: str
    """In its `whsec_` form."""
    old_secret: str
    """The one that it replaces, while that signs as well; else empty."""
    status: int
    payload: dict[str, Any]
    created_at: datetime
    attempt: int
    """This attempt's number, from 1."""
    lease_until: datetime


def claim_messages(*, limit: int = CLAIM_SIZE) -> list[ClaimedMessage]:
    """Take up to `limit` due messages under a lease, the same share for every endpoint that waits."""
    parameters: dict[str, Any] = {"limit": limit, "at_once": AT_ONCE, "lease": LEASE}
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, parameters)
        rows = cursor.fetchall()
    secrets = {token: decrypt(token) for token in {row[column] for row in rows for column in _SECRETS} if token}
    return [_claimed(secrets, *row) for row in rows]


def _claimed(secrets: Mapping[str, str], *row: Any) -> ClaimedMessage:
    values = list(row)
    for column in _SECRETS:
        values[column] = secrets.get(values[column], "")
    values[_PAYLOAD] = msgspec.json.decode(values[_PAYLOAD])
    return ClaimedMessage(*values)


_SECRETS = [ClaimedMessage.__struct_fields__.index(name) for name in ("secret", "old_secret")]
_PAYLOAD = ClaimedMessage.__struct_fields__.index("payload")


def messages_are_due() -> bool:
    """Whether there is anything to send that nobody holds, to an endpoint with room for it."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_FREE} SELECT EXISTS (SELECT FROM free)", {"limit": 1, "at_once": AT_ONCE})  # noqa: S608
        return bool(cursor.fetchone()[0])


class RecordedMessage(msgspec.Struct, frozen=True, gc=False):
    """What became of a claimed message."""

    id: UUID
    lease_until: datetime
    """As claimed: whoever lost the lease in between changes nothing."""
    state: int
    wait_ms: int | None
    """Until the next attempt, while it is pending."""
    code: str
    excerpt: str
    gone: bool
    """The endpoint wants nothing more."""


# The messages, and what they say of their endpoints: a success ends a time of failing; a failure begins one, or finds it too
# long.
_RECORD = f"""
WITH r AS (
    SELECT * FROM unnest(
        %(id)s::uuid[], %(lease_until)s::timestamptz[], %(state)s::smallint[], %(wait_ms)s::bigint[], %(code)s::text[],
        %(excerpt)s::text[], %(gone)s::bool[]
    ) AS r (id, lease_until, state, wait_ms, code, excerpt, gone)
), recorded AS (
    UPDATE deliveries_statusmessage m
    SET state = r.state, lease_until = NULL, response_code = r.code, response_excerpt = r.excerpt,
        next_attempt_at = COALESCE(statement_timestamp() + r.wait_ms * interval '1 millisecond', m.next_attempt_at),
        done_at = CASE WHEN r.state <> {MessageState.PENDING.value} THEN statement_timestamp() END
    FROM r WHERE m.id = r.id AND m.state = {MessageState.PENDING.value} AND m.lease_until = r.lease_until
    RETURNING m.endpoint_id, r.state, r.gone
), word AS (
    SELECT endpoint_id, bool_or(state = {MessageState.SENT.value}) AS answered, bool_or(gone) AS gone
    FROM recorded GROUP BY endpoint_id
), verdict AS (
    SELECT e.id, word.answered, CASE
            WHEN word.gone THEN '{DisabledReason.GONE.value}'
            WHEN NOT word.answered AND e.failing_since < statement_timestamp() - %(give_up_after)s
                THEN '{DisabledReason.FAILING.value}'
            ELSE ''
        END AS reason
    FROM word JOIN deliveries_statusendpoint e ON e.id = word.endpoint_id AND e.is_active
    WHERE word.gone OR e.failing_since IS NOT NULL OR NOT word.answered
)
UPDATE deliveries_statusendpoint e
SET failing_since = CASE WHEN NOT verdict.answered THEN COALESCE(e.failing_since, statement_timestamp()) END,
    is_active = (verdict.reason = ''),
    disabled_at = CASE WHEN verdict.reason <> '' THEN statement_timestamp() END,
    disabled_reason = verdict.reason
FROM verdict
WHERE e.id = verdict.id AND e.is_active AND (verdict.reason <> '' OR verdict.answered OR e.failing_since IS NULL)
RETURNING e.id, e.tenant_id, e.disabled_reason
"""  # noqa: S608 - made of constants


class Disabled(msgspec.Struct, frozen=True):
    """An endpoint that the service gives up."""

    endpoint_id: UUID
    tenant_id: int
    reason: str


def record_messages(*, rows: Sequence[RecordedMessage]) -> list[Disabled]:
    """Record what became of claimed messages whose lease still holds; returns the endpoints that this disabled."""
    if not rows:
        return []
    columns: dict[str, Any] = columns_of(RecordedMessage, rows)
    with connection.cursor() as cursor:
        cursor.execute(_RECORD, columns | {"give_up_after": GIVE_UP_AFTER})
        return [Disabled(*row) for row in cursor.fetchall() if row[2]]


# What a disabled or deleted endpoint left behind is pruned with what is done.
_PRUNE = """
DELETE FROM deliveries_statusmessage WHERE id = ANY(ARRAY(
    SELECT m.id FROM deliveries_statusmessage m
    WHERE m.id < %(before)s
      AND (m.state <> 0 OR NOT EXISTS (SELECT FROM deliveries_statusendpoint e WHERE e.id = m.endpoint_id AND e.is_active))
    ORDER BY m.id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
))
"""


def prune_messages() -> int:
    """Delete messages older than `KEPT_FOR` that wait for nothing, at most `PRUNED_AT_ONCE`; returns how many.

    Found through their ids, which begin with the time.
    """
    with connection.cursor() as cursor:
        cursor.execute(_PRUNE, {"before": first_id_at(clock() - KEPT_FOR), "limit": PRUNED_AT_ONCE})
        return int(cursor.rowcount)
