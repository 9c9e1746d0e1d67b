"""Events taken up under a lease; see `notifications.taking`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from notifications.options import NONE, Options, read_options
from notifications.taking import is_due, take_up
from tenants.turns import pairs_sql, waiting_sql

CHUNK = 500
"""Events taken up at once. Small enough to finish well inside a lease, large enough that statements cost next to nothing."""
MOST_BYTES = 4 * 1024 * 1024
"""Of events' data in a claim, as stored (compressed), and one event's more."""
MAX_ATTEMPTS = 5
"""Times an event may be taken up without coming to an end before it is set aside as a dead letter."""

SUSPECT_AFTER = 2
"""Attempts after which an event works apart from the others."""
SUSPECTS_TOGETHER = 20
"""Under suspicion for the first time. Many are if a Redis that is killed again and again has lost their chunks."""

PAIRS = pairs_sql("notifications_event", "status = 0")
_WAITING = waiting_sql("notifications_event", "status = 0")

# `= ANY(ARRAY(…))`: the planner cannot know how few rows a claim has, and for a join it would read the whole table. The
# order in the count of those who wait makes it use the index for the same reason.
_CLAIM = """
WITH waiting AS (
    SELECT picked.id, picked.size
    FROM unnest(%(priorities)s::smallint[], %(tenants)s::int[], %(shares)s::int[]) AS pair (priority, tenant_id, share),
    LATERAL (
        SELECT e.id, pg_column_size(e.data) AS size FROM notifications_event e
        WHERE e.status = 0 AND e.priority = pair.priority AND e.tenant_id = pair.tenant_id AND e.due_at <= %(now)s
          AND (e.lease_until IS NULL OR e.lease_until < %(now)s)
        ORDER BY e.due_at LIMIT pair.share
        FOR UPDATE SKIP LOCKED
    ) picked
), chosen AS (
    SELECT id FROM (SELECT id, size, sum(size) OVER (ROWS UNBOUNDED PRECEDING) AS total FROM waiting) summed
    WHERE total - size < %(most_bytes)s
)
UPDATE notifications_event e
SET lease_until = %(lease_until)s, lease_id = %(lease_id)s, attempt_count = e.attempt_count + 1
WHERE e.id = ANY(ARRAY(SELECT id FROM chosen))
RETURNING e.id, e.tenant_id, e.event_id, e.event_type, e.user_id, e."to"::text, e.channels, e.priority, e.data::text,
    e.metadata::text, e.sandbox, e.created_at, e.due_at, e.expires_at, e.cursor, e.plan::text, e.attempt_count, e.options::text
"""


class ClaimedEvent(msgspec.Struct, frozen=True, gc=False):
    id: UUID
    tenant_id: int
    event_id: str
    event_type: str
    user_id: str
    to: Any
    channels: list[int] | None
    priority: int
    data: str
    """JSON, as are `metadata`'s: most stages only pass them on, and MessagePack has no integers beyond 64 bits."""
    metadata: str
    sandbox: bool
    created_at: datetime
    due_at: datetime
    expires_at: datetime | None
    cursor: int
    plan: Any
    attempt_count: int
    options: Options = NONE


@dataclass(frozen=True, slots=True)
class Claim:
    lease_id: UUID
    events: list[ClaimedEvent]
    more: bool
    """Whether due events were left for the next claim."""


def claim_events(*, now: datetime, limit: int = CHUNK) -> Claim:
    """Take up to `limit` due events under a lease of `LEASE`."""
    taken = take_up(_WAITING, _CLAIM, now=now, limit=limit, most_bytes=MOST_BYTES)
    # The urgent first, and in the order in which they came: so are their deliveries, in an inbox and in a digest.
    events = sorted(map(claimed_event, taken.rows), key=lambda event: (event.priority, event.id))
    is_cut = sum(len(event.data) for event in events) >= MOST_BYTES
    return Claim(taken.lease_id, events, more=taken.more or is_cut)


def events_are_due(*, now: datetime) -> bool:
    """Whether an event is due that nobody holds."""
    return is_due(_WAITING, now=now)


_TO, _PLAN, _OPTIONS = (ClaimedEvent.__struct_fields__.index(name) for name in ("to", "plan", "options"))


def claimed_event(row: Sequence[Any]) -> ClaimedEvent:
    """From a row of the columns that a claim returns."""
    values = list(row)
    for position in (_TO, _PLAN):
        values[position] = None if values[position] is None else msgspec.json.decode(values[position])
    values[_OPTIONS] = read_options(values[_OPTIONS])
    return ClaimedEvent(*values)
