"""The tenant's rules and event types."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics

from notifications.models import EventType, Rule
from notifications.rules import MOST_RULES
from notifications.serializers import EventTypeSerializer, RuleSerializer
from notifications.services import hold_room_for_rule
from tenants.http.problems import Conflict
from tenants.principal import caller
from tenants.vocabulary import Scope

_SCOPES = dict.fromkeys(("GET", "POST", "PATCH", "DELETE"), (Scope.RULES_WRITE,))


class OfTenant(generics.GenericAPIView):  # type: ignore[type-arg] # not generic at run time
    # Everything starts from the caller's tenant; what is not unique is a 409. (A docstring would describe the operations.)
    scopes: ClassVar = _SCOPES
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    model: ClassVar[Any]

    def get_queryset(self) -> QuerySet[Any]:
        return self.model.objects.for_tenant(caller(self.request).tenant)  # type: ignore[no-any-return]

    def perform_create(self, serializer: Any) -> None:
        _saved(serializer, tenant=caller(self.request).tenant)

    def perform_update(self, serializer: Any) -> None:
        _saved(serializer)


def _saved(serializer: Any, **values: Any) -> None:
    try:
        with transaction.atomic():
            serializer.save(**values)
    except IntegrityError as error:
        raise Conflict("Another one has this name.") from error


_TAKEN = {409: OpenApiResponse(description="Another one has this name.")}


@extend_schema(tags=["rules"])
@extend_schema_view(
    get=extend_schema(summary="List rules"),
    post=extend_schema(
        summary="Create a rule",
        responses={201: RuleSerializer, 409: OpenApiResponse(description=f"There are {MOST_RULES} rules, and may be no more.")},
    ),
)
class RulesView(OfTenant, generics.ListCreateAPIView):  # type: ignore[type-arg] # not generic at run time
    model = Rule
    serializer_class = RuleSerializer
    queryset = Rule.objects.none()

    @transaction.atomic
    def perform_create(self, serializer: Any) -> None:
        hold_room_for_rule(caller(self.request).tenant)
        super().perform_create(serializer)


@extend_schema(tags=["rules"])
@extend_schema_view(
    get=extend_schema(summary="A rule"),
    patch=extend_schema(summary="Change a rule"),
    delete=extend_schema(summary="Delete a rule"),
)
class RuleView(OfTenant, generics.RetrieveUpdateDestroyAPIView):  # type: ignore[type-arg] # not generic at run time
    model = Rule
    serializer_class = RuleSerializer
    queryset = Rule.objects.none()
    lookup_url_kwarg = "id"


@extend_schema(tags=["event types"])
@extend_schema_view(
    get=extend_schema(summary="List event types"),
    post=extend_schema(summary="Declare an event type", responses={201: EventTypeSerializer, **_TAKEN}),
)
class EventTypesView(OfTenant, generics.ListCreateAPIView):  # type: ignore[type-arg] # not generic at run time
    model = EventType
    serializer_class = EventTypeSerializer
    queryset = EventType.objects.none()


@extend_schema(tags=["event types"])
@extend_schema_view(
    get=extend_schema(summary="An event type"),
    patch=extend_schema(summary="Change an event type", responses={200: EventTypeSerializer, **_TAKEN}),
    delete=extend_schema(summary="Delete an event type"),
)
class EventTypeView(OfTenant, generics.RetrieveUpdateDestroyAPIView):  # type: ignore[type-arg] # not generic at run time
    model = EventType
    serializer_class = EventTypeSerializer
    queryset = EventType.objects.none()
    lookup_url_kwarg = "id"
