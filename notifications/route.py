"""Third stage: which words? Render every delivery, then write them all and move their events on, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, transaction
from uuid_utils.compat import uuid7

from deliveries.claims import IN_APP_LEASE
from deliveries.services import NewDelivery, create_deliveries
from deliveries.states import Status
from notifications.models import EventStatus
from notifications.recipient_links import RecipientLinks
from notifications.wire import EXPIRED, Chunk, Target, TenantFacts, Verdict, Work
from templates_app.rendering import TOO_SLOW, Rendered, RenderError, region_of, render
from templates_app.selectors import TemplateBook, published_templates
from tenants.columns import int_array, text_array, time_array, uuid_array
from tenants.vocabulary import Channel, Priority

NO_TEMPLATE = "no_template"

_DATA_CHANNELS = frozenset({Channel.PUSH, Channel.IN_APP, Channel.WEBHOOK})
"""Channels that pass the event's data on to the recipient's device or server."""


@dataclass(frozen=True, slots=True)
class Routed:
    """What the chunk came to: rows written, in-app ones already under the lease of the `send` that follows."""

    in_app: list[NewDelivery]
    waiting: set[Channel]
    """Other channels that have something to send now."""
    unfinished: bool
    """Whether some event has more recipients to come."""
    processed: int
    """Events that have come to their end."""
    statuses: Mapping[tuple[Channel, Status], int]
    """How many rows were written in each state."""
    announced: bool
    """Whether a tenant's own server is to hear of some."""


def write(chunk: Chunk, *, now: datetime) -> Routed:
    """Render and store the chunk's deliveries. What another worker stored in the meantime is left as it is."""
    rows = _render_all(chunk, now)
    with transaction.atomic():
        held = _move_on(chunk, now)
        written = create_deliveries(rows=[row for index, row in rows if index in held], now=now)
    new = [row for _, row in rows if row.id in written.ids]
    return Routed(
        in_app=[row for row in new if row.status == Status.SENDING],
        waiting={Channel(row.channel) for row in new if row.status == Status.PENDING},
        unfinished=any(work.next_cursor is not None for work in chunk.works),
        processed=sum(chunk.works[index].next_cursor is None for index in held),
        statuses=Counter((Channel(row.channel), Status(row.status)) for row in new),
        announced=written.announced,
    )


def _render_all(chunk: Chunk, now: datetime) -> list[tuple[int, NewDelivery]]:
    book = published_templates(
        {
            (chunk.works[chunk.targets[verdict.target].work].tenant_id, Channel(verdict.channel), _type_of(chunk, verdict))
            for verdict in chunk.verdicts
            if not verdict.reason
        }
    )
    shared = [_Shared.of(work, chunk.tenants[work.tenant_id], now) for work in chunk.works]
    rows = []
    for verdict in chunk.verdicts:
        target = chunk.targets[verdict.target]
        rows.append((target.work, _row(shared[target.work], target, verdict, book, now)))
    return rows


def _type_of(chunk: Chunk, verdict: Verdict) -> str:
    return chunk.works[chunk.targets[verdict.target].work].event_type


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all deliveries of an event have in common."""

    work: Work
    tenant: TenantFacts
    data: dict[str, Any]
    event_view: dict[str, Any]
    tenant_view: dict[str, Any]
    links: RecipientLinks
    too_slow: dict[UUID, RenderError] = field(default_factory=dict)
    """Template versions that took too long over this event's data: they would for its next recipient."""

    @classmethod
    def of(cls, work: Work, tenant: TenantFacts, now: datetime) -> _Shared:
        event = {
            "id": work.event_id,
            "type": work.event_type,
            "priority": str(Priority(work.priority).label),
            "metadata": msgspec.json.decode(work.metadata),
            "createdAt": work.created_at,
        }
        tenant_view = {"slug": tenant.slug, "name": tenant.name}
        return cls(work, tenant, msgspec.json.decode(work.data), event, tenant_view, RecipientLinks.of(work, tenant, now))


def _row(shared: _Shared, target: Target, verdict: Verdict, book: TemplateBook, now: datetime) -> NewDelivery:
    channel = Channel(verdict.channel)
    locale = target.contact.locale or shared.tenant.default_locale
    outcome = (
        _Outcome(Status.SUPPRESSED, verdict.reason) if verdict.reason else _rendered(shared, target, verdict, locale, book)
    )
    if verdict.reason == EXPIRED:
        outcome = _Outcome(Status.EXPIRED, EXPIRED)
    leased = outcome.status is Status.SENDING
    work, words = shared.work, outcome.words
    return NewDelivery(
        id=uuid7(),
        tenant_id=work.tenant_id,
        event_id=work.event_id,
        event_type=work.event_type,
        user_id=target.contact.user_id,
        channel=verdict.channel,
        priority=work.priority,
        status=outcome.status.value,
        reason=outcome.reason,
        explanation=_explanation(target, verdict),
        sandbox=work.sandbox and channel is not Channel.IN_APP,
        address="" if channel is Channel.IN_APP else " ".join(verdict.addresses),  # the inbox is the user's: `user_id`
        locale=locale,
        template_version_id=words.version_id if words else None,
        subject=words.subject if words else "",
        body=words.body if words else "",
        html=words.html if words else "",
        data=work.data if channel in _DATA_CHANNELS else None,
        attempt_count=1 if leased else 0,
        lease_until=now + IN_APP_LEASE if leased else None,
        expires_at=work.expires_at,
        error=outcome.error,
        accepted_at=max(work.created_at, work.due_at),
        unsubscribe_token=shared.links.header_token(target.contact.user_id, channel, verdict.addresses) if words else "",
    )


@dataclass(frozen=True, slots=True)
class _Outcome:
    status: Status
    reason: str = ""
    error: str = ""
    words: Rendered | None = None


def _rendered(shared: _Shared, target: Target, verdict: Verdict, locale: str, book: TemplateBook) -> _Outcome:
    """The words for one delivery. A template that fails, or is missing, fails this delivery alone."""
    channel = Channel(verdict.channel)
    work = shared.work
    version = book.pick(work.tenant_id, channel, work.event_type, locale, shared.tenant.default_locale)
    if version is None:
        return _Outcome(Status.FAILED, NO_TEMPLATE, f"No template for {channel.label} and {work.event_type}.")
    timezone = target.contact.timezone or shared.tenant.timezone
    try:
        if version.id in shared.too_slow:
            raise shared.too_slow[version.id]
        words = render(
            version,
            data=shared.data,
            recipient=_recipient_view(target, locale, timezone),
            event=shared.event_view,
            tenant=shared.tenant_view,
            region=region_of(
                version,
                locale=target.contact.locale,
                default_locale=shared.tenant.default_locale,
                timezone=timezone,
            ),
            links=shared.links.named(version.links, target.contact.user_id, channel, verdict.addresses)
            if version.links
            else {},
        )
    except RenderError as error:
        if error.code == TOO_SLOW:
            shared.too_slow[version.id] = error
        return _Outcome(Status.FAILED, error.code, str(error))
    # In-app is sent by the message that follows this transaction; it is born under that message's lease.
    return _Outcome(Status.SENDING if channel is Channel.IN_APP else Status.PENDING, words=words)


def _recipient_view(target: Target, locale: str, timezone: str) -> dict[str, Any]:
    contact = target.contact
    return {
        "userId": contact.user_id,
        "email": contact.email,
        "phone": contact.phone,
        "locale": locale,
        "timezone": timezone,
        "attributes": msgspec.json.decode(contact.attributes) if contact.attributes else {},
    }


def _explanation(target: Target, verdict: Verdict) -> str | None:
    """Why: what the filter said, and the rule that asked for this delivery, if one did."""
    explanation = dict(verdict.explanation or {})
    if target.rule:
        explanation["routedByRule"] = target.rule
    return msgspec.json.encode(explanation).decode() if explanation else None


# An audience may take several chunks. Its reason stays while none of them has had anybody: a cursor that has moved and no
# reason mean that one had.
_MOVE_ON = """
UPDATE notifications_event e
SET status = w.status, cursor = COALESCE(w.next_cursor, e.cursor), plan = w.plan::jsonb, processed_at = w.processed_at,
    reason = CASE WHEN e.cursor > 0 AND e.reason = '' THEN '' ELSE w.reason END,
    lease_until = NULL, lease_id = NULL, attempt_count = CASE WHEN w.next_cursor IS NULL THEN e.attempt_count ELSE 0 END
FROM unnest(
    %(id)s::uuid[], %(status)s::smallint[], %(next_cursor)s::bigint[], %(plan)s::text[], %(processed_at)s::timestamptz[],
    %(reason)s::text[]
) AS w (id, status, next_cursor, plan, processed_at, reason)
WHERE e.id = w.id AND e.status = 0 AND e.lease_id = %(lease_id)s
RETURNING e.id
"""


def _move_on(chunk: Chunk, now: datetime) -> set[int]:
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
