"""Health, metrics and the API's own description."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiJsonRenderer2, OpenApiYamlRenderer, OpenApiYamlRenderer2
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from config.operations.backlog import BacklogCollector
from config.operations.circuits import CircuitCollector
from config.operations.health import Health, Monitor, State
from config.operations.multiprocess import SharedMetrics
from tenants.http.renderers import JSONRenderer
from tenants.permissions import HasScope
from tenants.vocabulary import Scope

_MONITOR = Monitor()
_METRICS = CollectorRegistry()
_METRICS.register(SharedMetrics(settings.ENV.metrics_dir))
_METRICS.register(BacklogCollector())
_METRICS.register(CircuitCollector())


class PublicView(APIView):
    """Open to anyone: nobody is looked up, so it answers without PostgreSQL."""

    authentication_classes = ()
    permission_classes = ()


class Live(msgspec.Struct, frozen=True):
    status: State


class HealthView(PublicView):
    @extend_schema(
        operation_id="health",
        tags=["operations"],
        summary="Whether the service works",
        description="Asks PostgreSQL, Redis, the workers and the scheduler; the answer is at most a second old.",
        responses={200: Health, 503: Health},
    )
    def get(self, request: Request) -> Response:
        health = _MONITOR.health()
        response = Response(health, status=503 if health.status is State.DOWN else 200)
        # The answer to a question, not an error of this process: whoever asks every second would fill the log with it.
        response._has_been_logged = True  # type: ignore[attr-defined]
        return response


class LiveView(PublicView):
    @extend_schema(
        operation_id="live",
        tags=["operations"],
        summary="Whether this process answers",
        description="For a process supervisor: asks nobody else, so that a database that is away restarts no web server.",
        responses={200: Live},
    )
    def get(self, request: Request) -> Response:
        return Response(Live(status=State.OK))


class _TextRenderer(JSONRenderer):
    """Accepts whoever asks for text; its only own output is a problem document."""

    media_type = "text/plain"
    format = "txt"


class _MayScrape(HasScope):
    def has_permission(self, request: Request, view: Any) -> bool:
        return settings.DEBUG or super().has_permission(request, view)


class MetricsView(APIView):
    """The installation's metrics, all tenants together: open while developing, else for staff and `admin` keys."""

    scopes = {"GET": (Scope.ADMIN,)}
    permission_classes = (_MayScrape,)
    renderer_classes = (_TextRenderer,)

    @extend_schema(
        operation_id="metrics",
        tags=["operations"],
        summary="Metrics of every process, for Prometheus",
        description="In the Prometheus text format, or OpenMetrics if `Accept` asks for it. See `docs/operations.md`.",
        responses={(200, "text/plain"): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> HttpResponse:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return HttpResponse(encode(_METRICS), content_type=content_type)


class SchemaView(PublicView):
    """The OpenAPI document; JSON unless `Accept` or `?format=yaml` asks for YAML."""

    renderer_classes = (OpenApiJsonRenderer2, OpenApiJsonRenderer, OpenApiYamlRenderer, OpenApiYamlRenderer2)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        return Response(_described())


@functools.cache
def _described() -> dict[str, Any]:
    """The document, made once: it takes a second, and is open to anyone."""
    document: dict[str, Any] = SchemaGenerator().get_schema(public=True)
    return document
