"""Sending a template to somebody to see it: a real event through the real pipeline, on that template's channel only."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import msgspec
from django.shortcuts import get_object_or_404
from django.utils.timezone import now as clock
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deliveries import bells
from notifications.intake import InlineRecipient, read_event
from notifications.models import EventStatus
from notifications.serializers import AcceptedSerializer
from notifications.services import store_events
from templates_app.models import Template
from tenants.http.parsers import read_body
from tenants.http.problems import Conflict
from tenants.http.structs import decode_struct
from tenants.principal import caller
from tenants.vocabulary import ANY, Channel, Scope

SAMPLE_TYPE = "template.test"
"""The event type of a test of a template for any event type."""


class TemplateTestIn(msgspec.Struct, forbid_unknown_fields=True):
    """To whom, and the data to fill the template with."""

    to: InlineRecipient
    data: dict[str, Any] = {}


class TemplateTestView(APIView):
    scopes: ClassVar = {"POST": (Scope.TEMPLATES_WRITE,)}

    @extend_schema(
        operation_id="admin_templates_test",
        summary="Send a template's published version to one recipient",
        tags=["admin"],
        request=TemplateTestIn,
        responses={202: AcceptedSerializer},
    )
    def post(self, request: Request, id: UUID) -> Response:  # noqa: A002 - the route's name for it
        template = get_object_or_404(Template.objects.for_tenant(caller(request).tenant), pk=id)
        wanted = decode_struct(TemplateTestIn, read_body(request._request))
        if template.published_version_id is None:
            raise Conflict("The template has no published version to send.")
        now = clock()
        event = read_event(_event(template, wanted), now=now)
        (stored,) = store_events(tenant=caller(request).tenant, events=[event], sandbox=caller(request).sandbox, now=now)
        bells.ring_enrich()
        return Response({"success": True, "eventId": stored.event_id, "status": EventStatus.ACCEPTED.label}, status=202)


def _event(template: Template, wanted: TemplateTestIn) -> bytes:
    to = msgspec.structs.replace(wanted.to, locale=wanted.to.locale or template.locale)
    return msgspec.json.encode(
        {
            "eventType": SAMPLE_TYPE if template.event_type == ANY else template.event_type,
            "to": to,
            "channels": [Channel(template.channel).label],
            "data": wanted.data,
            "metadata": {"templateTest": str(template.pk)},
        }
    )
