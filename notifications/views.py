"""Events in, and what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
from django.db.models import QuerySet
from django.http import Http404
from django.utils.timezone import now as clock
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deliveries import bells
from notifications import metrics, selectors
from notifications.backpressure import is_closed_to
from notifications.intake import NewEvent, read_bulk, read_event
from notifications.models import Event, EventStatus
from notifications.openapi import BULK_BODY, EVENT_BODY
from notifications.options import Options
from notifications.serializers import (
    AcceptedSerializer,
    BulkAcceptedSerializer,
    CanceledSerializer,
    EventDetailSerializer,
    EventIdsSerializer,
    EventQuery,
    EventSummarySerializer,
    ReplayedEventsSerializer,
)
from notifications.services import Stored, cancel_event, replay_events, store_events
from tenants.http.parsers import read_body
from tenants.http.problems import Busy, Conflict, FieldError
from tenants.http.structs import StructError
from tenants.principal import caller
from tenants.vocabulary import Priority, Scope

_EVENT_ID = OpenApiParameter("event_id", str, OpenApiParameter.PATH, description="The client's own id of the event.")


class EventsView(generics.ListAPIView[Event]):
    scopes: ClassVar = {"GET": (Scope.EVENTS_WRITE, Scope.DELIVERIES_READ), "POST": (Scope.EVENTS_WRITE,)}
    serializer_class = EventSummarySerializer
    queryset = Event.objects.none()

    @extend_schema(
        operation_id="events_list",
        summary="Events, the newest first",
        description="`status=failed` are the dead letters: what no stage could digest, with the reason.",
        parameters=[EventQuery],
    )
    def get(self, request: Request) -> Response:
        return self.list(request)

    def get_queryset(self) -> QuerySet[Event]:
        return selectors.events_matching(caller(self.request).tenant, selectors.EventFilter(**EventQuery.read(self.request)))

    @extend_schema(
        operation_id="events_create",
        summary="Post an event",
        request={"application/json": EVENT_BODY},
        responses={
            202: OpenApiResponse(AcceptedSerializer, description="Stored; it will be processed whatever happens now."),
            200: OpenApiResponse(AcceptedSerializer, description="The same event was accepted before."),
            409: OpenApiResponse(description="Another event has this id."),
            413: OpenApiResponse(description="The body is over 512 KB."),
            503: OpenApiResponse(description="Too much is waiting, or the database is away; see `Retry-After`."),
        },
    )
    def post(self, request: Request) -> Response:
        now = clock()
        event = read_event(read_body(request._request), now=now)
        _turn_away(request, [event])
        (stored,) = store_events(tenant=caller(request).tenant, events=[event], sandbox=caller(request).sandbox, now=now)
        if stored.conflict:
            raise Conflict(f"The event {stored.event_id} was accepted before with other content.")
        if stored.duplicate:
            return Response(
                {"success": True, "eventId": stored.event_id, "status": stored.status.label, "duplicate": True}, status=200
            )
        _announce([event])
        return Response({"success": True, "eventId": stored.event_id, "status": EventStatus.ACCEPTED.label}, status=202)


class EventView(APIView):
    scopes: ClassVar = {"GET": (Scope.EVENTS_WRITE, Scope.DELIVERIES_READ), "DELETE": (Scope.EVENTS_WRITE,)}

    @extend_schema(
        operation_id="events_retrieve",
        summary="An event, its timeline and its deliveries",
        parameters=[_EVENT_ID],
        responses=EventDetailSerializer,
    )
    def get(self, request: Request, event_id: str) -> Response:
        event = selectors.event_by_id(caller(request).tenant, _checked(event_id))
        if event is None:
            raise Http404
        deliveries = selectors.deliveries_of_event(caller(request).tenant, event_id)
        event.timeline = selectors.timeline(event, deliveries)  # type: ignore[attr-defined]
        event.deliveries = deliveries  # type: ignore[attr-defined]
        event.progress = selectors.progress_of(event)  # type: ignore[attr-defined]
        options = msgspec.convert(event.options or {}, Options)
        event.digest_key, event.escalation = options.digest_key, options.as_posted()  # type: ignore[attr-defined]
        return Response(EventDetailSerializer(event).data)

    @extend_schema(
        operation_id="events_cancel",
        summary="Cancel what has not been sent",
        parameters=[_EVENT_ID],
        responses={200: CanceledSerializer},
    )
    def delete(self, request: Request, event_id: str) -> Response:
        tenant = caller(request).tenant
        if selectors.event_by_id(tenant, _checked(event_id)) is None:
            raise Http404
        canceled = cancel_event(tenant=tenant, event_id=event_id)
        event = selectors.event_by_id(tenant, event_id)
        assert event is not None
        body = {"success": True, "event_id": event_id, "status": event.status, "canceled_deliveries": canceled.deliveries}
        return Response(CanceledSerializer(body).data)


@extend_schema_view(get=extend_schema(exclude=True), delete=extend_schema(exclude=True))
class BulkEventsView(EventView):
    """Many at once; and the event whose id is `bulk`, if there is one."""

    scopes: ClassVar = {**EventView.scopes, "POST": (Scope.EVENTS_WRITE,)}

    @extend_schema(
        operation_id="events_bulk_create",
        summary="Post up to 1,000 events",
        description="Good events are taken, bad ones named; posting the same again changes nothing.",
        request={"application/json": BULK_BODY},
        responses={
            202: BulkAcceptedSerializer,
            413: OpenApiResponse(description="The body is over 512 KB."),
        },
    )
    def post(self, request: Request, event_id: str) -> Response:
        now = clock()
        events: list[NewEvent] = []
        places: list[int] = []
        errors: list[dict[str, Any]] = []
        for index, raw in enumerate(read_bulk(read_body(request._request))):
            try:
                events.append(read_event(raw, now=now))
                places.append(index)
            except StructError as error:
                errors += _entry_errors(index, error.errors)
        _turn_away(request, events)
        stored = store_events(tenant=caller(request).tenant, events=events, sandbox=caller(request).sandbox, now=now)
        fresh = [event for event, one in zip(events, stored, strict=True) if not one.duplicate]
        errors += _conflicts(places, stored)
        if fresh:
            _announce(fresh)
        rejected = len({error["index"] for error in errors})
        return Response(
            {
                "success": not errors,
                "accepted": len(fresh),
                "duplicates": sum(one.duplicate and not one.conflict for one in stored),
                "rejected": rejected,
                "errors": sorted(errors, key=lambda error: error["index"]),
            },
            status=202,
        )


@extend_schema_view(get=extend_schema(exclude=True), delete=extend_schema(exclude=True))
class ReplayEventsView(EventView):
    """Many at once; and the event whose id is `retry`, if there is one."""

    scopes: ClassVar = {**EventView.scopes, "POST": (Scope.EVENTS_WRITE,)}

    @extend_schema(
        operation_id="events_retry",
        summary="Process up to 1,000 failed events again",
        description="Each goes on where it stopped. Those that have not failed, or do not exist, are passed over.",
        request=EventIdsSerializer,
        responses={202: ReplayedEventsSerializer},
    )
    def post(self, request: Request, event_id: str) -> Response:
        body = EventIdsSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        replayed = replay_events(tenant_id=caller(request).tenant.pk, event_ids=set(body.validated_data["event_ids"]))
        if replayed:
            bells.ring_enrich()
        return Response(ReplayedEventsSerializer({"replayed": sorted(replayed)}).data, status=202)


def _turn_away(request: Request, events: Sequence[NewEvent]) -> None:
    """Raises Busy while too much waits, unless everything is urgent."""
    if any(event.priority != Priority.URGENT for event in events) and is_closed_to(caller(request).tenant.pk):
        raise Busy


def _announce(events: Sequence[NewEvent]) -> None:
    counts = Counter(Priority.NORMAL if event.priority is None else Priority(event.priority) for event in events)
    metrics.count_accepted(counts)
    bells.ring_enrich()


def _entry_errors(index: int, errors: Sequence[FieldError]) -> list[dict[str, Any]]:
    return [{"index": index, "field": error.field, "code": error.code, "message": error.message} for error in errors]


def _conflicts(places: Sequence[int], stored: Sequence[Stored]) -> list[dict[str, Any]]:
    return [
        {"index": index, "field": "eventId", "code": "conflict", "message": "Accepted before with other content."}
        for index, one in zip(places, stored, strict=True)
        if one.conflict
    ]


def _checked(event_id: str) -> str:
    if "\x00" in event_id:
        raise Http404
    return event_id
