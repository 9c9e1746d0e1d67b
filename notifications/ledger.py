"""How far events have come, written down in the transaction that writes their deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from notifications.models import EventStatus
from notifications.wire import Chunk, Work
from tenants.columns import int_array, text_array, time_array, uuid_array

# An audience may take several chunks. Its reason stays while none of them has had anybody: a cursor that has moved and no
# reason mean that one had.
_MOVE_ON = """
UPDATE notifications_event e
SET status = w.status, cursor = COALESCE(w.next_cursor, e.cursor), plan = w.plan::jsonb, processed_at = w.processed_at,
    recipient_count = e.recipient_count + w.recipients,
    reason = CASE WHEN e.cursor > 0 AND e.reason = '' THEN '' ELSE w.reason END,
    lease_until = NULL, lease_id = NULL, attempt_count = CASE WHEN w.next_cursor IS NULL THEN e.attempt_count ELSE 0 END
FROM unnest(
    %(id)s::uuid[], %(status)s::smallint[], %(next_cursor)s::bigint[], %(plan)s::text[], %(processed_at)s::timestamptz[],
    %(reason)s::text[], %(recipients)s::int[]
) AS w (id, status, next_cursor, plan, processed_at, reason, recipients)
WHERE e.id = w.id AND e.status = 0 AND e.lease_id = %(lease_id)s
RETURNING e.id
"""


def move_on(chunk: Chunk, now: datetime) -> set[int]:
    """Move the events on, and hold their rows until the deliveries are written; returns the indexes still under our lease.

    A cancel that came first has changed the event, and it is left out; one that comes later waits here, and then finds
    the deliveries.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _MOVE_ON,
            {
                "id": uuid_array([work.id for work in chunk.works]),
                "status": int_array([_status_after(work, now).value for work in chunk.works]),
                "next_cursor": int_array([work.next_cursor for work in chunk.works]),
                "plan": text_array([_json_or_none(work.plan) for work in chunk.works]),
                "processed_at": time_array([None if work.next_cursor is not None else now for work in chunk.works]),
                "reason": text_array([work.reason for work in chunk.works]),
                "recipients": int_array([work.recipients for work in chunk.works]),
                "lease_id": chunk.lease_id,
            },
        )
        ids: set[UUID] = {row[0] for row in cursor.fetchall()}
    return {index for index, work in enumerate(chunk.works) if work.id in ids}


def _json_or_none(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _status_after(work: Work, now: datetime) -> EventStatus:
    if work.expires_at is not None and work.expires_at <= now:
        return EventStatus.EXPIRED if work.next_cursor is None else EventStatus.ACCEPTED
    return EventStatus.PROCESSED if work.next_cursor is None else EventStatus.ACCEPTED
