"""Templates and their versions over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from templates_app import services
from templates_app.errors import AlreadyExistsError, InvalidTemplateError, LayoutInUseError, UnknownVersionError
from templates_app.models import Template, TemplateVersion
from templates_app.names import clean_locale
from templates_app.previews import preview
from templates_app.selectors import layout_by_id, templates_of, version_by_number, versions_of
from templates_app.serializers import (
    NewTemplate,
    PreviewRequest,
    PreviewSerializer,
    PublishRequest,
    TemplateChanges,
    TemplateQuery,
    TemplateSerializer,
    VersionSerializer,
)
from templates_app.validation import Content
from tenants.http.openapi import Problem
from tenants.http.problems import Conflict, FieldError, InvalidRequest, camel
from tenants.http.serializers import CamelSerializer
from tenants.models import Tenant
from tenants.principal import caller
from tenants.vocabulary import Scope

WRITE: Final = (Scope.TEMPLATES_WRITE,)
ID: Final = OpenApiParameter("id", OpenApiTypes.UUID, OpenApiParameter.PATH)
_WORDS: Final = ("subject", "body", "html", "variables")


@contextmanager
def answered() -> Iterator[None]:
    """Turn what services refuse into what the API answers."""
    try:
        yield
    except InvalidTemplateError as error:
        raise InvalidRequest([FieldError(each.field, each.code, each.message) for each in error.problems]) from error
    except UnknownVersionError as error:
        raise InvalidRequest.field("version", str(error), "unknown") from error
    except (AlreadyExistsError, LayoutInUseError) as error:
        raise Conflict(str(error)) from error
    except ObjectDoesNotExist as error:
        raise Http404 from error


def checked(serializer: type[CamelSerializer], request: Request) -> dict[str, Any]:
    """The body's values by their inner names."""
    body = serializer(data=request.data)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


@extend_schema(tags=["templates"])
class TemplatesView(generics.ListAPIView[Template]):
    scopes: ClassVar = {"GET": WRITE, "POST": WRITE}
    serializer_class = TemplateSerializer
    queryset = Template.objects.none()

    @extend_schema(operation_id="admin_templates_list", summary="List templates", parameters=[TemplateQuery])
    def get(self, request: Request) -> Response:
        return self.list(request)

    def get_queryset(self) -> QuerySet[Template]:
        query = TemplateQuery.read(self.request)
        if locale := query.get("locale"):
            query["locale"] = _cleaned_locale(locale)
        return templates_of(caller(self.request).tenant, **query)

    @extend_schema(
        operation_id="admin_templates_create",
        summary="Write a template",
        description="Version 1 is live at once, unless it is a draft.",
        request=NewTemplate,
        responses={201: TemplateSerializer, 409: Problem},
    )
    def post(self, request: Request) -> Response:
        values = checked(NewTemplate, request)
        tenant = caller(request).tenant
        with answered():
            template = services.create_template(
                tenant=tenant,
                content=Content(**{name: values.pop(name) for name in _WORDS if name in values}),
                created_by=caller(request).name,
                **values | _layout(tenant, values),
            )
        return Response(_shown(tenant, template), status=201)


@extend_schema(tags=["templates"], parameters=[ID])
class TemplateView(APIView):
    scopes: ClassVar = {"GET": WRITE, "PATCH": WRITE, "DELETE": WRITE}

    @extend_schema(operation_id="admin_templates_retrieve", summary="A template", responses=TemplateSerializer)
    def get(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        return Response(TemplateSerializer(found(request, id)).data)

    @extend_schema(
        operation_id="admin_templates_update",
        summary="Change a template",
        description="Other words make a draft: the next version, live once it is published. Its name and layout change at "
        "once. Channel, event type and locale are its place; they may be named, but stay as they are.",
        request=TemplateChanges,
        responses=TemplateSerializer,
    )
    def patch(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        template = found(request, id)
        values = checked(TemplateChanges, request)
        _refuse_move(template, values)
        with answered():
            services.update_template(
                template=template,
                changes=values | _layout(caller(request).tenant, values),
                created_by=caller(request).name,
            )
        return Response(_shown(caller(request).tenant, template))

    @extend_schema(operation_id="admin_templates_delete", summary="Delete a template and its versions", responses={204: None})
    def delete(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        services.delete_template(template=found(request, id))
        return Response(status=204)


@extend_schema(tags=["templates"], parameters=[ID])
class VersionsView(generics.ListAPIView[TemplateVersion]):
    scopes: ClassVar = {"GET": WRITE}
    serializer_class = VersionSerializer
    queryset = TemplateVersion.objects.none()

    @extend_schema(operation_id="admin_templates_versions", summary="Its versions, newest first")
    def get(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        return self.list(request)

    def get_queryset(self) -> QuerySet[TemplateVersion]:
        return versions_of(found(self.request, self.kwargs["id"]))


@extend_schema(tags=["templates"], parameters=[ID])
class PublishView(APIView):
    scopes: ClassVar = {"POST": WRITE}

    @extend_schema(
        operation_id="admin_templates_publish",
        summary="Make a version live",
        request=PublishRequest,
        responses=TemplateSerializer,
    )
    def post(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        template = found(request, id)
        number = checked(PublishRequest, request).get("version")
        with answered():
            services.publish(template=template, number=number)
        return Response(_shown(caller(request).tenant, template))


@extend_schema(tags=["templates"], parameters=[ID])
class PreviewView(APIView):
    scopes: ClassVar = {"POST": WRITE}

    @extend_schema(
        operation_id="admin_templates_preview",
        summary="What a version would say",
        request=PreviewRequest,
        responses=PreviewSerializer,
    )
    def post(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        template = found(request, id)
        wanted = checked(PreviewRequest, request)
        number = wanted.get("version")
        version = version_by_number(template, number)
        if version is None:
            raise InvalidRequest.field("version", f"The template has no version {number}.", "unknown")
        shown = preview(
            template=template,
            content=services.content_of(version),
            data=wanted.get("data"),
            recipient=_outside(wanted.get("recipient", {})),
        )
        words = {name: getattr(shown, name) for name in ("subject", "body", "html", "problems")}
        return Response(PreviewSerializer(words | {"version": version.number}).data)


def found(request: Request, template_id: str) -> Template:
    return generics.get_object_or_404(templates_of(caller(request).tenant), pk=template_id)


def _shown(tenant: Tenant, template: Template) -> Mapping[str, Any]:
    """The template as it now is."""
    return TemplateSerializer(generics.get_object_or_404(templates_of(tenant), pk=template.pk)).data


def _layout(tenant: Tenant, values: Mapping[str, Any]) -> dict[str, Any]:
    """The layout that the body names by its id."""
    if values.get("layout") is None:
        return {}
    layout = layout_by_id(tenant, values["layout"])
    if layout is None:
        raise InvalidRequest.field("layout", "There is no such layout.", "unknown")
    return {"layout": layout}


def _refuse_move(template: Template, values: dict[str, Any]) -> None:
    """A body that names the template's place must name the one it has."""
    place = {name: values.pop(name, getattr(template, name)) for name in ("channel", "event_type", "locale")}
    place["locale"] = _cleaned_locale(place["locale"])
    for name, value in place.items():
        if value != getattr(template, name):
            raise InvalidRequest.field(camel(name), "A template keeps its place; write another one.", "fixed")


def _cleaned_locale(locale: str) -> str:
    try:
        return clean_locale(locale)
    except ValueError as error:
        raise InvalidRequest.field("locale", f"This {error}.") from error


def _outside(recipient: Mapping[str, Any]) -> dict[str, Any]:
    """A recipient as templates see it."""
    return {"userId" if name == "user_id" else name: value for name, value in recipient.items()}
