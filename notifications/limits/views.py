"""A tenant's limits over HTTP."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics

from notifications.limits.models import MOST_LIMITS, Limit
from notifications.limits.serializers import LimitSerializer
from notifications.rule_views import OfTenantView
from notifications.services import hold_room_for_limit
from tenants.principal import caller

_FULL = OpenApiResponse(description=f"There are {MOST_LIMITS} limits, and may be no more.")


@extend_schema(tags=["limits"])
@extend_schema_view(
    get=extend_schema(summary="List limits"),
    post=extend_schema(summary="Create a limit", responses={201: LimitSerializer, 409: _FULL}),
)
class LimitsView(OfTenantView, generics.ListCreateAPIView):  # type: ignore[type-arg] # not generic at run time
    model = Limit
    serializer_class = LimitSerializer
    queryset = Limit.objects.none()

    @transaction.atomic
    def perform_create(self, serializer: Any) -> None:
        hold_room_for_limit(caller(self.request).tenant)
        super().perform_create(serializer)


@extend_schema(tags=["limits"])
@extend_schema_view(
    get=extend_schema(summary="A limit"),
    patch=extend_schema(summary="Change a limit", description="What was counted before stays counted."),
    delete=extend_schema(summary="Delete a limit"),
)
class LimitView(OfTenantView, generics.RetrieveUpdateDestroyAPIView):  # type: ignore[type-arg] # not generic at run time
    model = Limit
    serializer_class = LimitSerializer
    queryset = Limit.objects.none()
    lookup_url_kwarg = "id"
