"""Dead letters that were never rendered, because there was no template or it was faulty: asked about and rendered anew."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from deliveries.states import Status, sources_of
from deliveries.status_webhooks.outbox import announcing
from notifications.holds.services import NewHold, Note, keep
from notifications.works import merged
from preferences.selectors import Contact
from tenants.columns import uuid_array
from tenants.times import written_utc
from tenants.vocabulary import Channel

# The rule that asked for it may have templates of its own, and may be gone.
_DEAD = """
SELECT d.id, d.tenant_id, e.id, d.channel, d.priority, d.user_id, d.address, d.explanation ->> 'routedByRule', r.template,
    e."to"::text
FROM deliveries_delivery d
JOIN notifications_event e ON e.tenant_id = d.tenant_id AND e.event_id = d.event_id
LEFT JOIN notifications_rule r ON r.tenant_id = d.tenant_id AND r.id = (d.explanation ->> 'routedByRule')::uuid
WHERE d.tenant_id = %(tenant_id)s AND d.id = ANY(%(ids)s::uuid[]) AND d.status = %(failed)s AND d.template_version_id IS NULL
    AND NOT COALESCE(d.explanation ? 'erasedAt', false)
ORDER BY d.id FOR NO KEY UPDATE OF d
"""

_HOLD = announcing("""
UPDATE deliveries_delivery d
SET status = %(pending)s, is_held = true, reason = 'replayed', error = '', next_attempt_at = %(now)s, retry_count = 0,
    interruption_count = 0,
    explanation = (COALESCE(explanation, '{}') - 'cancelRequested') || jsonb_build_object('replayedAt', %(replayed_at)s::text)
WHERE d.id = ANY(%(ids)s::uuid[]) AND d.status = ANY(%(sources)s)
""")


def ask_again(tenant_id: int, ids: Collection[UUID], now: datetime) -> set[UUID]:
    """Hold those of the deliveries that failed without words until now; returns which, in the caller's transaction.

    See `deliveries.replay`.
    """
    parameters: dict[str, Any] = {"tenant_id": tenant_id, "ids": uuid_array(ids), "failed": Status.FAILED.value}
    with connection.cursor() as cursor:
        cursor.execute(_DEAD, parameters)
        holds = [_hold(row, now) for row in cursor.fetchall()]
        if holds:
            cursor.execute(
                _HOLD,
                {
                    "ids": uuid_array(hold.delivery_id for hold in holds),
                    "pending": Status.PENDING.value,
                    "sources": sources_of(Status.PENDING),
                    "replayed_at": written_utc(now),
                    "now": now,
                },
            )
    keep(holds=holds, now=now)
    return {hold.delivery_id for hold in holds}


def _hold(row: tuple[Any, ...], now: datetime) -> NewHold:
    delivery_id, tenant_id, event, channel, priority, user_id, address, rule, template, to = row
    given = _given(() if to is None else msgspec.json.decode(to), user_id, Channel(channel), address)
    note = Note(given=given, rule=rule or "", template=template or "")
    return NewHold(
        delivery_id=delivery_id,
        tenant_id=tenant_id,
        event=event,
        channel=channel,
        priority=priority,
        due_at=now,
        digest_id=None,
        step=None,
        target=msgspec.json.encode(note).decode(),
    )


def _given(to: Any, user_id: str, channel: Channel, address: str) -> dict[str, Any] | None:
    """What the event itself says of the recipient: the entry of its `to` that the delivery is for."""
    entries: Iterable[dict[str, Any]] = to if isinstance(to, list) else [to] if isinstance(to, dict) else []
    for entry in entries:
        named = entry.get("userId", "")
        if named == user_id and (user_id or _address(entry, channel) == address):
            return entry
    return None


def _address(entry: dict[str, Any], channel: Channel) -> str:
    return " ".join(merged({**entry, "userId": ""}, {(0, ""): Contact(user_id="")}, 0).address_for(channel))
