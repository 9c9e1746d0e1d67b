"""Topics and who is on them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from preferences import services
from preferences.contact_points import LONGEST_USER_ID, is_name
from preferences.models import Topic
from preferences.queries import name_in_path
from preferences.serializers import SubscriptionSerializer, TopicSerializer
from tenants.http.problems import FieldError, InvalidRequest
from tenants.principal import caller
from tenants.vocabulary import Scope

_WRITE = (Scope.RECIPIENTS_WRITE,)
_LONGEST_KEY = 200


@extend_schema(tags=["topics"])
class TopicsView(generics.ListAPIView[Topic]):
    scopes: ClassVar = {"GET": _WRITE}
    serializer_class = TopicSerializer
    queryset = Topic.objects.none()

    @extend_schema(summary="List topics, the newest first")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Topic]:
        return Topic.objects.for_tenant(caller(self.request).tenant)


@extend_schema(tags=["topics"], parameters=[name_in_path("key", _LONGEST_KEY), name_in_path("user_id")])
class SubscriberView(APIView):
    scopes: ClassVar = {"PUT": _WRITE, "DELETE": _WRITE}

    @extend_schema(
        summary="Subscribe a user to a topic",
        description="Either is created if it is not there. 200 says that nothing had to be done.",
        request=None,
        responses={200: SubscriptionSerializer, 201: SubscriptionSerializer},
    )
    def put(self, request: Request, key: str, user_id: str) -> Response:
        _check(key, user_id)
        new = services.subscribe(tenant=caller(request).tenant, topic_key=key, user_id=user_id)
        shown = SubscriptionSerializer({"topic": key, "user_id": user_id}).data
        return Response(shown, status=201 if new else 200)

    @extend_schema(
        summary="Unsubscribe a user from a topic", description="Whether or not it was subscribed.", responses={204: None}
    )
    def delete(self, request: Request, key: str, user_id: str) -> Response:
        _check(key, user_id)
        services.unsubscribe(tenant=caller(request).tenant, topic_key=key, user_id=user_id)
        return Response(status=204)


def _check(key: str, user_id: str) -> None:
    faults = [
        FieldError(field, "invalid", f"must have 1 to {longest} characters and no control characters")
        for field, text, longest in (("key", key, _LONGEST_KEY), ("userId", user_id, LONGEST_USER_ID))
        if not is_name(text, longest)
    ]
    if faults:
        raise InvalidRequest(faults)
