"""Recipients: who they are, and where to reach them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from preferences import export, selectors, services
from preferences.contact_points import InvalidContactPointError
from preferences.contact_points import user_id as checked_user_id
from preferences.imports import import_recipients
from preferences.models import Recipient
from preferences.queries import name_in_path
from preferences.serializers import (
    MOST_RECIPIENTS,
    BulkReportSerializer,
    ExportSerializer,
    RecipientsBody,
    RecipientSerializer,
)
from preferences.services import RecipientData
from preferences.spreadsheets import CSVParser, Sheet
from tenants.http.problems import InvalidRequest
from tenants.principal import caller
from tenants.vocabulary import Scope

_WRITE = (Scope.RECIPIENTS_WRITE,)


@extend_schema(tags=["recipients"])
class RecipientsView(generics.ListAPIView[Recipient]):
    scopes: ClassVar = {"GET": _WRITE}
    serializer_class = RecipientSerializer
    queryset = Recipient.objects.none()

    @extend_schema(summary="List recipients, the newest first")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Recipient]:
        return selectors.recipients_with_devices(caller(self.request).tenant)


@extend_schema(tags=["recipients"], parameters=[name_in_path("user_id")])
class RecipientView(APIView):
    scopes: ClassVar = {"GET": _WRITE, "PUT": _WRITE, "PATCH": _WRITE, "DELETE": _WRITE}

    @extend_schema(summary="Look up a recipient", responses=RecipientSerializer)
    def get(self, request: Request, user_id: str) -> Response:
        return Response(_shown(request, user_id))

    @extend_schema(
        summary="Create or replace a recipient",
        description="Fields left out become empty; only `pushTokens` and `quietHours`, left out, stay as they are.",
        request=RecipientSerializer,
        responses={200: RecipientSerializer, 201: RecipientSerializer},
    )
    def put(self, request: Request, user_id: str) -> Response:
        try:
            checked_user_id(user_id)
        except InvalidContactPointError as error:
            raise InvalidRequest.field("userId", str(error)) from error
        body = RecipientSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        with transaction.atomic():  # so that the recipient is still there to be shown
            stored = services.upsert_recipients(
                tenant=caller(request).tenant, recipients=[RecipientData(user_id=user_id, **body.validated_data)]
            )
            shown = _shown(request, user_id)
        return Response(shown, status=201 if stored[user_id] else 200)

    @extend_schema(
        summary="Change a recipient",
        description="Fields left out stay. `pushTokens`, `attributes` and `quietHours`, if given, replace what was there.",
        request=RecipientSerializer,
        responses=RecipientSerializer,
    )
    def patch(self, request: Request, user_id: str) -> Response:
        body = RecipientSerializer(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        _refuse_unstorable(user_id)
        try:
            with transaction.atomic():
                services.patch_recipient(tenant=caller(request).tenant, user_id=user_id, changes=body.validated_data)
                return Response(_shown(request, user_id))
        except Recipient.DoesNotExist as error:
            raise Http404 from error

    @extend_schema(
        summary="Erase a recipient",
        description="With its devices, subscriptions and preferences, and from events, deliveries and the messages of status "
        "webhooks: what waits is canceled, and the history keeps what was sent when and with what outcome, but not to whom, "
        "where and in which words. Interrupted, it goes on when it is asked for again.",
        responses={204: None},
    )
    def delete(self, request: Request, user_id: str) -> Response:
        _refuse_unstorable(user_id)
        if not services.erase_user(tenant=caller(request).tenant, user_id=user_id):
            raise Http404
        return Response(status=204)


NOT_HERE = extend_schema(exclude=True)


class BesideRecipientView(RecipientView):
    """Something of a recipient at `…/{userId}` + `suffix`; and, but for the methods that it has itself, the recipient whose
    user id ends so, if there is one.
    """

    suffix: ClassVar[str]

    def get(self, request: Request, user_id: str) -> Response:
        return super().get(request, user_id + self.suffix)

    def put(self, request: Request, user_id: str) -> Response:
        return super().put(request, user_id + self.suffix)

    def patch(self, request: Request, user_id: str) -> Response:
        return super().patch(request, user_id + self.suffix)

    def delete(self, request: Request, user_id: str) -> Response:
        return super().delete(request, user_id + self.suffix)


@extend_schema(tags=["recipients"], parameters=[name_in_path("user_id")])
@extend_schema_view(put=NOT_HERE, patch=NOT_HERE, delete=NOT_HERE)
class RecipientExportView(BesideRecipientView):
    """All that is known of a user."""

    suffix = "/export"

    @extend_schema(
        operation_id="recipients_export",
        summary="Everything the service holds about a user",
        description="One JSON document, streamed: the recipient, and lists of its devices, preferences, subscriptions, "
        "suppressions of its addresses, events, deliveries with their attempts and receipts, inbox items and status messages, "
        "each from the oldest to the newest. A document that ends early is not complete: ask again.",
        responses=ExportSerializer,
    )
    def get(self, request: Request, user_id: str) -> HttpResponseBase:  # type: ignore[override]
        _refuse_unstorable(user_id)
        pieces = export.document(caller(request).tenant, user_id)
        if pieces is None:
            raise Http404
        response = StreamingHttpResponse(pieces, content_type="application/json")
        response["Content-Disposition"] = 'attachment; filename="export.json"'
        return response


@extend_schema(tags=["recipients"], parameters=[name_in_path("user_id", exclude=True)])
@extend_schema_view(get=NOT_HERE, put=NOT_HERE, patch=NOT_HERE, delete=NOT_HERE)
class RecipientsBulkView(RecipientView):
    """Many at once; and the recipient whose user id is `bulk`, if there is one."""

    scopes: ClassVar = {**RecipientView.scopes, "POST": _WRITE}

    def get_parsers(self) -> list[BaseParser]:
        is_posted = self.request is not None and self.request.method == "POST"
        return [*super().get_parsers(), CSVParser()] if is_posted else super().get_parsers()

    @extend_schema(
        summary="Create or replace up to 1,000 recipients",
        description="Each row is taken as its own PUT would be; good rows are taken, bad ones named. As CSV, in UTF-8, the "
        "first row names the fields as in JSON; `attributes.plan` is the attribute `plan`, push tokens are separated by "
        "spaces, an empty cell is a field left out, and errors name the line.",
        request={"application/json": RecipientsBody, "text/csv": OpenApiTypes.STR},
        responses={200: BulkReportSerializer, 415: OpenApiResponse(description="The body is neither JSON nor CSV in UTF-8.")},
    )
    def post(self, request: Request, user_id: str) -> Response:
        body: Any = request.data
        report = import_recipients(caller(request).tenant, body if isinstance(body, Sheet) else _rows(body))
        return Response(BulkReportSerializer(report).data)


def _rows(body: Any) -> list[Any]:
    if not isinstance(body, dict) or body.keys() != {"recipients"} or not isinstance(body["recipients"], list):
        raise InvalidRequest.field("recipients", "The body must be an object with a list of recipients.", "type")
    if not 0 < len(body["recipients"]) <= MOST_RECIPIENTS:
        raise InvalidRequest.field("recipients", f"There must be 1 to {MOST_RECIPIENTS} recipients.", "count")
    return body["recipients"]


def _shown(request: Request, user_id: str) -> Any:
    _refuse_unstorable(user_id)
    recipient = generics.get_object_or_404(selectors.recipients_with_devices(caller(request).tenant), user_id=user_id)
    return RecipientSerializer(recipient).data


def _refuse_unstorable(user_id: str) -> None:
    if "\x00" in user_id:
        raise Http404
