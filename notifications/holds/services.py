"""Holds written and taken away: one statement each, whatever the number, in the transaction that writes their deliveries."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from notifications.wire import Past
from tenants.columns import columns_of, int_array, text_array, uuid_array

EVENT_GONE = "event_gone"
WITHOUT_EVENT = "Its event was deleted while it was held."


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `filter` and `route` have to know again of a held delivery's target: the JSON of `Hold.target`."""

    given: dict[str, Any] | None = None
    rule: str = ""
    delivery: str = ""
    template: str = ""
    past: tuple[Past, ...] = ()
    """Every time that it was held, this one included."""
    size: int = 0
    """Of what is collected: characters of its event's data, so that a digest reads no more of them than it shows."""


class NewHold(msgspec.Struct, frozen=True, gc=False):
    """A row to be; fields are the columns of `notifications_hold`."""

    delivery_id: UUID
    tenant_id: int
    event: UUID
    channel: int
    priority: int
    due_at: datetime | None
    digest_id: UUID | None
    step: int | None
    target: str
    """JSON of a `Note`"""


_KEEP = """
INSERT INTO notifications_hold (
    delivery_id, tenant_id, event, channel, priority, due_at, digest_id, step, target, attempt_count, created_at
)
SELECT delivery_id, tenant_id, event, channel, priority, due_at, digest_id, step, target::jsonb, 0, %(now)s
FROM unnest(
    %(delivery_id)s::uuid[], %(tenant_id)s::int[], %(event)s::uuid[], %(channel)s::smallint[], %(priority)s::smallint[],
    %(due_at)s::timestamptz[], %(digest_id)s::uuid[], %(step)s::smallint[], %(target)s::text[]
) AS row (delivery_id, tenant_id, event, channel, priority, due_at, digest_id, step, target)
"""


def keep(*, holds: Sequence[NewHold], now: datetime) -> None:
    """Hold deliveries that were just written as held."""
    if not holds:
        return
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, {**columns_of(NewHold, holds), "now": now})


def _delete(condition: str) -> str:
    """Holds are locked before their deliveries, and in one order: so who takes them away waits rather than deadlocks."""
    return f"""
DELETE FROM notifications_hold WHERE delivery_id = ANY(ARRAY(
    SELECT delivery_id FROM notifications_hold WHERE {condition} ORDER BY delivery_id FOR UPDATE
))"""  # noqa: S608 - made of constants


def lift(*, delivery_ids: Collection[UUID], lease_id: UUID) -> set[UUID]:
    """Take holds away that are still under our lease, in the transaction in which their deliveries go on; returns which."""
    with connection.cursor() as cursor:
        cursor.execute(
            _delete("delivery_id = ANY(%s::uuid[]) AND lease_id = %s") + " RETURNING delivery_id",
            [uuid_array(delivery_ids), lease_id],
        )
        return {row[0] for row in cursor.fetchall()}


def forget(delivery_ids: Collection[UUID]) -> None:
    """Take away what is kept of deliveries whose recipient was erased; see `deliveries.erasure`."""
    with connection.cursor() as cursor:
        cursor.execute(_delete("delivery_id = ANY(%s::uuid[])"), [uuid_array(delivery_ids)])


def drop_digests(*, digest_ids: Collection[UUID]) -> list[UUID]:
    """Take away the holds of all that digests have collected, in the transaction that closes them; returns the deliveries."""
    with connection.cursor() as cursor:
        cursor.execute(_delete("digest_id = ANY(%s::uuid[])") + " RETURNING delivery_id", [uuid_array(digest_ids)])
        return [row[0] for row in cursor.fetchall()]


# The next step's turn comes now, and those after it come as much sooner as it does.
_ADVANCE = """
WITH refused AS (
    SELECT * FROM unnest(%(events)s::uuid[], %(users)s::text[], %(steps)s::smallint[]) AS r (event, user_id, step)
), later AS (
    SELECT h.delivery_id, h.due_at, min(h.due_at) OVER (PARTITION BY r.event, r.user_id) - %(now)s AS sooner
    FROM refused r
    JOIN notifications_hold h ON h.event = r.event AND h.step > r.step AND h.digest_id IS NULL
    JOIN deliveries_delivery d ON d.id = h.delivery_id AND d.user_id = r.user_id AND d.status = 0 AND d.reason = %(reason)s
), moved AS (
    UPDATE notifications_hold h SET due_at = later.due_at - later.sooner
    FROM later WHERE h.delivery_id = later.delivery_id AND h.lease_id IS NULL AND later.sooner > interval '0'
    RETURNING h.delivery_id, h.due_at
)
UPDATE deliveries_delivery d SET next_attempt_at = moved.due_at FROM moved WHERE d.id = moved.delivery_id
"""


def advance(*, refused: Sequence[tuple[UUID, str, int]], waiting_for: str, now: datetime) -> None:
    """Where a channel of an escalation was refused, (event, user id, step), let the ones after it come sooner.

    `waiting_for`: the reason of deliveries that wait for their turn, and not for something else.
    """
    if not refused:
        return
    events, users, steps = zip(*refused, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            _ADVANCE,
            {
                "events": uuid_array(events),
                "users": text_array(users),
                "steps": int_array(steps),
                "reason": waiting_for,
                "now": now,
            },
        )
