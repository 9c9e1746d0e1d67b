"""The inbox over HTTP, for the user whose token calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deliveries.inbox import services
from deliveries.inbox.frames import Counts
from deliveries.inbox.publisher import announce_change
from deliveries.inbox.selectors import CountRequest, Inbox, Position, count_inboxes, item_by_id, items_of, position_of
from deliveries.inbox.serializers import CountsSerializer, InboxQuery, ItemSerializer, MarksSerializer, UntilSerializer
from deliveries.models import Delivery
from tenants.http.problems import InvalidRequest
from tenants.principal import caller


class InboxView(generics.ListAPIView[Delivery]):
    user_token_methods: ClassVar = {"GET"}
    serializer_class = ItemSerializer
    queryset = Delivery.objects.none()

    @extend_schema(summary="The inbox, newest first", tags=["inbox"], parameters=[InboxQuery])
    def get(self, request: Request) -> Response:
        return self.list(request)

    def get_queryset(self) -> QuerySet[Delivery]:
        inbox = inbox_of(self.request)
        return items_of(inbox, listed=InboxQuery.read(self.request).get("status"))


class CountsView(APIView):
    user_token_methods: ClassVar = {"GET"}

    @extend_schema(summary="How many items are unread, unseen, and in all", tags=["inbox"], responses=CountsSerializer)
    def get(self, request: Request) -> Response:
        return Response(CountsSerializer(_counts(inbox_of(request))).data)


class ItemView(APIView):
    user_token_methods: ClassVar = {"PATCH"}

    @extend_schema(
        summary="Mark an item as read or archived, or take the mark back",
        tags=["inbox"],
        parameters=[OpenApiParameter("id", OpenApiTypes.UUID, OpenApiParameter.PATH)],
        request=MarksSerializer,
        responses=ItemSerializer,
    )
    def patch(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        marks = MarksSerializer(data=request.data)
        marks.is_valid(raise_exception=True)
        inbox, item_id = inbox_of(request), _as_id(id)
        if not services.mark_item(inbox=inbox, item_id=item_id, **marks.validated_data):
            raise Http404
        announce_change(tenant_id=inbox.tenant_id, user_id=inbox.user_id)
        item = item_by_id(inbox, item_id)
        if item is None:
            raise Http404
        return Response(ItemSerializer(item).data)


class MarkAllReadView(APIView):
    user_token_methods: ClassVar = {"POST"}

    @extend_schema(summary="Mark all items as read", tags=["inbox"], request=UntilSerializer, responses=CountsSerializer)
    def post(self, request: Request) -> Response:
        return _mark_all(request, services.mark_all_read)


class MarkAllSeenView(APIView):
    user_token_methods: ClassVar = {"POST"}

    @extend_schema(summary="Mark all items as seen", tags=["inbox"], request=UntilSerializer, responses=CountsSerializer)
    def post(self, request: Request) -> Response:
        return _mark_all(request, services.mark_all_seen)


def inbox_of(request: Request) -> Inbox:
    """The caller's own."""
    principal = caller(request)
    assert principal.user_id is not None  # the permission lets user tokens through, and nothing else
    return Inbox(tenant_id=principal.tenant.pk, user_id=principal.user_id)


def _mark_all(request: Request, mark: Callable[..., int]) -> Response:
    body = UntilSerializer(data=request.data)
    body.is_valid(raise_exception=True)
    inbox = inbox_of(request)
    if mark(inbox=inbox, until=_position(inbox, body.validated_data.get("before"))):
        announce_change(tenant_id=inbox.tenant_id, user_id=inbox.user_id)
    return Response(CountsSerializer(_counts(inbox)).data)


def _position(inbox: Inbox, before: UUID | None) -> Position | None:
    if before is None:
        return None
    position = position_of(inbox, before)
    if position is None:
        raise InvalidRequest.field("before", "is not an item of this inbox")
    return position


def _counts(inbox: Inbox) -> Counts:
    return count_inboxes([CountRequest(inbox=inbox)])[inbox]


def _as_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Http404 from error
