"""A tenant's digests and their schedules over HTTP."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import transaction
from django.db.models import QuerySet
from django.utils.timezone import now as clock
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deliveries import bells
from notifications.digests.models import MOST_SCHEDULES, Digest, DigestSchedule
from notifications.digests.selectors import DigestFilter, digests_matching, holding, items_shown
from notifications.digests.serializers import DigestDetailSerializer, DigestQuery, DigestScheduleSerializer, DigestSerializer
from notifications.digests.services import send_now
from notifications.rule_views import OfTenantView
from notifications.services import hold_room_for_schedule
from tenants.http.openapi import Problem
from tenants.http.problems import Conflict
from tenants.principal import caller
from tenants.vocabulary import Scope

_ID = OpenApiParameter("id", OpenApiTypes.UUID, OpenApiParameter.PATH)
_FULL = OpenApiResponse(description=f"There are {MOST_SCHEDULES} digest schedules, and may be no more.")


@extend_schema(tags=["digests"])
@extend_schema_view(
    get=extend_schema(summary="List digest schedules"),
    post=extend_schema(
        summary="Create a digest schedule",
        description="What the cadence does not use may be left out.",
        responses={201: DigestScheduleSerializer, 409: _FULL},
    ),
)
class DigestSchedulesView(OfTenantView, generics.ListCreateAPIView):  # type: ignore[type-arg] # not generic at run time
    model = DigestSchedule
    serializer_class = DigestScheduleSerializer
    queryset = DigestSchedule.objects.none()

    @transaction.atomic
    def perform_create(self, serializer: Any) -> None:
        hold_room_for_schedule(caller(self.request).tenant)
        super().perform_create(serializer)


@extend_schema(tags=["digests"])
@extend_schema_view(
    get=extend_schema(summary="A digest schedule"),
    patch=extend_schema(summary="Change a digest schedule", description="Digests that are open keep the times they have."),
    delete=extend_schema(summary="Delete a digest schedule", description="Digests that are open go out when they are due."),
)
class DigestScheduleView(OfTenantView, generics.RetrieveUpdateDestroyAPIView):  # type: ignore[type-arg] # not generic at run time
    model = DigestSchedule
    serializer_class = DigestScheduleSerializer
    queryset = DigestSchedule.objects.none()
    lookup_url_kwarg = "id"


class DigestsView(generics.ListAPIView[Digest]):
    scopes: ClassVar = {"GET": (Scope.DELIVERIES_READ,)}
    serializer_class = DigestSerializer
    queryset = Digest.objects.none()

    @extend_schema(summary="Digests, newest first", tags=["digests"], parameters=[DigestQuery])
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response(DigestSerializer(page, many=True, context={"holding": holding(page)}).data)

    def get_queryset(self) -> QuerySet[Digest]:
        return digests_matching(caller(self.request).tenant, DigestFilter(**DigestQuery.read(self.request)))


class DigestView(APIView):
    scopes: ClassVar = {"GET": (Scope.DELIVERIES_READ,)}

    @extend_schema(summary="A digest with what is in it", tags=["digests"], parameters=[_ID], responses=DigestDetailSerializer)
    def get(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        return Response(_shown(_found(request, id)))


class CloseDigestView(APIView):
    scopes: ClassVar = {"POST": (Scope.DELIVERIES_WRITE,)}

    @extend_schema(
        operation_id="digests_close",
        summary="Send a digest now",
        description="It is due at once. One that is closed already is a 409.",
        tags=["digests"],
        parameters=[_ID],
        request=None,
        responses={202: DigestDetailSerializer, 409: Problem},
    )
    def post(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        digest = _found(request, id)
        if not send_now(digest, now=clock()):
            raise Conflict("The digest is closed already.")
        bells.ring_digests()
        return Response(_shown(_found(request, id)), status=202)


def _found(request: Request, digest_id: str) -> Digest:
    return generics.get_object_or_404(Digest.objects.for_tenant(caller(request).tenant), pk=digest_id)


def _shown(digest: Digest) -> dict[str, Any]:
    digest.shown = items_shown(digest)  # type: ignore[attr-defined]
    return dict(DigestDetailSerializer(digest, context={"holding": holding([digest])}).data)
