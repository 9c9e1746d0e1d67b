"""The events that heartbeats raise: ordinary events of their tenant, each stored once, whoever raises it how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from django.db.backends.utils import CursorWrapper

from notifications import metrics
from notifications.intake import NewEvent, read_event
from tenants.columns import bool_array, columns_of, int_array
from tenants.times import written_utc
from tenants.vocabulary import Priority

# Of many tenants at once, where intake's statement is of one. The event type's own priority counts here too.
_RAISE: Final = """
WITH raised AS (
    SELECT * FROM unnest(
        %(id)s::uuid[], %(tenants)s::int[], %(event_id)s::text[], %(event_type)s::text[], %(data)s::text[],
        %(sandbox)s::boolean[], %(content_hash)s::bytea[]
    ) AS row (id, tenant_id, event_id, event_type, data, sandbox, content_hash)
)
INSERT INTO notifications_event (
    id, tenant_id, event_id, event_type, user_id, priority, data, metadata, sandbox, content_hash,
    status, reason, error, due_at, cursor, attempt_count, created_at
)
SELECT r.id, r.tenant_id, r.event_id, r.event_type, '', COALESCE(t.default_priority, 2), r.data::jsonb, '{}', r.sandbox,
    r.content_hash, 0, '', '', %(now)s, 0, 0, %(now)s
FROM raised r LEFT JOIN notifications_eventtype t ON t.tenant_id = r.tenant_id AND t.name = r.event_type
ON CONFLICT (tenant_id, event_id) DO NOTHING
RETURNING priority
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """One event to be."""

    tenant_id: int
    sandbox: bool
    key_id: UUID
    count: int
    """How often the key has been missing: what makes the event's id its own."""
    kind: str
    """`missed` or `recovered`"""
    event_type: str
    data: dict[str, Any]


def store_raised(cursor: CursorWrapper, raised: Sequence[Raised], *, now: datetime) -> int:
    """One statement, in the caller's transaction; returns how many are new."""
    events = [_event(one, now) for one in raised]
    tenants, sandbox = int_array(one.tenant_id for one in raised), bool_array(one.sandbox for one in raised)
    cursor.execute(_RAISE, {**columns_of(NewEvent, events), "tenants": tenants, "sandbox": sandbox, "now": now})
    priorities = Counter(Priority(row[0]) for row in cursor.fetchall())
    metrics.count_accepted(priorities)
    return priorities.total()


def _event(one: Raised, now: datetime) -> NewEvent:
    event_id = f"heartbeat-{one.key_id}-{one.count}-{one.kind}"
    body = {"eventId": event_id, "eventType": one.event_type, "data": one.data}
    return read_event(msgspec.json.encode(body), now=now, is_our_own=True)


def in_words(moment: datetime | None) -> str | None:
    return None if moment is None else written_utc(moment)
