"""Receipts over HTTP. The caller is a vendor: its signature, or the secret it was given, is its key.

A receipt of a delivery that is not there is answered as any other: vendors repeat what is answered with an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import structlog
from django.http import Http404, HttpRequest
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deliveries import metrics
from deliveries.receipts import esp, twilio
from deliveries.receipts.accounts import ReceivingAccount, receiving_account
from deliveries.receipts.errors import MalformedError, StaleError, UnsignedError
from deliveries.receipts.services import NewReceipt, apply_receipts
from tenants.http.openapi import Problem
from tenants.http.parsers import read_body
from tenants.http.problems import InvalidRequest
from tenants.vocabulary import Channel

logger = structlog.get_logger(__name__)

MOST_BYTES: Final = 2 * 1024 * 1024
"""Vendors put many events into one request: SendGrid up to 768 KB."""

_ACCOUNT = OpenApiParameter(
    "account", str, OpenApiParameter.PATH, description="The provider account's id, or `installation` for that of the settings."
)
_ANSWERS: Final = {
    204: OpenApiResponse(description="Taken, or not about a delivery of ours."),
    400: Problem,
    403: Problem,
    413: OpenApiResponse(Problem, description=f"The body is larger than {MOST_BYTES // 1024} KB."),
}


class TwilioReceiptsView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        summary="Twilio's status callback of one SMS",
        description="Its URL goes to Twilio with each message. Signed in `X-Twilio-Signature`.",
        tags=["receipts"],
        parameters=[_ACCOUNT, OpenApiParameter("delivery_id", str, OpenApiParameter.PATH)],
        request={"application/x-www-form-urlencoded": OpenApiTypes.OBJECT},
        responses=_ANSWERS,
    )
    def post(self, request: Request, account: str, delivery_id: str) -> Response:
        def read(raw: HttpRequest, sender: ReceivingAccount) -> Sequence[NewReceipt]:
            return twilio.receipts_of(raw, sender, named=account, delivery_id=delivery_id)

        return _take(request, Channel.SMS, "twilio", account, read)


class EmailReceiptsView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        summary="An e-mail vendor's events",
        description="In the vendor's own form, with its signature or, as basic authentication, the account's webhook secret.",
        tags=["receipts"],
        parameters=[OpenApiParameter("kind", str, OpenApiParameter.PATH, enum=sorted(esp.VENDORS)), _ACCOUNT],
        request={"application/json": OpenApiTypes.ANY},
        responses=_ANSWERS,
    )
    def post(self, request: Request, kind: str, account: str) -> Response:
        def read(raw: HttpRequest, sender: ReceivingAccount) -> Sequence[NewReceipt]:
            return esp.receipts_of(raw, sender, kind=kind)

        if kind not in esp.VENDORS:
            raise Http404
        return _take(request, Channel.EMAIL, kind, account, read)


def _take(
    request: Request,
    channel: Channel,
    kind: str,
    named: str,
    read: Callable[[HttpRequest, ReceivingAccount], Sequence[NewReceipt]],
) -> Response:
    """Verify, read, apply."""
    raw = request._request
    try:
        sender = receiving_account(channel, kind, named)
        read_body(raw, MOST_BYTES)
        receipts = read(raw, sender)
    except StaleError:
        _note_refused(kind, "stale")
        raise PermissionDenied("This was signed too long ago, or by a clock that is ahead.") from None
    except UnsignedError:
        _note_refused(kind, "unsigned")
        raise PermissionDenied("This is not signed with the key of such an account.") from None
    except MalformedError as error:
        _note_refused(kind, "malformed")
        raise InvalidRequest.field("", str(error), "malformed") from None
    for (receipt_kind, result), count in apply_receipts(receipts=receipts).items():
        metrics.count_receipts(kind, receipt_kind.label, result.value, count)
    return Response(status=204)


def _note_refused(kind: str, why: str) -> None:
    """Nothing of what was sent is logged: it may hold a secret, or be anything at all."""
    metrics.count_receipts(kind, "", why, 1)
    logger.warning("receipt_refused", provider=kind, why=why)
