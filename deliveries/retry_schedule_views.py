"""A tenant's retry schedules over HTTP, for its administrators."""

from __future__ import annotations

from typing import ClassVar

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deliveries.retry_schedules import drop_schedule, effective_schedules, set_schedule
from deliveries.serializers import NewRetrySchedule, RetrySchedulesDocument, RetryScheduleSerializer
from tenants.principal import caller
from tenants.vocabulary import Channel, Scope

_ADMIN = (Scope.ADMIN,)
_CHANNEL = OpenApiParameter("channel", str, OpenApiParameter.PATH, enum=Channel.api_names())


@extend_schema(tags=["retry schedules"])
class RetrySchedulesView(APIView):
    scopes: ClassVar = {"GET": _ADMIN}

    @extend_schema(
        operation_id="retry_schedules_list",
        summary="What holds on each channel when a hand-over fails",
        description="One page with every channel.",
        responses=RetrySchedulesDocument,
    )
    def get(self, request: Request) -> Response:
        schedules = effective_schedules(caller(request).tenant)
        return Response(RetrySchedulesDocument({"results": schedules, "next": None, "previous": None}).data)


@extend_schema(tags=["retry schedules"], parameters=[_CHANNEL])
class RetryScheduleView(APIView):
    scopes: ClassVar = {"GET": _ADMIN, "PUT": _ADMIN, "DELETE": _ADMIN}

    @extend_schema(
        operation_id="retry_schedules_retrieve", summary="What holds on a channel", responses=RetryScheduleSerializer
    )
    def get(self, request: Request, channel: str) -> Response:
        return Response(_shown(request, _channel(channel)))

    @extend_schema(
        operation_id="retry_schedules_set",
        summary="Give a channel a schedule of the tenant's own",
        description="It counts from the next failure on, also for what is being retried already.",
        request=NewRetrySchedule,
        responses=RetryScheduleSerializer,
    )
    def put(self, request: Request, channel: str) -> Response:
        place = _channel(channel)
        body = NewRetrySchedule(data=request.data)
        body.is_valid(raise_exception=True)
        set_schedule(tenant=caller(request).tenant, channel=place, **body.validated_data)
        return Response(_shown(request, place))

    @extend_schema(
        operation_id="retry_schedules_reset",
        summary="Let a channel have the default again",
        description="Whether or not it had a schedule of the tenant's own.",
        responses={204: None},
    )
    def delete(self, request: Request, channel: str) -> Response:
        drop_schedule(tenant=caller(request).tenant, channel=_channel(channel))
        return Response(status=204)


def _channel(name: str) -> Channel:
    try:
        return Channel.from_label(name)
    except KeyError as error:
        raise Http404 from error


def _shown(request: Request, channel: Channel) -> dict[str, object]:
    (schedule,) = effective_schedules(caller(request).tenant, [channel])
    return dict(RetryScheduleSerializer(schedule).data)
