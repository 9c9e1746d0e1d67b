"""Layouts over HTTP."""

from __future__ import annotations

from typing import ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from templates_app import services
from templates_app.models import Layout
from templates_app.selectors import layouts_of
from templates_app.serializers import LayoutChanges, LayoutSerializer, NewLayout
from templates_app.views import ID, WRITE, answered, checked
from tenants.http.openapi import Problem
from tenants.principal import caller


@extend_schema(tags=["templates"])
class LayoutsView(generics.ListAPIView[Layout]):
    scopes: ClassVar = {"GET": WRITE, "POST": WRITE}
    serializer_class = LayoutSerializer
    queryset = Layout.objects.none()

    @extend_schema(operation_id="admin_layouts_list", summary="List layouts")
    def get(self, request: Request) -> Response:
        return self.list(request)

    def get_queryset(self) -> QuerySet[Layout]:
        return layouts_of(caller(self.request).tenant)

    @extend_schema(
        operation_id="admin_layouts_create",
        summary="Write a layout",
        request=NewLayout,
        responses={201: LayoutSerializer, 409: Problem},
    )
    def post(self, request: Request) -> Response:
        with answered():
            layout = services.create_layout(tenant=caller(request).tenant, **checked(NewLayout, request))
        return Response(LayoutSerializer(layout).data, status=201)


@extend_schema(tags=["templates"], parameters=[ID])
class LayoutView(APIView):
    scopes: ClassVar = {"GET": WRITE, "PATCH": WRITE, "DELETE": WRITE}

    @extend_schema(operation_id="admin_layouts_retrieve", summary="A layout", responses=LayoutSerializer)
    def get(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        return Response(LayoutSerializer(_found(request, id)).data)

    @extend_schema(
        operation_id="admin_layouts_update",
        summary="Change a layout",
        description="It goes around the very next message of every template that uses it.",
        request=LayoutChanges,
        responses={200: LayoutSerializer, 409: Problem},
    )
    def patch(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        layout = _found(request, id)
        with answered():
            layout = services.update_layout(layout=layout, changes=checked(LayoutChanges, request))
        return Response(LayoutSerializer(layout).data)

    @extend_schema(
        operation_id="admin_layouts_delete",
        summary="Delete a layout that no template uses",
        responses={204: None, 409: Problem},
    )
    def delete(self, request: Request, id: str) -> Response:  # noqa: A002 - the route's name for it
        layout = _found(request, id)
        with answered():
            services.delete_layout(layout=layout)
        return Response(status=204)


def _found(request: Request, layout_id: str) -> Layout:
    return generics.get_object_or_404(layouts_of(caller(request).tenant), pk=layout_id)
