"""Deliveries over HTTP: looking them up, counting them, replaying a dead letter."""

from __future__ import annotations

from typing import ClassVar

from django.db.models import QuerySet
from django.utils.timezone import now as clock
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deliveries import bells
from deliveries.models import Delivery
from deliveries.replay import MOST_REPLAYED, AddressRefusedError, replay, replay_to, suppression_of
from deliveries.replay_bells import ring_for
from deliveries.selectors import DeliveryFilter, deliveries_matching, deliveries_with_history
from deliveries.serializers import (
    DeliveryDetailSerializer,
    DeliveryQuery,
    DeliverySerializer,
    RetriedSerializer,
    RetryManySerializer,
    RetrySerializer,
    StatisticsDocument,
    StatisticsQuery,
)
from deliveries.states import Status
from deliveries.statistics import statistics_of
from tenants.http.openapi import Problem
from tenants.http.problems import Conflict, InvalidRequest
from tenants.principal import caller
from tenants.vocabulary import Channel, Scope

_ID = OpenApiParameter("id", OpenApiTypes.UUID, OpenApiParameter.PATH)


class DeliveriesView(generics.ListAPIView[Delivery]):
    scopes: ClassVar = {"GET": (Scope.DELIVERIES_READ,)}
    serializer_class = DeliverySerializer
    queryset = Delivery.objects.none()

    @extend_schema(summary="The history, newest first", tags=["deliveries"], parameters=[DeliveryQuery])
    def get(self, request: Request) -> Response:
        return self.list(request)

    def get_queryset(self) -> QuerySet[Delivery]:
        return deliveries_matching(caller(self.request).tenant, DeliveryFilter(**DeliveryQuery.read(self.request)))


class DeliveryView(APIView):
    scopes: ClassVar = {"GET": (Scope.DELIVERIES_READ,)}

    @extend_schema(
        summary="One delivery, with its attempts and the reason for its state",
        tags=["deliveries"],
        parameters=[_ID],
        responses=DeliveryDetailSerializer,
    )
    def get(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        return Response(DeliveryDetailSerializer(_found(request, id)).data)


class RetryView(APIView):
    scopes: ClassVar = {"POST": (Scope.DELIVERIES_WRITE,)}

    @extend_schema(
        summary="Send a failed delivery again, now",
        description="With `address`, to that one instead: the address it had stays in the explanation.",
        tags=["deliveries"],
        parameters=[_ID],
        request=RetrySerializer,
        responses={202: DeliveryDetailSerializer, 409: Problem},
    )
    def post(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        delivery = _found(request, id)
        body = RetrySerializer(data=request.data or {})
        body.is_valid(raise_exception=True)
        if not _replayed(delivery, body.validated_data.get("address")):
            raise Conflict(_why_not(_found(request, id)))
        return Response(DeliveryDetailSerializer(_found(request, id)).data, status=202)


class RetryManyView(APIView):
    scopes: ClassVar = {"POST": (Scope.DELIVERIES_WRITE,)}

    @extend_schema(
        operation_id="deliveries_retry_many",
        summary=f"Send up to {MOST_REPLAYED:,} failed deliveries again, now",
        description="Those that have not failed, whose recipient was erased, whose address is on the suppression list, or that "
        "do not exist, are passed over. Those that were never rendered are rendered first.",
        tags=["deliveries"],
        request=RetryManySerializer,
        responses={202: RetriedSerializer},
    )
    def post(self, request: Request) -> Response:
        body = RetryManySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        replayed = replay(tenant_id=caller(request).tenant.pk, ids=set(body.validated_data["ids"]))
        ring_for(replayed)
        return Response(RetriedSerializer({"replayed": sorted(replayed.ids)}).data, status=202)


class StatisticsView(APIView):
    scopes: ClassVar = {"GET": (Scope.DELIVERIES_READ,)}

    @extend_schema(
        summary="What became of the deliveries of the last hours",
        tags=["deliveries"],
        parameters=[StatisticsQuery],
        responses=StatisticsDocument,
    )
    def get(self, request: Request) -> Response:
        hours = StatisticsQuery.read(request)["period"]
        stats = statistics_of(Delivery.objects.for_tenant(caller(request).tenant), hours=hours, now=clock())
        return Response(StatisticsDocument({"stats": stats}).data)


def _replayed(delivery: Delivery, address: str | None) -> bool:
    if address is None:
        replayed = replay(tenant_id=delivery.tenant_id, ids=[delivery.pk])
        ring_for(replayed)
        return bool(replayed)
    try:
        if sent := replay_to(delivery=delivery, address=address):
            bells.ring_send(Channel(delivery.channel))
        return sent
    except AddressRefusedError as error:
        raise InvalidRequest.field("address", str(error)) from error


def _why_not(delivery: Delivery) -> str:
    if delivery.is_erased:
        return "The delivery's recipient was erased; there is nothing left to send, and nobody to send it to."
    if delivery.status == Status.FAILED and delivery.template_version_id is None:
        return "Its message was never rendered: send it again without an address, and it goes to the recipient's own."
    if delivery.status == Status.FAILED and (listed := suppression_of(delivery)):
        return f"Its address is on the suppression list ({listed}); take it off, or name another."
    return f"The delivery is {Status(delivery.status).label}; only a failed one can be sent again."


def _found(request: Request, delivery_id: str) -> Delivery:
    return generics.get_object_or_404(deliveries_with_history(caller(request).tenant), pk=delivery_id)
