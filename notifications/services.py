"""Writes to events (taking them in, cancelling them), and the room for rules, limits and schedules."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.utils.timezone import now as clock

from deliveries import services as deliveries
from notifications.digests.models import MOST_SCHEDULES, DigestSchedule
from notifications.intake import NewEvent
from notifications.limits.models import MOST_LIMITS, Limit
from notifications.models import EventStatus, Rule
from notifications.rules import MOST_RULES
from tenants.columns import columns_of
from tenants.database.deadlocks import again_after_deadlock
from tenants.http.problems import Conflict
from tenants.models import Tenant

# One statement whatever the number of events: what is new is stored, what is known already comes back with its hash.
# The event type's own priority fills in for an event that names none.
_STORE = """
WITH incoming AS (
    SELECT * FROM unnest(
        %(id)s::uuid[], %(event_id)s::text[], %(event_type)s::text[], %(user_id)s::text[], %(to)s::text[], %(channels)s::text[],
        %(priority)s::smallint[], %(data)s::text[], %(metadata)s::text[], %(scheduled_at)s::timestamptz[],
        %(expires_at)s::timestamptz[], %(options)s::text[], %(content_hash)s::bytea[]
    ) AS row (
        id, event_id, event_type, user_id, audience, channels, priority, data, metadata, scheduled_at, expires_at, options,
        content_hash
    )
)
INSERT INTO notifications_event (
    id, tenant_id, event_id, event_type, user_id, "to", channels, priority, data, metadata, sandbox, options, content_hash,
    status, reason, error, due_at, scheduled_at, expires_at, cursor, attempt_count, created_at
)
SELECT i.id, %(tenant_id)s, i.event_id, i.event_type, i.user_id, i.audience::jsonb, i.channels::smallint[],
    COALESCE(i.priority, t.default_priority, 2), i.data::jsonb, i.metadata::jsonb, %(sandbox)s, i.options::jsonb,
    i.content_hash, 0, '', '', GREATEST(COALESCE(i.scheduled_at, %(now)s), %(now)s), i.scheduled_at, i.expires_at, 0, 0, %(now)s
FROM incoming i
LEFT JOIN notifications_eventtype t ON i.priority IS NULL AND t.tenant_id = %(tenant_id)s AND t.name = i.event_type
ON CONFLICT (tenant_id, event_id) DO NOTHING
RETURNING id
"""

_KNOWN = """
SELECT event_id, content_hash, status FROM notifications_event WHERE tenant_id = %s AND event_id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one posted event: new, the same again, or another content under a known id."""

    event_id: str
    duplicate: bool = False
    conflict: bool = False
    status: EventStatus = EventStatus.ACCEPTED


def store_events(*, tenant: Tenant, events: Sequence[NewEvent], sandbox: bool, now: datetime) -> list[Stored]:
    """Store what is new, in one statement. Committed when this returns, unless the caller holds a transaction."""
    if not events:
        return []
    columns: dict[str, Any] = columns_of(NewEvent, events)
    with connection.cursor() as cursor:
        cursor.execute(_STORE, {**columns, "tenant_id": tenant.pk, "sandbox": sandbox, "now": now})
        new = {row[0] for row in cursor.fetchall()}
        known: dict[str, tuple[bytes, int]] = {}
        if len(new) < len(events):
            cursor.execute(_KNOWN, [tenant.pk, [event.event_id for event in events if event.id not in new]])
            known = {event_id: (bytes(content_hash), status) for event_id, content_hash, status in cursor.fetchall()}
    return [_stored(event, event.id in new, known) for event in events]


def _stored(event: NewEvent, is_new: bool, known: dict[str, tuple[bytes, int]]) -> Stored:
    if is_new:
        return Stored(event.event_id)
    content_hash, status = known.get(event.event_id, (event.content_hash, EventStatus.ACCEPTED.value))
    return Stored(event.event_id, duplicate=True, conflict=content_hash != event.content_hash, status=EventStatus(status))


_CANCEL = """
UPDATE notifications_event SET status = %(canceled)s, processed_at = %(now)s, lease_until = NULL, lease_id = NULL
WHERE tenant_id = %(tenant_id)s AND event_id = %(event_id)s AND status = %(accepted)s
"""


@dataclass(frozen=True, slots=True)
class Canceled:
    event_stopped: bool
    """Whether the event had not been fully expanded into deliveries."""
    deliveries: int
    """How many waiting deliveries were withdrawn."""


def cancel_event(*, tenant: Tenant, event_id: str) -> Canceled:
    """Stop what has not been sent. Once this returns, nothing of the event begins to be sent, nor is tried again.

    The event's row decides the race with the pipeline: `route` holds it while it writes deliveries, so either the event is
    canceled before that, or its deliveries are seen, and withdrawn, here.
    """
    parameters: dict[str, Any] = {
        "tenant_id": tenant.pk,
        "event_id": event_id,
        "canceled": EventStatus.CANCELED.value,
        "accepted": EventStatus.ACCEPTED.value,
        "now": clock(),
    }

    def cancel() -> Canceled:
        return _cancel(parameters)

    return again_after_deadlock(cancel)


def _cancel(parameters: dict[str, Any]) -> Canceled:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CANCEL, parameters)
        stopped = cursor.rowcount == 1
        withdrawn = deliveries.cancel_event_deliveries(tenant_id=parameters["tenant_id"], event_id=parameters["event_id"])
    return Canceled(stopped, withdrawn)


def replay_events(*, tenant_id: int, event_ids: Collection[str]) -> set[str]:
    """Give dead letters back to the pipeline, as if they had just become due; returns the event ids that were dead letters.

    It goes on where it stopped: recipients who have their delivery already get no second one.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notifications_event SET status = %s, reason = '', error = '', due_at = %s, processed_at = NULL, "
            "lease_until = NULL, lease_id = NULL, attempt_count = 0 "
            "WHERE tenant_id = %s AND event_id = ANY(%s) AND status = %s RETURNING event_id",
            [EventStatus.ACCEPTED.value, clock(), tenant_id, list(event_ids), EventStatus.FAILED.value],
        )
        return {row[0] for row in cursor.fetchall()}


def hold_room_for_rule(tenant: Tenant) -> None:
    """Raises Conflict if the tenant has `MOST_RULES`. Else nobody else makes it a rule until this transaction ends."""
    _hold_room(tenant, Rule, MOST_RULES, "rules")


def hold_room_for_limit(tenant: Tenant) -> None:
    """As for a rule: `MOST_LIMITS`."""
    _hold_room(tenant, Limit, MOST_LIMITS, "limits")


def hold_room_for_schedule(tenant: Tenant) -> None:
    """As for a rule: `MOST_SCHEDULES`."""
    _hold_room(tenant, DigestSchedule, MOST_SCHEDULES, "digest schedules")


def _hold_room(tenant: Tenant, model: type[Rule | Limit | DigestSchedule], most: int, what: str) -> None:
    Tenant.objects.select_for_update(no_key=True).only("pk").get(pk=tenant.pk)
    if model.objects.for_tenant(tenant).count() >= most:
        raise Conflict(f"A tenant has at most {most} {what}.")
