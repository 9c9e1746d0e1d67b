"""Preferences: what people want, what holds for them, and why. With a user token, only one's own."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from django.utils.timezone import now
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from preferences import choices, selectors
from preferences.errors import BadQuietHoursError, LadderFullError
from preferences.models import Preference
from preferences.queries import ExplainQuery, UserQuery, name_in_path, whose
from preferences.quiet_hours import in_preference
from preferences.quiet_now import contact_of, quiet_of
from preferences.resolver import Decision
from preferences.serializers import (
    EffectivePreferenceSerializer,
    ExplanationSerializer,
    PreferencePatch,
    PreferenceSerializer,
    shown_quiet,
)
from tenants.http.problems import Conflict, InvalidRequest, camel
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
        return selectors.preferences_of(caller(self.request).tenant, UserQuery.whose(self.request))

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
            preference, created = choices.set_preference(
                tenant=caller(request).tenant,
                user_id=whose(request, values.pop("user_id", "")),
                channel=values.pop("channel", None),
                event_type=values.pop("event_type", ""),
                category=values.pop("category", ""),
                values=values,
            )
        except LadderFullError as error:
            raise Conflict(str(error)) from error
        except BadQuietHoursError as error:
            raise InvalidRequest.field(camel(error.field), str(error), "incomplete") from error
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
            preference = choices.patch_preference(preference=_own(request, preference_id), values=body.validated_data)
        except Preference.DoesNotExist as error:
            raise Http404 from error
        except BadQuietHoursError as error:
            raise InvalidRequest.field(camel(error.field), str(error), "incomplete") from error
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
        user_id = UserQuery.whose(request)
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
        user_id = whose(request, asked.get("user_id", ""))
        tenant = caller(request).tenant
        decision, steps = selectors.decide(tenant, user_id, asked["event_type"], asked["channel"])
        quiet = quiet_of(tenant, contact_of(tenant, user_id), decision=decision, now=now())
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
        shown = {"outcome": outcome, "quiet": shown_quiet(quiet), "ladder": ladder}
        return Response(ExplanationSerializer(_decided(user_id, decision) | shown).data)


def _own(request: Request, preference_id: str) -> Preference:
    """The preference with this id, if the caller may reach it; else 404."""
    reachable = Preference.objects.for_tenant(caller(request).tenant)
    if caller(request).user_id is not None:
        reachable = reachable.filter(user_id=caller(request).user_id)
    return generics.get_object_or_404(reachable, pk=preference_id)


def _decided(user_id: str, decision: Decision) -> dict[str, Any]:
    question = decision.question
    return {
        "user_id": user_id or None,
        "channel": question.channel,
        "event_type": question.event_type,
        "category": question.category,
        **in_preference(decision.quiet_hours),
        "delivery": decision.delivery,
        "level": decision.level,
        "rule": decision.rung.id if decision.rung else None,
        "why": decision.explanation["why"],
    }
