"""Preferences: what people want, what holds for them, and why. With a user token, only one's own."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from preferences import selectors, services
from preferences.errors import HalfQuietHoursError, LadderFullError
from preferences.models import Preference
from preferences.queries import ExplainQuery, UserQuery, name_in_path
from preferences.resolver import Decision
from preferences.serializers import (
    EffectivePreferenceSerializer,
    ExplanationSerializer,
    PreferencePatch,
    PreferenceSerializer,
)
from tenants.http.problems import Conflict, InvalidRequest
from tenants.principal import caller
from tenants.vocabulary import ANY, Channel, Scope

_WRITE = (Scope.PREFERENCES_WRITE,)


@extend_schema(tags=["preferences"])
class PreferencesView(generics.ListAPIView[Preference]):
    scopes: ClassVar = {"GET": _WRITE, "POST": _WRITE}
    user_token_methods: ClassVar = {"GET", "POST"}
    serializer_class = PreferenceSerializer
    queryset = Preference.objects.none()

    @extend_schema(summary="List a user's preferences, or the tenant's default ones", parameters=[UserQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Preference]:
        user_id = _whose(self.request, UserQuery.read(self.request).get("user_id", ""))
        return selectors.preferences_of(caller(self.request).tenant, user_id)

    @extend_schema(
        summary="Set a preference",
        description="On a rung that is there already, what is left out stays as it is. `channel` and `eventType` left out are "
        "any. With an API key and no `userId`, it is the tenant's default.",
        request=PreferenceSerializer,
        responses={200: PreferenceSerializer, 201: PreferenceSerializer, 409: None},
    )
    def post(self, request: Request) -> Response:
        body = PreferenceSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        values = dict(body.validated_data)
        try:
            preference, created = services.set_preference(
                tenant=caller(request).tenant,
                user_id=_whose(request, values.pop("user_id", "")),
                channel=values.pop("channel", None),
                event_type=values.pop("event_type", ""),
                category=values.pop("category", ""),
                values=values,
            )
        except LadderFullError as error:
            raise Conflict(str(error)) from error
        return Response(PreferenceSerializer(preference).data, status=201 if created else 200)


@extend_schema(tags=["preferences"], parameters=[OpenApiParameter("preference_id", UUID, OpenApiParameter.PATH)])
class PreferenceView(APIView):
    scopes: ClassVar = {"PATCH": _WRITE, "DELETE": _WRITE}
    user_token_methods: ClassVar = {"PATCH", "DELETE"}

    @extend_schema(summary="Change a preference", request=PreferencePatch, responses=PreferenceSerializer)
    def patch(self, request: Request, preference_id: str) -> Response:
        body = PreferencePatch(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        try:
            preference = services.patch_preference(preference=_own(request, preference_id), values=body.validated_data)
        except Preference.DoesNotExist as error:
            raise Http404 from error
        except HalfQuietHoursError as error:
            raise InvalidRequest.field("quietHoursEnd", str(error), "incomplete") from error
        return Response(PreferenceSerializer(preference).data)

    @extend_schema(summary="Remove a preference; the next rung decides then", responses={204: None})
    def delete(self, request: Request, preference_id: str) -> Response:
        _own(request, preference_id).delete()
        return Response(status=204)


@extend_schema(
    tags=["preferences"],
    parameters=[
        OpenApiParameter("channel", str, OpenApiParameter.PATH, enum=[ANY, *Channel.api_names()]),
        name_in_path("event_type", 200),
    ],
)
class EffectivePreferenceView(APIView):
    scopes: ClassVar = {"GET": _WRITE}
    user_token_methods: ClassVar = {"GET"}

    @extend_schema(summary="What holds for a user", parameters=[UserQuery], responses=EffectivePreferenceSerializer)
    def get(self, request: Request, channel: str, event_type: str) -> Response:
        place = ExplainQuery(data={"channel": channel, "eventType": event_type})
        place.is_valid(raise_exception=True)
        asked = place.validated_data
        user_id = _whose(request, UserQuery.read(request).get("user_id", ""))
        decision, _ = selectors.decide(caller(request).tenant, user_id, asked["event_type"], asked["channel"])
        shown = _decided(user_id, decision) | {"enabled": decision.allowed}
        return Response(EffectivePreferenceSerializer(shown).data)


@extend_schema(tags=["preferences"])
class ExplainView(APIView):
    scopes: ClassVar = {"GET": _WRITE}
    user_token_methods: ClassVar = {"GET"}

    @extend_schema(summary="Whether a user would get it, and why", parameters=[ExplainQuery], responses=ExplanationSerializer)
    def get(self, request: Request) -> Response:
        asked = ExplainQuery.read(request)
        user_id = _whose(request, asked.get("user_id", ""))
        decision, steps = selectors.decide(caller(request).tenant, user_id, asked["event_type"], asked["channel"])
        ladder = [
            {
                "level": step.level,
                "rule": step.rung.id if step.rung else None,
                "enabled": step.rung.enabled if step.rung else None,
                "decides": step.decides,
            }
            for step in steps
        ]
        outcome = "allowed" if decision.allowed else "suppressed"
        return Response(ExplanationSerializer(_decided(user_id, decision) | {"outcome": outcome, "ladder": ladder}).data)


def _whose(request: Request, asked: str) -> str:
    """The user asked about: with a user token, the token's own and no other; empty is the tenant's default."""
    own = caller(request).user_id
    if own is None:
        return asked
    if asked not in ("", own):
        raise exceptions.PermissionDenied("A user token reaches only its own user's preferences.")
    return str(own)


def _own(request: Request, preference_id: str) -> Preference:
    """The preference with this id, if the caller may reach it; else 404."""
    reachable = Preference.objects.for_tenant(caller(request).tenant)
    if caller(request).user_id is not None:
        reachable = reachable.filter(user_id=caller(request).user_id)
    return generics.get_object_or_404(reachable, pk=preference_id)


def _decided(user_id: str, decision: Decision) -> dict[str, Any]:
    hours = decision.quiet_hours
    question = decision.question
    return {
        "user_id": user_id or None,
        "channel": question.channel,
        "event_type": question.event_type,
        "category": question.category,
        "quiet_hours_start": hours.start if hours else None,
        "quiet_hours_end": hours.end if hours else None,
        "delivery": decision.delivery,
        "level": decision.level,
        "rule": decision.rung.id if decision.rung else None,
        "why": decision.explanation["why"],
    }
