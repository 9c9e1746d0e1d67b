"""Reads of events, and what else this room tells about them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from django.db import connection
from django.db.models import Count, QuerySet

from deliveries.models import Attempt, AttemptOutcome, Delivery, Receipt, ReceiptKind
from deliveries.states import Status
from deliveries.status_webhooks.metadata import EventKey
from notifications.models import Event, EventStatus, EventType
from preferences.event_types import EventTypeFacts
from preferences.selectors import topics_reach
from tenants.ids import created_within
from tenants.models import Tenant
from tenants.times import written_utc
from tenants.vocabulary import Channel

MOST_SHOWN = 200
"""Deliveries listed with their event; a broadcast has more, and they are all in the deliveries list."""


def event_by_id(tenant: Tenant, event_id: str) -> Event | None:
    return Event.objects.for_tenant(tenant).filter(event_id=event_id).first()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """What to look for; None leaves a part open, the others are all required. `since <= created_at < until`."""

    event_type: str | None = None
    user_id: str | None = None
    status: EventStatus | None = None
    since: datetime | None = None
    until: datetime | None = None


def events_matching(tenant: Tenant, wanted: EventFilter) -> QuerySet[Event]:
    """The tenant's events that match, unordered and without their content."""
    exact = {"event_type": wanted.event_type, "user_id": wanted.user_id, "status": wanted.status}
    given = {name: value for name, value in exact.items() if value is not None}
    events = Event.objects.for_tenant(tenant).filter(created_within(wanted.since, wanted.until), **given)
    return events.defer("to", "data", "metadata", "plan", "content_hash")


def deliveries_of_event(tenant: Tenant, event_id: str) -> list[Delivery]:
    """An event's deliveries with their attempts and receipts, oldest first, at most `MOST_SHOWN`; three statements."""
    deliveries = Delivery.objects.for_tenant(tenant).filter(event_id=event_id).order_by("id")
    return list(deliveries.prefetch_related("attempts", "receipts")[:MOST_SHOWN])


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an event has come."""

    recipients: int
    """Of its audience, those that it has come to."""
    of: int | None
    """How many the audience has, as of now; None if nobody knows yet."""
    by_status: dict[str, int]
    """Its deliveries."""


def progress_of(event: Event) -> Progress:
    """Two statements; of a broadcast to 100,000 the second takes a tenth of a second."""
    counts = Delivery.objects.for_tenant(event.tenant_id).filter(event_id=event.event_id).values_list("status")
    by_status = {str(Status(status).label): count for status, count in counts.annotate(count=Count("id")).order_by("status")}
    return Progress(event.recipient_count, _audience_size(event), by_status)


def _audience_size(event: Event) -> int | None:
    if event.status != EventStatus.ACCEPTED:
        return event.recipient_count if event.status == EventStatus.PROCESSED else None
    sources = event.plan if isinstance(event.plan, list) else [_named_in(event)] if event.user_id or event.to else None
    if sources is None:
        return None
    subscribers, _ = topics_reach(event.tenant, {source["topic"] for source in sources if source.get("topic")}, besides=())
    return sum(subscribers.get(source.get("topic", ""), 0) + len(source.get("recipients", ())) for source in sources)


def _named_in(event: Event) -> dict[str, Any]:
    """The audience that the event itself names, in the shape of its plan."""
    if isinstance(event.to, dict) and "topic" in event.to:
        return {"topic": event.to["topic"]}
    return {"recipients": event.to if isinstance(event.to, list) else [event.user_id]}


def timeline(event: Event, deliveries: Sequence[Delivery]) -> list[dict[str, Any]]:
    """What happened to the event and its deliveries, in order: `{at, type, delivery_id?, channel?, detail?}`."""
    entries = [*_event_entries(event)]
    for delivery in deliveries:
        entries += _delivery_entries(delivery)
    return sorted(entries, key=lambda entry: entry["at"])


def _event_entries(event: Event) -> Iterator[dict[str, Any]]:
    yield {"at": event.created_at, "type": "event.accepted"}
    ended_first = event.processed_at is not None and event.scheduled_at is not None and event.processed_at < event.scheduled_at
    if event.scheduled_at is not None and not ended_first:
        yield {"at": event.scheduled_at, "type": "event.due"}
    if event.processed_at is not None:
        entry: dict[str, Any] = {"at": event.processed_at, "type": f"event.{EventStatus(event.status).label}"}
        detail = event.error or event.reason
        yield entry | ({"detail": detail} if detail else {})


def _delivery_entries(delivery: Delivery) -> Iterator[dict[str, Any]]:
    about = {"delivery_id": delivery.id, "channel": str(Channel(delivery.channel).label)}
    held = list(_times_held(delivery))
    if (ended_at := _ended_without_attempt_at(delivery, held)) is not None:
        detail = {"detail": delivery.reason} if delivery.reason else {}
        yield {"at": ended_at, "type": f"delivery.{Status(delivery.status).label}", **about, **detail}
        if ended_at == delivery.created_at:
            return
    yield {"at": delivery.created_at, "type": "delivery.created", **about}
    for reason, since, until in held:
        yield {"at": since, "type": "delivery.held", **about, "detail": f"{reason} until {written_utc(until)}"}
    for attempt in delivery.attempts.all():
        yield _attempt_entry(attempt, about)
    receipts = delivery.receipts.all()
    for receipt in receipts:
        yield _receipt_entry(receipt, about)
    # Where the hand-over itself said that it arrived, there is no receipt.
    arrived = None if any(receipt.kind == ReceiptKind.DELIVERED for receipt in receipts) else delivery.delivered_at
    for at, name in ((arrived, "delivered"), (delivery.seen_at, "seen"), (delivery.read_at, "read")):
        if at is not None:
            yield {"at": at, "type": f"delivery.{name}", **about}


def _ended_without_attempt_at(delivery: Delivery, held: Sequence[tuple[str, datetime, datetime]]) -> datetime | None:
    """When it was decided that it is not to be sent, or not by itself; None if it is."""
    said = delivery.explanation if isinstance(delivery.explanation, dict) else {}
    if delivery.status == Status.CANCELED:
        return datetime.fromisoformat(said["canceledAt"]) if "canceledAt" in said else None
    if delivery.attempt_count or delivery.is_held or delivery.status not in _DECIDED:
        return None
    return held[-1][2] if held else delivery.created_at


_DECIDED = {Status.SUPPRESSED, Status.EXPIRED, Status.DIGESTED}


def _times_held(delivery: Delivery) -> Iterator[tuple[str, datetime, datetime]]:
    """Why, from when and until when it was held back, or is."""
    past = delivery.explanation.get("heldFor", ()) if isinstance(delivery.explanation, dict) else ()
    since = delivery.created_at
    for one in past:
        since, until = datetime.fromisoformat(one["since"]), datetime.fromisoformat(one["until"])
        yield one["reason"], since, until
        since = until
    if delivery.is_held:
        yield delivery.reason, since, delivery.next_attempt_at


def _attempt_entry(attempt: Attempt, about: dict[str, Any]) -> dict[str, Any]:
    if attempt.outcome == AttemptOutcome.SENT:
        return {"at": attempt.started_at, "type": "delivery.sent", **about, "detail": attempt.provider}
    detail = f"attempt {attempt.number}: {AttemptOutcome(attempt.outcome).label}, {attempt.code}"
    return {"at": attempt.started_at, "type": "delivery.attempt_failed", **about, "detail": detail}


def _receipt_entry(receipt: Receipt, about: dict[str, Any]) -> dict[str, Any]:
    detail = ": ".join(part for part in (receipt.code, receipt.response) if part)
    entry = {"at": receipt.at, "type": f"delivery.{ReceiptKind(receipt.kind).label}", **about}
    return entry | ({"detail": detail} if detail else {})


class EventTypes:
    """What the preference resolver asks about event types; see `preferences.event_types`."""

    def facts(self, tenant_id: int, event_type: str) -> EventTypeFacts | None:
        found = EventType.objects.for_tenant(tenant_id).filter(name=event_type).first()
        if found is None:
            return None
        return _facts_of(found)

    def all_facts(self, tenant_id: int) -> Mapping[str, EventTypeFacts]:
        return {each.name: _facts_of(each) for each in EventType.objects.for_tenant(tenant_id).order_by("name")}

    def names(self, tenant_id: int) -> Collection[str]:
        return list(EventType.objects.for_tenant(tenant_id).order_by("name").values_list("name", flat=True))


def _facts_of(event_type: EventType) -> EventTypeFacts:
    return EventTypeFacts(
        category=event_type.category,
        required=event_type.required,
        default_enabled=event_type.default_enabled,
        description=event_type.description,
    )


_METADATA = """
SELECT e.tenant_id, e.event_id, e.metadata::text
FROM unnest(%s::int[], %s::text[]) AS wanted (tenant_id, event_id)
JOIN notifications_event e ON e.tenant_id = wanted.tenant_id AND e.event_id = wanted.event_id
WHERE e.metadata <> '{}'
"""


def metadata_of_events(events: Collection[EventKey]) -> dict[EventKey, dict[str, Any]]:
    """The metadata of those that have any; one statement. See `deliveries.status_webhooks.metadata`."""
    with connection.cursor() as cursor:
        cursor.execute(_METADATA, [[tenant_id for tenant_id, _ in events], [event_id for _, event_id in events]])
        return {(tenant_id, event_id): msgspec.json.decode(text) for tenant_id, event_id, text in cursor.fetchall()}
