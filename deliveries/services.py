"""Writes to deliveries, a chunk at a time: created, claimed, recorded, withdrawn. One statement per table per chunk.

Every change of state is a conditional update whose condition comes from the table in `deliveries.states`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from deliveries.states import OPEN, Status, sources_of
from deliveries.status_webhooks.outbox import announcing
from tenants.columns import columns_of, uuid_array


@dataclass(frozen=True, slots=True)
class Changed:
    """What a statement changed."""

    ids: set[UUID]
    announced: bool
    """Whether a tenant's own server is to hear of it: after the commit, ring for the status webhooks."""
    erased: frozenset[UUID] = frozenset()
    """Of recorded outcomes, the deliveries whose recipient was erased meanwhile: what was said of them is not to be kept."""

    @classmethod
    def of(cls, rows: Sequence[tuple[Any, ...]]) -> Changed:
        """From the rows of a statement made by `announcing`."""
        return cls({row[0] for row in rows}, announced=bool(rows) and rows[0][1])


_NOTHING = Changed(set(), announced=False)


class NewDelivery(msgspec.Struct, frozen=True, gc=False):
    """A row to be; fields are the columns of `deliveries_delivery`."""

    id: UUID
    tenant_id: int
    event_id: str
    event_type: str
    user_id: str
    channel: int
    priority: int
    status: int
    reason: str
    explanation: str | None
    """JSON"""
    sandbox: bool
    address: str
    locale: str
    template_version_id: UUID | None
    subject: str
    body: str
    html: str
    data: str | None
    """JSON"""
    attempt_count: int
    lease_until: datetime | None
    expires_at: datetime | None
    error: str
    accepted_at: datetime
    is_held: bool = False
    """Whether it waits for its time, `next_attempt_at`; nothing is rendered then."""
    next_attempt_at: datetime | None = None
    unsubscribe_token: str = ""


_CREATE = announcing("""
INSERT INTO deliveries_delivery AS d (
    id, tenant_id, event_id, event_type, user_id, channel, priority, status, reason, explanation, sandbox, address, locale,
    template_version_id, subject, body, html, data, attempt_count, lease_until, expires_at, error, accepted_at,
    is_held, unsubscribe_token, provider, created_at, next_attempt_at
)
SELECT id, tenant_id, event_id, event_type, user_id, channel, priority, status, reason, explanation::jsonb, sandbox, address,
    locale, template_version_id, subject, body, html, data::jsonb, attempt_count, lease_until, expires_at, error, accepted_at,
    is_held, unsubscribe_token, '', %(now)s, COALESCE(next_attempt_at, %(now)s)
FROM unnest(
    %(id)s::uuid[], %(tenant_id)s::int[], %(event_id)s::text[], %(event_type)s::text[], %(user_id)s::text[],
    %(channel)s::smallint[], %(priority)s::smallint[], %(status)s::smallint[], %(reason)s::text[], %(explanation)s::text[],
    %(sandbox)s::bool[], %(address)s::text[], %(locale)s::text[], %(template_version_id)s::uuid[], %(subject)s::text[],
    %(body)s::text[], %(html)s::text[], %(data)s::text[], %(attempt_count)s::smallint[], %(lease_until)s::timestamptz[],
    %(expires_at)s::timestamptz[], %(error)s::text[], %(accepted_at)s::timestamptz[], %(is_held)s::bool[],
    %(next_attempt_at)s::timestamptz[], %(unsubscribe_token)s::text[]
) AS row (
    id, tenant_id, event_id, event_type, user_id, channel, priority, status, reason, explanation, sandbox, address, locale,
    template_version_id, subject, body, html, data, attempt_count, lease_until, expires_at, error, accepted_at, is_held,
    next_attempt_at, unsubscribe_token
)
ON CONFLICT DO NOTHING
""")


def create_deliveries(*, rows: Sequence[NewDelivery], now: datetime) -> Changed:
    """Write a chunk's deliveries; returns those that were new. What exists already stays as it is."""
    if not rows:
        return _NOTHING
    columns: dict[str, Any] = columns_of(NewDelivery, rows)
    with connection.cursor() as cursor:
        cursor.execute(_CREATE, {**columns, "now": now})
        return Changed.of(cursor.fetchall())


# Locked in the order of their ids, as by those who cancel and erase: so whoever comes second waits rather than deadlocks.
_STILL_HELD = """d.id = ANY(ARRAY(
    SELECT id FROM deliveries_delivery WHERE id = ANY(%(id)s::uuid[]) AND status = 0 AND is_held ORDER BY id FOR NO KEY UPDATE
)) AND d.status = 0 AND d.is_held"""

# A delivery whose event was canceled while it was held is none of these any more.
_RELEASE = announcing(
    f"""
UPDATE deliveries_delivery d
SET status = r.status, reason = r.reason, explanation = r.explanation::jsonb, priority = r.priority, address = r.address,
    locale = r.locale, template_version_id = r.template_version_id, subject = r.subject, body = r.body, html = r.html,
    data = r.data::jsonb, attempt_count = r.attempt_count, lease_until = r.lease_until, error = r.error,
    accepted_at = GREATEST(d.accepted_at, r.accepted_at), is_held = r.is_held,
    next_attempt_at = COALESCE(r.next_attempt_at, %(now)s), unsubscribe_token = r.unsubscribe_token
FROM unnest(
    %(id)s::uuid[], %(priority)s::smallint[], %(status)s::smallint[], %(reason)s::text[], %(explanation)s::text[],
    %(address)s::text[], %(locale)s::text[], %(template_version_id)s::uuid[], %(subject)s::text[], %(body)s::text[],
    %(html)s::text[], %(data)s::text[], %(attempt_count)s::smallint[], %(lease_until)s::timestamptz[], %(error)s::text[],
    %(accepted_at)s::timestamptz[], %(is_held)s::bool[], %(next_attempt_at)s::timestamptz[],
    %(unsubscribe_token)s::text[]
) AS r (
    id, priority, status, reason, explanation, address, locale, template_version_id, subject, body, html, data, attempt_count,
    lease_until, error, accepted_at, is_held, next_attempt_at, unsubscribe_token
)
WHERE d.id = r.id AND {_STILL_HELD}
""",  # noqa: S608 - made of constants
    was="0",
)


def release_held(*, rows: Sequence[NewDelivery], now: datetime) -> Changed:
    """Let held deliveries go on as `rows` (by their ids) say, or be held further; returns those that were still waiting."""
    if not rows:
        return _NOTHING
    columns: dict[str, Any] = columns_of(NewDelivery, rows)
    with connection.cursor() as cursor:
        cursor.execute(_RELEASE, {**columns, "now": now})
        return Changed.of(cursor.fetchall())


class Settled(msgspec.Struct, frozen=True, gc=False):
    """How a held delivery ends without being sent by itself."""

    id: UUID
    status: int
    reason: str
    explanation: str
    """JSON; replaces what was there, but for the rule that asked for the delivery."""


_SETTLE = announcing(f"""
UPDATE deliveries_delivery d
SET status = r.status, reason = r.reason, is_held = false,
    explanation = r.explanation::jsonb || jsonb_strip_nulls(jsonb_build_object('routedByRule', d.explanation -> 'routedByRule'))
FROM unnest(%(id)s::uuid[], %(status)s::smallint[], %(reason)s::text[], %(explanation)s::text[])
    AS r (id, status, reason, explanation)
WHERE d.id = r.id AND {_STILL_HELD}
""")  # noqa: S608 - made of constants


def settle_held(*, rows: Sequence[Settled]) -> Changed:
    """End held deliveries, in the caller's transaction; returns those that were still waiting."""
    if not rows:
        return _NOTHING
    columns: dict[str, Any] = columns_of(Settled, rows)
    with connection.cursor() as cursor:
        cursor.execute(_SETTLE, columns)
        return Changed.of(cursor.fetchall())


_FAIL_HELD = announcing(f"""
UPDATE deliveries_delivery d SET status = %(failed)s, reason = %(reason)s, error = %(error)s, is_held = false
WHERE {_STILL_HELD}
""")  # noqa: S608 - made of constants


def fail_held(*, delivery_ids: Collection[UUID], reason: str, error: str) -> None:
    """Let held deliveries fail, in the caller's transaction."""
    parameters: dict[str, Any] = {
        "id": uuid_array(delivery_ids),
        "failed": Status.FAILED.value,
        "reason": reason,
        "error": error,
    }
    with connection.cursor() as cursor:
        cursor.execute(_FAIL_HELD, parameters)


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """What becomes of a claimed delivery."""

    id: UUID
    lease_until: datetime
    """As claimed: whoever lost the lease in between changes nothing."""
    status: int
    reason: str = ""
    error: str = ""
    provider: str = ""
    provider_account_id: UUID | None = None
    provider_message_id: str | None = None
    sandbox: bool = False
    attempt_count: int = 1
    retry_count: int = 0
    next_attempt_at: datetime | None = None
    sent_at: datetime | None = None
    delivered_at: datetime | None = None


# Nobody but the erased and inline recipients are without a user id, so that the JSON is read of few.
_IS_ERASED = "d.user_id = '' AND COALESCE(d.explanation ? 'erasedAt', false)"

# `= ANY(…)` beside the join, as in a claim: the planner looks rows up by id, and reads no other index for their states.
# A receipt may have come first and said how it ended (3: delivered, 4: bounced). It left the lease, so that who sent it and
# how is still recorded; the state stays the receipt's.
_RECORD = announcing(
    """
UPDATE deliveries_delivery d
SET status = CASE WHEN d.status = 1 THEN r.status ELSE d.status END,
    reason = CASE WHEN d.status = 1 THEN r.reason ELSE d.reason END,
    error = CASE WHEN d.status = 1 THEN r.error ELSE d.error END,
    provider = r.provider, provider_account_id = r.provider_account_id,
    provider_message_id = r.provider_message_id, sandbox = d.sandbox OR r.sandbox, attempt_count = r.attempt_count,
    retry_count = r.retry_count,
    next_attempt_at = COALESCE(r.next_attempt_at, d.next_attempt_at), lease_until = NULL,
    sent_at = CASE WHEN d.status = 1 THEN COALESCE(r.sent_at, d.sent_at) ELSE d.sent_at END,
    delivered_at = CASE WHEN d.status = 1 THEN COALESCE(r.delivered_at, d.delivered_at) ELSE d.delivered_at END
FROM unnest(
    %(id)s::uuid[], %(lease_until)s::timestamptz[], %(status)s::smallint[], %(reason)s::text[], %(error)s::text[],
    %(provider)s::text[], %(provider_account_id)s::uuid[], %(provider_message_id)s::text[], %(sandbox)s::bool[],
    %(attempt_count)s::smallint[], %(retry_count)s::smallint[], %(next_attempt_at)s::timestamptz[],
    %(sent_at)s::timestamptz[], %(delivered_at)s::timestamptz[]
) AS r (
    id, lease_until, status, reason, error, provider, provider_account_id, provider_message_id, sandbox, attempt_count,
    retry_count, next_attempt_at, sent_at, delivered_at
)
WHERE d.id = ANY(%(id)s::uuid[]) AND d.id = r.id AND d.status IN (1, 3, 4) AND d.lease_until = r.lease_until
""",
    was="CASE WHEN d.status = r.status THEN 1 ELSE d.status END",
    returning=("d.status = r.status", _IS_ERASED),
)

# Without its lease a delivery was not locked; locked here, it is either erased already, or will be after what is recorded.
_WHICH_ERASED = f"SELECT d.id, {_IS_ERASED} FROM deliveries_delivery d WHERE d.id = ANY(%s) ORDER BY d.id FOR SHARE"  # noqa: S608

_FORGET_WORDS = "UPDATE deliveries_delivery SET error = '', provider_message_id = NULL WHERE id = ANY(%s)"


def record_outcomes(*, rows: Sequence[Recorded]) -> Changed:
    """Record a chunk's outcomes; returns those whose lease still held and whose state no receipt had decided before.

    In a transaction together with the attempts, which of an erased recipient's deliveries are to be without words.
    """
    if not rows:
        return _NOTHING
    columns: dict[str, Any] = columns_of(Recorded, rows)
    with connection.cursor() as cursor:
        cursor.execute(_RECORD, columns)
        found = cursor.fetchall()
        erased = [row_id for row_id, _, _, is_erased in found if is_erased]
        if erased:
            cursor.execute(_FORGET_WORDS, [erased])
        if len(found) < len(rows):
            recorded = {row[0] for row in found}
            cursor.execute(_WHICH_ERASED, [[row.id for row in rows if row.id not in recorded]])
            erased += [row_id for row_id, is_erased in cursor.fetchall() if is_erased]
    took = {row_id for row_id, _, is_as_recorded, _ in found if is_as_recorded}
    return Changed(took, announced=bool(found) and found[0][1], erased=frozenset(erased))


class NewAttempt(msgspec.Struct, frozen=True, gc=False):
    """A row of `deliveries_attempt`."""

    id: UUID
    delivery_id: UUID
    number: int
    outcome: int
    provider: str
    provider_account_id: UUID | None
    sandbox: bool
    code: str
    response: str
    detail: str | None
    """JSON"""
    started_at: datetime
    duration_ms: int


_ATTEMPTS = """
INSERT INTO deliveries_attempt (
    id, delivery_id, number, outcome, provider, provider_account_id, sandbox, code, response, detail, started_at, duration_ms
)
SELECT id, delivery_id, number, outcome, provider, provider_account_id, sandbox, code, response, detail::jsonb, started_at,
    duration_ms
FROM unnest(
    %(id)s::uuid[], %(delivery_id)s::uuid[], %(number)s::smallint[], %(outcome)s::smallint[], %(provider)s::text[],
    %(provider_account_id)s::uuid[], %(sandbox)s::bool[], %(code)s::text[], %(response)s::text[], %(detail)s::text[],
    %(started_at)s::timestamptz[], %(duration_ms)s::int[]
) AS row (
    id, delivery_id, number, outcome, provider, provider_account_id, sandbox, code, response, detail, started_at, duration_ms
)
ON CONFLICT (id) DO NOTHING
"""


def create_attempts(*, rows: Sequence[NewAttempt]) -> None:
    if not rows:
        return
    columns: dict[str, Any] = columns_of(NewAttempt, rows)
    with connection.cursor() as cursor:
        cursor.execute(_ATTEMPTS, columns)


# What is being sent is out of reach, but its retries are not. The lock keeps both kinds from becoming the other until all is
# committed.
_SEND_NO_MORE = """
WITH held AS (
    SELECT id, status FROM deliveries_delivery WHERE tenant_id = %s AND event_id = %s AND status = ANY(%s)
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE deliveries_delivery d SET explanation = COALESCE(d.explanation, '{}') || '{"cancelRequested": true}'
FROM held WHERE d.id = held.id AND held.status = %s
"""

_CANCEL = announcing(
    "UPDATE deliveries_delivery d SET status = %s, lease_until = NULL, is_held = false "
    "WHERE d.tenant_id = %s AND d.event_id = %s AND d.status = ANY(%s) AND d.status <> %s"
)


def cancel_event_deliveries(*, tenant_id: int, event_id: str) -> int:
    """Withdraw an event's deliveries that nobody has begun to send, in the caller's transaction; returns their number.

    What is being sent at this moment may go out, but is not tried again.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SEND_NO_MORE, [tenant_id, event_id, [status.value for status in OPEN], Status.SENDING.value])
        cursor.execute(
            _CANCEL,
            [Status.CANCELED.value, tenant_id, event_id, sources_of(Status.CANCELED), Status.SENDING.value],
        )
        return int(cursor.rowcount)
