"""Twilio's status callbacks: https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks

A form with `MessageSid`, `MessageStatus` and, if it failed, `ErrorCode`, signed with the account's auth token over the URL and
the form's fields (https://www.twilio.com/docs/usage/webhooks/webhooks-security).
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from django.core.exceptions import BadRequest
from django.http import HttpRequest
from twilio.request_validator import SIGNATURE_HEADER, RequestValidator

from deliveries.models import ReceiptKind
from deliveries.receipts.accounts import ReceivingAccount
from deliveries.receipts.addresses import twilio_url
from deliveries.receipts.errors import MalformedError, UnsignedError
from deliveries.receipts.services import NewReceipt
from tenants.vocabulary import Channel

KINDS: Final = {
    "delivered": ReceiptKind.DELIVERED,
    "read": ReceiptKind.DELIVERED,  # WhatsApp and RCS; it may be the only one that comes
    "undelivered": ReceiptKind.BOUNCED,
    "failed": ReceiptKind.BOUNCED,
}
"""By message status (https://www.twilio.com/docs/messaging/api/message-resource#message-status-values). The others, `accepted`,
`scheduled`, `queued`, `sending`, `sent` and `canceled`, say nothing of the message's arrival.
"""
_GONE: Final = frozenset(
    {
        "21211",  # not a phone number
        "21614",  # not a mobile number
        "21635",  # a landline
        "30005",  # unknown destination handset
    }
)
"""Error codes that speak of the number for good: https://www.twilio.com/docs/api/errors. 30003 (switched off), 30006 (perhaps
only this carrier) and 30007 (filtered) do not.
"""


def receipts_of(request: HttpRequest, account: ReceivingAccount, *, named: str, delivery_id: str) -> list[NewReceipt]:
    """The receipt in a callback to the URL of `named` and `delivery_id`; none for a status that says nothing of arrival.

    Raises UnsignedError, MalformedError.
    """
    signature = request.headers.get(SIGNATURE_HEADER, "")
    validator = RequestValidator(account.credentials["auth_token"])
    try:
        form = request.POST
    except BadRequest as error:  # not UTF-8: what cannot be read cannot be verified either
        raise UnsignedError from error
    if not validator.validate(twilio_url(named, delivery_id), form, signature):
        raise UnsignedError
    status, code = form.get("MessageStatus", ""), form.get("ErrorCode", "")
    if not status:
        raise MalformedError("There is no MessageStatus.")
    try:
        delivery = UUID(delivery_id)
    except ValueError as error:
        raise MalformedError("The URL names no delivery.") from error
    kind = KINDS.get(status)
    if kind is None:
        return []
    return [
        NewReceipt(
            tenant_id=account.tenant_id,
            channel=Channel.SMS.value,
            delivery_id=delivery,
            address=form.get("To", ""),
            kind=kind.value,
            code=code or status,
            text=form.get("ErrorMessage", "") or form.get("ChannelStatusMessage", ""),
            is_lasting=code in _GONE,
        )
    ]
