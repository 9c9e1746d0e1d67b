"""Asking rules of an event that nobody posts: one rule, saved or not, or all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec
from django.shortcuts import get_object_or_404
from django.utils.timezone import now as clock
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from notifications.dry_run import explain, try_rule
from notifications.dry_run_answers import EventAnswer, RuleTrial
from notifications.intake import NewEvent, read_event
from notifications.models import Rule
from notifications.openapi import RULE_AND_EVENT_BODY, TRIAL_BODY
from notifications.serializers import RuleSerializer
from tenants.http.parsers import decode_json, read_body
from tenants.http.problems import FieldError, field_errors
from tenants.http.structs import StructError
from tenants.principal import caller
from tenants.vocabulary import Scope

_WITHOUT_A_TRACE = "Nothing is stored or sent, and no recipient made known. `event` is what would be posted to `/api/events`."
_parts = msgspec.json.Decoder(dict[str, msgspec.Raw])


class RuleTestView(APIView):
    scopes: ClassVar = {"POST": (Scope.RULES_WRITE,)}

    @extend_schema(
        operation_id="rules_test",
        summary="What a rule would do with an event",
        description=_WITHOUT_A_TRACE,
        tags=["rules"],
        request={"application/json": TRIAL_BODY},
        responses=RuleTrial,
    )
    def post(self, request: Request, id: UUID) -> Response:  # noqa: A002 - the route's name for it
        rule = get_object_or_404(Rule.objects.for_tenant(caller(request).tenant).select_related("tenant"), pk=id)
        now = clock()
        return Response(try_rule(rule, _event(_read(request, "event")["event"], now), now=now))


class NewRuleTestView(APIView):
    scopes: ClassVar = {"POST": (Scope.RULES_WRITE,)}

    @extend_schema(
        operation_id="rules_test_new",
        summary="What a rule that is not saved would do with an event",
        description=f"{_WITHOUT_A_TRACE} `rule` is what would be posted to `/api/rules`.",
        tags=["rules"],
        request={"application/json": RULE_AND_EVENT_BODY},
        responses=RuleTrial,
    )
    def post(self, request: Request) -> Response:
        now = clock()
        parts = _read(request, "rule", "event")
        shape = RuleSerializer(data=msgspec.json.decode(parts["rule"]))
        faults = [] if shape.is_valid() else list(_inside("rule", list(field_errors(ValidationError(shape.errors)))))
        try:
            new = _event(parts["event"], now)
        except StructError as error:
            raise StructError([*faults, *error.errors]) from error
        if faults:
            raise StructError(faults)
        return Response(try_rule(Rule(tenant=caller(request).tenant, **shape.validated_data), new, now=now))


class ExplainView(APIView):
    scopes: ClassVar = {"POST": (Scope.RULES_WRITE,)}

    @extend_schema(
        operation_id="rules_explain",
        summary="What all rules would make of an event",
        description=_WITHOUT_A_TRACE,
        tags=["rules"],
        request={"application/json": TRIAL_BODY},
        responses=EventAnswer,
    )
    def post(self, request: Request) -> Response:
        now = clock()
        new = _event(_read(request, "event")["event"], now)
        return Response(explain(caller(request).tenant, new, now=now))


def _read(request: Request, *names: str) -> dict[str, msgspec.Raw]:
    """The body's parts by name, not decoded; raises StructError unless it has just these."""
    body = read_body(request._request)
    value = decode_json(body)
    if not isinstance(value, dict):
        raise StructError([FieldError("", "type", "The body must be a JSON object.")])
    unknown = [FieldError(name, "unknown", "This field is not known.") for name in value if name not in names]
    missing = [FieldError(name, "required", "This field is required.") for name in names if name not in value]
    if unknown or missing:
        raise StructError([*unknown, *missing])
    return _parts.decode(body)


def _event(raw: msgspec.Raw, now: datetime) -> NewEvent:
    """As if it had been posted; faults are named `event.…`."""
    try:
        return read_event(raw, now=now)
    except StructError as error:
        raise StructError(list(_inside("event", error.errors))) from error


def _inside(place: str, errors: Sequence[FieldError]) -> Iterator[FieldError]:
    for error in errors:
        yield FieldError(f"{place}.{error.field}" if error.field else place, error.code, error.message)
