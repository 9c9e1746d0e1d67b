"""Suppressions: addresses that must not be sent to."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from preferences import selectors, services
from preferences.models import Suppression
from preferences.queries import AddressQuery, SuppressionQuery
from preferences.serializers import SuppressionSerializer
from preferences.services import NewSuppression
from tenants.principal import caller
from tenants.vocabulary import Scope

_WRITE = (Scope.RECIPIENTS_WRITE,)


@extend_schema(tags=["suppressions"])
class SuppressionsView(generics.ListAPIView[Suppression]):
    scopes: ClassVar = {"GET": _WRITE, "POST": _WRITE, "DELETE": _WRITE}
    serializer_class = SuppressionSerializer
    queryset = Suppression.objects.none()

    @extend_schema(summary="List suppressions, the newest first", parameters=[SuppressionQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Suppression]:
        return selectors.suppressions(caller(self.request).tenant, **SuppressionQuery.read(self.request))

    @extend_schema(
        summary="Suppress an address",
        description="For good, or until `expiresAt`. An address that is listed already keeps the later of its two ends.",
        request=SuppressionSerializer,
        responses={200: SuppressionSerializer, 201: SuppressionSerializer},
    )
    def post(self, request: Request) -> Response:
        body = SuppressionSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        with transaction.atomic():  # so that it is still there to be shown
            stored = services.add_suppressions(
                suppressions=[NewSuppression(tenant_id=caller(request).tenant.pk, **body.validated_data)]
            )
            ((key, new),) = stored.items()
            shown = SuppressionSerializer(Suppression.objects.get(pk=key)).data
        return Response(shown, status=201 if new else 200)

    @extend_schema(
        operation_id="suppressions_lift",
        summary="Lift the suppression of an address",
        parameters=[AddressQuery],
        responses={204: None, 404: None},
    )
    def delete(self, request: Request) -> Response:
        lifted, _ = selectors.suppressions(caller(request).tenant, **AddressQuery.read(request)).delete()
        if not lifted:
            raise Http404
        return Response(status=204)


@extend_schema(tags=["suppressions"], parameters=[OpenApiParameter("suppression_id", UUID, OpenApiParameter.PATH)])
class SuppressionView(APIView):
    scopes: ClassVar = {"DELETE": _WRITE}

    @extend_schema(summary="Lift a suppression", responses={204: None})
    def delete(self, request: Request, suppression_id: str) -> Response:
        generics.get_object_or_404(selectors.suppressions(caller(request).tenant), pk=suppression_id).delete()
        return Response(status=204)
