"""Heartbeats over HTTP."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from notifications.heartbeats import services
from notifications.heartbeats.models import Heartbeat, HeartbeatKey
from notifications.heartbeats.seeing import LONGEST_KEY, MOST_KEYS
from notifications.heartbeats.serializers import HeartbeatKeySerializer, HeartbeatSerializer, KeysQuery
from notifications.rule_views import OfTenantView
from preferences.contact_points import is_name
from preferences.queries import name_in_path
from tenants.http.problems import InvalidRequest
from tenants.principal import caller
from tenants.vocabulary import Scope

_WRITE = (Scope.RULES_WRITE,)
_ID = OpenApiParameter("id", OpenApiTypes.UUID, OpenApiParameter.PATH)
_TAKEN = OpenApiResponse(description="Another one has this name.")


@extend_schema(tags=["heartbeats"])
@extend_schema_view(
    get=extend_schema(summary="List heartbeats"),
    post=extend_schema(
        summary="Expect events at least every so often",
        responses={
            201: HeartbeatSerializer,
            409: OpenApiResponse(
                description=f"Another one has this name, or there are {services.MOST_HEARTBEATS}, and may be no more."
            ),
        },
    ),
)
class HeartbeatsView(OfTenantView, generics.ListCreateAPIView):  # type: ignore[type-arg] # not generic at run time
    model = Heartbeat
    serializer_class = HeartbeatSerializer
    queryset = Heartbeat.objects.none()

    @transaction.atomic
    def perform_create(self, serializer: Any) -> None:
        services.hold_room_for_heartbeat(caller(self.request).tenant)
        super().perform_create(serializer)


@extend_schema(tags=["heartbeats"])
@extend_schema_view(
    get=extend_schema(summary="A heartbeat"),
    patch=extend_schema(
        summary="Change a heartbeat",
        description="Its deadlines begin anew.",
        responses={200: HeartbeatSerializer, 409: _TAKEN},
    ),
    delete=extend_schema(summary="Delete a heartbeat, and what it knows of its keys"),
)
class HeartbeatView(OfTenantView, generics.RetrieveUpdateDestroyAPIView):  # type: ignore[type-arg] # not generic at run time
    model = Heartbeat
    serializer_class = HeartbeatSerializer
    queryset = Heartbeat.objects.none()
    lookup_url_kwarg = "id"


@extend_schema(tags=["heartbeats"], parameters=[_ID])
class HeartbeatKeysView(generics.ListAPIView[HeartbeatKey]):
    scopes: ClassVar = {"GET": _WRITE}
    serializer_class = HeartbeatKeySerializer
    queryset = HeartbeatKey.objects.none()

    @extend_schema(operation_id="heartbeats_keys_list", summary="A heartbeat's keys, the newest first", parameters=[KeysQuery])
    def get(self, request: Request, id: UUID) -> Response:  # noqa: A002 - as in the path
        return self.list(request)

    def get_queryset(self) -> QuerySet[HeartbeatKey]:
        wanted = KeysQuery.read(self.request)
        keys = _heartbeat(self.request, self.kwargs["id"]).keys.all()
        return keys.filter(is_missing=wanted["missing"]) if "missing" in wanted else keys


@extend_schema(tags=["heartbeats"], parameters=[_ID, name_in_path("key", LONGEST_KEY)])
class HeartbeatKeyView(APIView):
    scopes: ClassVar = {"PUT": _WRITE, "DELETE": _WRITE}

    @extend_schema(
        operation_id="heartbeats_keys_update",
        summary="Expect a key before it was ever seen",
        description="200 says that it is expected already; nothing was changed.",
        request=None,
        responses={
            200: HeartbeatKeySerializer,
            201: HeartbeatKeySerializer,
            409: OpenApiResponse(description=f"There are {MOST_KEYS} keys, or the heartbeat has none."),
        },
    )
    def put(self, request: Request, id: UUID, key: str) -> Response:  # noqa: A002 - as in the path
        heartbeat = _heartbeat(request, id)
        row, is_new = services.declare_key(heartbeat, _checked(key))
        return Response(HeartbeatKeySerializer(row).data, status=201 if is_new else 200)

    @extend_schema(
        operation_id="heartbeats_keys_destroy",
        summary="Expect a key no more",
        description="Until it is seen again. Nothing is raised.",
        responses={204: None},
    )
    def delete(self, request: Request, id: UUID, key: str) -> Response:  # noqa: A002 - as in the path
        if not services.forget_key(_heartbeat(request, id), _checked(key)):
            raise Http404
        return Response(status=204)


def _heartbeat(request: Request, heartbeat_id: UUID) -> Heartbeat:
    found = Heartbeat.objects.for_tenant(caller(request).tenant).filter(pk=heartbeat_id).first()
    if found is None:
        raise Http404
    return found


def _checked(key: str) -> str:
    if not is_name(key, LONGEST_KEY):
        raise InvalidRequest.field("key", f"must have 1 to {LONGEST_KEY} characters and no control characters")
    return key
