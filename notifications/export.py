"""What this room tells in a user's export (`preferences.export`): the events that were for the user, or reached the user."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from deliveries.models import Delivery
from notifications.models import AUDIENCE, CAME_TO_AN_END, CAME_TO_NOTHING, Event, EventStatus
from notifications.serializers import EventSerializer
from preferences.export import PAGE, in_pages, in_pages_of_ids
from tenants.models import Tenant
from tenants.vocabulary import Priority


def events_of(tenant: Tenant, user_id: str) -> Iterator[Any]:
    """Events that name the user and came to no deliveries, those that list the user, then those of the user's deliveries.

    Nobody else's entry of `to` is shown.
    """
    events = Event.objects.for_tenant(tenant)
    listed = events.alias(audience=AUDIENCE).filter(audience__contains=[user_id], to__isnull=False)
    named = events.filter(user_id=user_id)
    waiting = named.filter(status=EventStatus.ACCEPTED, priority__in=Priority.values)
    ended = named.filter(CAME_TO_AN_END)
    nothing = named.filter(CAME_TO_NOTHING)
    for event in itertools.chain(in_pages_of_ids(waiting), in_pages(ended), in_pages(nothing), in_pages_of_ids(listed)):
        yield _shown(event, user_id)
    for event_ids in _reaching(tenant, user_id):
        for event in in_pages(events.filter(event_id__in=event_ids)):
            is_told = event.user_id == user_id and (event.status != EventStatus.PROCESSED or event.reason)
            if not is_told and user_id not in _users(event):
                yield _shown(event, user_id)


def _reaching(tenant: Tenant, user_id: str) -> Iterator[list[str]]:
    """The ids of the events that the user has deliveries of, each once, a page at a time."""
    told: set[str] = set()
    page: list[str] = []
    for delivery in in_pages(Delivery.objects.for_tenant(tenant).filter(user_id=user_id).only("event_id")):
        if delivery.event_id not in told:
            told.add(delivery.event_id)
            page.append(delivery.event_id)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def _users(event: Event) -> list[str]:
    """The user ids that the event's `to` names."""
    return [entry.get("userId", "") for entry in _listed(event)]


def _listed(event: Event) -> list[dict[str, Any]]:
    return event.to if isinstance(event.to, list) else [event.to] if event.to else []


def _shown(event: Event, user_id: str) -> Any:
    if isinstance(event.to, list):
        event.to = [entry for entry in event.to if entry.get("userId") == user_id]
    return EventSerializer(event).data
