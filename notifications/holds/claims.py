"""Taking up held deliveries whose time has come, under a lease: urgent first, tenants in turn, as events are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, transaction

from deliveries.held import fail_held
from notifications.claims import ClaimedEvent, claimed_event
from notifications.holds.services import EVENT_GONE, WITHOUT_EVENT, Note, lift
from notifications.suspects import CHOSEN, parameters
from notifications.taking import is_due, take_up
from notifications.wire import Held
from tenants.columns import uuid_array
from tenants.turns import waiting_sql

CHUNK = 500
MOST_BYTES = 8 * 1024 * 1024
"""Of events' data in a claim, and one event's more: each delivery has a copy of it."""
MAX_ATTEMPTS = 5
"""Times a hold may be taken up without coming to an end before its delivery fails."""

_WAITING = waiting_sql("notifications_hold", "digest_id IS NULL")

# Of what is compressed, a little in the table may be much in a worker.
_CLAIM = f"""
WITH waiting AS (
    SELECT picked.*, pair.turn, pair.priority
    FROM unnest(%(priorities)s::smallint[], %(tenants)s::int[], %(shares)s::int[])
        WITH ORDINALITY AS pair (priority, tenant_id, share, turn),
    LATERAL (
        SELECT h.delivery_id AS id, h.due_at, COALESCE(e.size, 0) AS size, h.attempt_count FROM notifications_hold h
        LEFT JOIN LATERAL (
            SELECT CASE WHEN pg_column_compression(data) IS NULL THEN pg_column_size(data) ELSE octet_length(data::text) END
                AS size
            FROM notifications_event WHERE id = h.event LIMIT 1
        ) e ON true
        WHERE h.digest_id IS NULL AND h.priority = pair.priority AND h.tenant_id = pair.tenant_id AND h.due_at <= %(now)s
          AND (h.lease_until IS NULL OR h.lease_until < %(now)s)
        ORDER BY h.due_at LIMIT pair.share
        FOR UPDATE OF h SKIP LOCKED
    ) picked
), chosen AS ({CHOSEN})
UPDATE notifications_hold h
SET lease_until = %(lease_until)s, lease_id = %(lease_id)s, attempt_count = h.attempt_count + 1
WHERE h.delivery_id = ANY(ARRAY(SELECT id FROM chosen))
RETURNING h.delivery_id
"""  # noqa: S608 - made of constants

# `ANY` and `LIMIT 1`: looked up by their ids, whatever the planner thinks of the tables.
_READ = """
SELECT h.delivery_id, h.due_at, h.step, h.target::text, h.attempt_count, d.user_id, d.channel, d.priority, d.address, e.*
FROM notifications_hold h
JOIN LATERAL (
    SELECT user_id, channel, priority, address FROM deliveries_delivery
    WHERE id = h.delivery_id AND status = 0 AND is_held LIMIT 1
) d ON true
JOIN LATERAL (
    SELECT id, tenant_id, event_id, event_type, user_id, "to"::text, channels, priority, data::text, metadata::text, sandbox,
        created_at, due_at, expires_at, 0, NULL, attempt_count, options::text
    FROM notifications_event WHERE id = h.event LIMIT 1
) e ON true
WHERE h.delivery_id = ANY(%s::uuid[]) AND h.lease_id = %s
ORDER BY h.delivery_id
"""


class ClaimedHold(msgspec.Struct, frozen=True, gc=False):
    """A delivery that was held, with its event."""

    held: Held
    note: Note
    attempt_count: int
    user_id: str
    channel: int
    priority: int
    address: str
    event: ClaimedEvent


@dataclass(frozen=True, slots=True)
class Claim:
    lease_id: UUID
    holds: list[ClaimedHold]
    more: bool
    """Whether due ones were left for the next claim."""


def claim_holds(*, now: datetime, limit: int = CHUNK) -> Claim:
    """Take up to `limit` held deliveries that are due under a lease."""
    taken = take_up(_WAITING, _CLAIM, now=now, limit=limit, **parameters(most=MOST_BYTES))
    ids = {row[0] for row in taken.rows}
    if not ids:
        return Claim(taken.lease_id, [], more=taken.more)
    with connection.cursor() as cursor:
        cursor.execute(_READ, [uuid_array(ids), taken.lease_id])
        holds = [_claimed(row) for row in cursor.fetchall()]
    if stale := ids - {one.held.delivery_id for one in holds}:
        _drop(stale, taken.lease_id)
    return Claim(taken.lease_id, holds, more=taken.more or len(ids) < taken.shared_out)


@transaction.atomic
def _drop(delivery_ids: set[UUID], lease_id: UUID) -> None:
    """Of deliveries that were canceled while they were held; those whose event is gone fail."""
    fail_held(delivery_ids=lift(delivery_ids=delivery_ids, lease_id=lease_id), reason=EVENT_GONE, error=WITHOUT_EVENT)


def _claimed(row: tuple[Any, ...]) -> ClaimedHold:
    delivery_id, due_at, step, target, attempts, user_id, channel, priority, address, *event = row
    note = msgspec.json.decode(target, type=Note)
    return ClaimedHold(
        Held(delivery_id, due_at, step, note.past), note, attempts, user_id, channel, priority, address, claimed_event(event)
    )


def holds_are_due(*, now: datetime) -> bool:
    """Whether a held delivery is due that nobody has taken up."""
    return is_due(_WAITING, now=now)
