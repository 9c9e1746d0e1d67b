"""Receipts of the e-mail vendors: django-anymail's webhook views verify and read them, with one account's key.

Of anymail's views only the verification and the parsing are used; the answer is ours, and so is what happens then.
"""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from anymail.exceptions import AnymailConfigurationError, AnymailError, AnymailWebhookValidationFailure
from anymail.signals import AnymailTrackingEvent, EventType
from anymail.webhooks.base import AnymailBaseWebhookView
from anymail.webhooks.brevo import BrevoTrackingWebhookView
from anymail.webhooks.mailgun import MailgunTrackingWebhookView
from anymail.webhooks.postmark import PostmarkTrackingWebhookView
from anymail.webhooks.resend import ResendTrackingWebhookView
from anymail.webhooks.sendgrid import SendGridTrackingWebhookView
from anymail.webhooks.sparkpost import SparkPostTrackingWebhookView
from django.http import HttpRequest
from standardwebhooks import Webhook, WebhookVerificationError

from deliveries.models import ReceiptKind
from deliveries.providers import registry
from deliveries.receipts.accounts import ReceivingAccount
from deliveries.receipts.errors import MalformedError, StaleError, UnsignedError
from deliveries.receipts.services import NewReceipt
from tenants.vocabulary import Channel

Raw = Mapping[str, Any]
"""A vendor's event, as its documents describe it."""

_KINDS: Final = {
    EventType.DELIVERED: ReceiptKind.DELIVERED,
    EventType.BOUNCED: ReceiptKind.BOUNCED,
    EventType.REJECTED: ReceiptKind.BOUNCED,  # the vendor itself would not send it
    EventType.FAILED: ReceiptKind.BOUNCED,
    EventType.COMPLAINED: ReceiptKind.COMPLAINED,
    EventType.DEFERRED: ReceiptKind.DEFERRED,
}
"""By anymail's event type. The others (opened, clicked, unsubscribed…) are no receipts."""


class _ResendView(ResendTrackingWebhookView):
    """Resend signs by way of Svix, whose scheme became Standard Webhooks: the same but for the headers' names."""

    signing_secret = ""

    def __init__(self, *, secret: str, **kwargs: Any) -> None:
        super().__init__(signing_secret=None, **kwargs)
        self._webhook = Webhook(secret)

    def validate_request(self, request: HttpRequest) -> None:
        headers = {f"webhook-{name}": request.headers.get(f"svix-{name}", "") for name in ("id", "timestamp", "signature")}
        try:
            self._webhook.verify(request.body, headers, json_parse=False)
        except WebhookVerificationError as error:
            raise AnymailWebhookValidationFailure(str(error)) from error


class _MailgunView(MailgunTrackingWebhookView):
    """Mailgun signs a timestamp and a random token; anymail does not ask how old they are.

    A signature is good for `_MAILGUN_FRESH`, and as often as it comes: Mailgun repeats the request, its signature included,
    for 8 hours, and a receipt that comes twice changes nothing. So tokens are not remembered. What is signed does not cover
    the event, which nothing here can mend: https keeps signatures from those who could use one for an event of their own.
    """

    def validate_request(self, request: HttpRequest) -> None:
        super().validate_request(request)
        signed: Mapping[str, Any] = request.POST
        if request.content_type == "application/json":
            signed = json.loads(request.body)["signature"]
        age_s = time.time() - int(signed["timestamp"])
        if not -_MAILGUN_AHEAD.total_seconds() <= age_s <= _MAILGUN_FRESH.total_seconds():
            raise StaleError


_MAILGUN_FRESH: Final = timedelta(hours=12)
"""Its last repetition is sent seven and a half hours after the first request, and a queue of its own may add to that.
https://documentation.mailgun.com/docs/mailgun/user-manual/events/webhooks
"""
_MAILGUN_AHEAD: Final = timedelta(minutes=5)
"""How far its clock may be ahead of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vendor:
    view: type[AnymailBaseWebhookView]
    option: str
    """What the view calls the key by which it verifies."""
    code: Callable[[Raw], Any]
    """The vendor's word or number for what happened."""
    is_lasting: Callable[[Raw], bool]
    """Whether a bounce means that the address is gone for good."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The view's other options: named here, so that none is looked for in the settings."""


def _mailgun(raw: Raw) -> Raw:
    data: Raw = raw.get("event-data") or {}
    return data


def _resend_bounce(raw: Raw) -> Raw:
    bounce: Raw = raw["data"].get("bounce") or {}
    return bounce


_NO_SECRET: Final[Mapping[str, Any]] = {"webhook_secret": []}
VENDORS: Final[Mapping[str, _Vendor]] = {
    # https://developers.brevo.com/docs/transactional-webhooks
    "brevo": _Vendor(
        view=BrevoTrackingWebhookView,
        option="webhook_secret",
        code=lambda raw: raw.get("event"),
        is_lasting=lambda raw: raw.get("event") in {"hard_bounce", "invalid_email"},
    ),
    # https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-structure
    "mailgun": _Vendor(
        view=_MailgunView,
        option="webhook_signing_key",
        options={**_NO_SECRET, "api_key": None},
        code=lambda raw: (_mailgun(raw).get("delivery-status") or {}).get("code") or _mailgun(raw).get("reason"),
        is_lasting=lambda raw: (
            _mailgun(raw).get("severity") == "permanent" and _mailgun(raw).get("reason") in {"bounce", "suppress-bounce"}
        ),
    ),
    # https://postmarkapp.com/developer/api/bounce-api#bounce-types
    "postmark": _Vendor(
        view=PostmarkTrackingWebhookView,
        option="webhook_secret",
        code=lambda raw: raw.get("Type"),
        is_lasting=lambda raw: raw.get("Type") in {"HardBounce", "BadEmailAddress"},
    ),
    # https://resend.com/docs/webhooks/emails/bounced; the types are Amazon SES's
    "resend": _Vendor(
        view=_ResendView,
        option="secret",
        options=_NO_SECRET,
        code=lambda raw: _resend_bounce(raw).get("subType"),
        is_lasting=lambda raw: _resend_bounce(raw).get("type") == "Permanent",
    ),
    # https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
    "sendgrid": _Vendor(
        view=SendGridTrackingWebhookView,
        option="tracking_webhook_verification_key",
        options=_NO_SECRET,
        code=lambda raw: raw.get("status") or (raw.get("reason") if raw.get("event") == "dropped" else None),
        is_lasting=lambda raw: (
            (raw.get("event") == "bounce" and raw.get("type") == "bounce")
            or (raw.get("event") == "dropped" and raw.get("reason") in {"Bounced Address", "Invalid"})
        ),
    ),
    # https://support.sparkpost.com/docs/deliverability/bounce-classification-codes: 10 invalid recipient, 30 no such recipient
    "sparkpost": _Vendor(
        view=SparkPostTrackingWebhookView,
        option="webhook_secret",
        options={"track_initial_open_as_opened": False},
        code=lambda raw: _sparkpost(raw).get("error_code") or _sparkpost(raw).get("bounce_class"),
        is_lasting=lambda raw: _sparkpost(raw).get("bounce_class") in {"10", "30"},
    ),
}


def _sparkpost(raw: Raw) -> Raw:
    """`{"msys": {"message_event": {…}}}`"""
    (event,) = raw["msys"].values()
    return dict(event)


_FOREIGN: Final = (
    AnymailError,
    AnymailConfigurationError,  # an event of another webhook of the vendor's, such as that for incoming mail
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RecursionError,
    ArithmeticError,
    OSError,  # a time beyond the platform's calendar
)
"""What reading may raise on a body that is not what the vendor's documents describe."""
_making = threading.Lock()


def receipts_of(request: HttpRequest, account: ReceivingAccount, *, kind: str) -> list[NewReceipt]:
    """The receipts in a vendor's request. Raises UnsignedError, MalformedError."""
    vendor = VENDORS[kind]
    view = _view(vendor, account.credentials.get(registry.provider_class(Channel.EMAIL, kind).receipt_key) or "")
    try:
        view.run_validators(request)
    except (AnymailWebhookValidationFailure, *_FOREIGN) as error:  # what cannot be read cannot be verified either
        raise UnsignedError from error
    try:
        return list(_receipts(view.parse_events(request), vendor, account))
    except _FOREIGN as error:
        raise MalformedError("The body is not an event of this vendor, or not of this kind of webhook.") from error


def _view(vendor: _Vendor, key: str) -> AnymailBaseWebhookView:
    if not key:
        raise UnsignedError
    # anymail warns that it no longer tests SendGrid, and of views without basic auth also where a signature is checked.
    with _making, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return vendor.view(**{**vendor.options, vendor.option: key})
        except ValueError as error:  # not a key at all
            raise UnsignedError from error


def _receipts(events: Iterable[AnymailTrackingEvent], vendor: _Vendor, account: ReceivingAccount) -> Iterable[NewReceipt]:
    for event in events:
        kind = _KINDS.get(event.event_type)
        if kind is None:
            continue
        raw = event.esp_event
        yield NewReceipt(
            tenant_id=account.tenant_id,
            channel=Channel.EMAIL.value,
            delivery_id=_delivery_id(event.metadata),
            provider_message_id=str(event.message_id) if event.message_id else None,
            kind=kind.value,
            code=str(vendor.code(raw) or ""),
            text=str(event.mta_response or event.description or ""),
            at=event.timestamp,
            is_lasting=kind is ReceiptKind.BOUNCED and vendor.is_lasting(raw),
        )


def _delivery_id(metadata: Any) -> UUID | None:
    """As `providers.esp` gave it to the vendor; None for a message that is not ours."""
    try:
        return UUID(metadata["delivery_id"])
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
