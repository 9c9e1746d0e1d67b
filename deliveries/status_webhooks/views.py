"""Status endpoints over HTTP, for a tenant's administrators."""

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
from deliveries.status_webhooks import services
from deliveries.status_webhooks.models import MessageState, StatusEndpoint, StatusMessage
from deliveries.status_webhooks.serializers import (
    CreatedEndpointSerializer,
    EndpointChanges,
    EndpointSerializer,
    MessagesQuery,
    NewEndpoint,
    ReplayedSerializer,
    ReplayRequest,
    RotatedSecretSerializer,
    RotationRequest,
    StatusMessageSerializer,
    TestAnswerSerializer,
)
from tenants.http.openapi import Problem
from tenants.principal import caller
from tenants.vocabulary import Scope

_ADMIN = (Scope.ADMIN,)
_ID = OpenApiParameter("id", OpenApiTypes.UUID, OpenApiParameter.PATH)
_REPLAYABLE = {
    "failed": [MessageState.FAILED],
    "sent": [MessageState.SENT],
    "all": [MessageState.SENT, MessageState.FAILED],
}


@extend_schema(tags=["status webhooks"])
class EndpointsView(generics.ListAPIView[StatusEndpoint]):
    scopes: ClassVar = {"GET": _ADMIN, "POST": _ADMIN}
    serializer_class = EndpointSerializer
    queryset = StatusEndpoint.objects.none()

    @extend_schema(operation_id="status_webhooks_list", summary="List the servers that hear of deliveries")
    def get(self, request: Request) -> Response:
        return self.list(request)

    def get_queryset(self) -> QuerySet[StatusEndpoint]:
        return StatusEndpoint.objects.for_tenant(caller(self.request).tenant)

    @extend_schema(
        operation_id="status_webhooks_create",
        summary="Let a server hear of deliveries",
        description="The answer has the secret that its requests are signed with; it is shown this once.",
        request=NewEndpoint,
        responses={201: CreatedEndpointSerializer, 409: Problem},
    )
    def post(self, request: Request) -> Response:
        body = NewEndpoint(data=request.data)
        body.is_valid(raise_exception=True)
        endpoint = services.create_endpoint(tenant=caller(request).tenant, **body.validated_data)
        return Response(CreatedEndpointSerializer(endpoint).data, status=201)


@extend_schema(tags=["status webhooks"], parameters=[_ID])
class EndpointView(APIView):
    scopes: ClassVar = {"GET": _ADMIN, "PATCH": _ADMIN, "DELETE": _ADMIN}

    @extend_schema(operation_id="status_webhooks_retrieve", summary="An endpoint", responses=EndpointSerializer)
    def get(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        return Response(EndpointSerializer(_found(request, id)).data)

    @extend_schema(
        operation_id="status_webhooks_update",
        summary="Change an endpoint, or let a disabled one begin anew",
        request=EndpointChanges,
        responses=EndpointSerializer,
    )
    def patch(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        endpoint = _found(request, id)
        body = EndpointChanges(data=request.data)
        body.is_valid(raise_exception=True)
        services.update_endpoint(endpoint=endpoint, changes=body.validated_data)
        return Response(EndpointSerializer(endpoint).data)

    @extend_schema(
        operation_id="status_webhooks_delete",
        summary="Delete an endpoint",
        description="What waits for it is not sent.",
        responses={204: None},
    )
    def delete(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        _found(request, id).delete()
        return Response(status=204)


@extend_schema(tags=["status webhooks"], parameters=[_ID])
class RotateSecretView(APIView):
    scopes: ClassVar = {"POST": _ADMIN}

    @extend_schema(
        summary="Give an endpoint a new secret",
        description="It signs from the next request on, and is shown this once. "
        f"For {services.OVERLAP_H} hours the old one signs as well, so that receivers change over without a gap; "
        "with `forgetOld` it does not.",
        request=RotationRequest,
        responses=RotatedSecretSerializer,
    )
    def post(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        endpoint = _found(request, id)
        body = RotationRequest(data=request.data or {})
        body.is_valid(raise_exception=True)
        return Response(RotatedSecretSerializer(services.rotate_secret(endpoint=endpoint, **body.validated_data)).data)


class MessagesView(generics.ListAPIView[StatusMessage]):
    scopes: ClassVar = {"GET": _ADMIN}
    serializer_class = StatusMessageSerializer
    queryset = StatusMessage.objects.none()

    @extend_schema(
        summary="What an endpoint was sent, or is to be, newest first",
        tags=["status webhooks"],
        parameters=[_ID, MessagesQuery],
    )
    def get(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        return self.list(request)

    def get_queryset(self) -> QuerySet[StatusMessage]:
        endpoint = _found(self.request, self.kwargs["id"])
        messages = StatusMessage.objects.for_tenant(endpoint.tenant_id).filter(endpoint_id=endpoint.pk)
        return messages.filter(**MessagesQuery.read(self.request))


@extend_schema(tags=["status webhooks"], parameters=[_ID])
class ReplayView(APIView):
    scopes: ClassVar = {"POST": _ADMIN}

    @extend_schema(
        summary="Send messages again",
        description="Those that failed, or all of a time span, under the webhook-id they had. The oldest first, "
        f"{services.MOST_REPLAYED} at most. Messages are kept for a week.",
        request=ReplayRequest,
        responses={202: ReplayedSerializer, 409: Problem},
    )
    def post(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        endpoint = _found(request, id)
        body = ReplayRequest(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = dict(body.validated_data)
        result = services.replay_messages(endpoint=endpoint, states=_REPLAYABLE[wanted.pop("state")], **wanted)
        if result.replayed:
            bells.ring_status_webhooks()
        return Response(ReplayedSerializer(result).data, status=202)


@extend_schema(tags=["status webhooks"], parameters=[_ID])
class TestView(APIView):
    scopes: ClassVar = {"POST": _ADMIN}

    @extend_schema(
        summary="Send a test now, and see the answer",
        description="An event of the type `webhook.test`. Takes as long as the other side, 15 seconds at most.",
        request=None,
        responses=TestAnswerSerializer,
    )
    def post(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        return Response(TestAnswerSerializer(services.send_test(endpoint=_found(request, id), now=clock())).data)


def _found(request: Request, endpoint_id: str) -> StatusEndpoint:
    return generics.get_object_or_404(StatusEndpoint.objects.for_tenant(caller(request).tenant), pk=endpoint_id)
