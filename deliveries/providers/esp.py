"""E-mail through the vendors' own HTTP APIs, by django-anymail. One class; a vendor is its backend and its settings.

Amazon SES is used over its SMTP interface (`smtp`): anymail's SES backend would need the whole of boto3.
"""

from __future__ import annotations

import base64
import threading
import warnings
from typing import Any, ClassVar

import requests
from anymail.exceptions import AnymailError, AnymailRecipientsRefused
from anymail.message import AnymailStatus
from cryptography.hazmat.primitives.serialization import load_der_public_key
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend
from django.utils.module_loading import import_string
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from deliveries.providers.base import Provider
from deliveries.providers.credentials import Field, ProviderConfigError
from deliveries.providers.excerpts import LONGEST_EXCERPT
from deliveries.providers.http import failed_by_vendor, failed_request, single_try_adapter
from deliveries.providers.mail import build_mail, never_a_mail
from deliveries.providers.messages import Failed, Failure, Message, Outcome, Sent
from tenants.vocabulary import Channel

_API_KEY = Field("api_key", secret=True)
_OTHERS = (
    Field("from_email", required=False, help="Empty: DEFAULT_FROM_EMAIL."),
    Field("api_url", required=False, help="Another region's address, or a proxy's. Empty: the vendor's own."),
)
_REFUSED = frozenset({"invalid", "rejected", "failed"})
_WEBHOOK_SECRET = Field(
    "webhook_secret",
    required=False,
    secret=True,
    help="For receipts: user:password, which the vendor sends along as basic authentication. Empty: none are taken.",
)


class EspProvider(Provider):
    """`fields` other than `from_email` are the options of anymail's backend."""

    channel = Channel.EMAIL
    backend: ClassVar[str]
    """Dotted path of anymail's backend."""
    time_limits_s: ClassVar[tuple[float, float]] = (5, 10)
    """To connect, to answer."""

    def __init__(self, *, from_email: str, **options: Any) -> None:
        self._check_receipt_key(options.pop(self.receipt_key))
        self._from_email = from_email
        self._options = {name: value for name, value in options.items() if value}
        self._backend: Any = None
        self._lock = threading.Lock()

    @classmethod
    def _check_receipt_key(cls, key: str) -> None:
        """Raises ProviderConfigError for one that no receipt can be verified by; most vendors' is basic authentication."""
        user, _, password = key.partition(":")
        if key and not (user and password and key.isascii()):
            raise ProviderConfigError(cls.receipt_key, "This must be a user name, a colon and a password.")

    def send(self, message: Message) -> Outcome:
        mail = build_mail(message, from_email=self._from_email)
        if isinstance(mail, Failed):
            return mail
        mail.metadata = {"delivery_id": str(message.delivery_id)}  # type: ignore[attr-defined]  # anymail's; comes back in receipts
        try:
            self._open().send_messages([mail])
        except AnymailRecipientsRefused as error:
            return Failed(failure=Failure.PERMANENT, code="recipient_refused", message=str(error))
        except AnymailError as error:
            return _failed(error)
        return _sent(mail)

    def close(self) -> None:
        with self._lock:
            if self._backend is not None:
                self._backend.close()
                self._backend = None

    def _open(self) -> BaseEmailBackend:
        """The backend with its HTTP session, which all threads share."""
        with self._lock:
            if self._backend is None:
                with warnings.catch_warnings():
                    # anymail warns at each start that it no longer tests its SendGrid backend against the vendor.
                    warnings.simplefilter("ignore")
                    backend = import_string(self.backend)(**self._options, timeout=self.time_limits_s)
                backend.open()
                backend.session.mount(backend.api_url, single_try_adapter(self.concurrency))
                self._backend = backend
            return self._backend  # type: ignore[no-any-return]


class BrevoProvider(EspProvider):
    name = "brevo"
    backend = "anymail.backends.brevo.EmailBackend"
    receipt_key = "webhook_secret"
    fields = (_API_KEY, *_OTHERS, _WEBHOOK_SECRET)


class MailgunProvider(EspProvider):
    name = "mailgun"
    backend = "anymail.backends.mailgun.EmailBackend"
    receipt_key = "webhook_signing_key"
    fields = (
        _API_KEY,
        Field("sender_domain", required=False, help="Empty: the domain of the From address."),
        *_OTHERS,
        Field(
            "webhook_signing_key",
            required=False,
            secret=True,
            help="For receipts: the HTTP webhook signing key. Empty: none are taken.",
        ),
    )

    @classmethod
    def _check_receipt_key(cls, key: str) -> None:
        if not key.isascii():
            raise ProviderConfigError(cls.receipt_key, "This must be the signing key that Mailgun shows.")


class PostmarkProvider(EspProvider):
    name = "postmark"
    backend = "anymail.backends.postmark.EmailBackend"
    receipt_key = "webhook_secret"
    fields = (Field("server_token", secret=True), Field("message_stream", required=False), *_OTHERS, _WEBHOOK_SECRET)


class ResendProvider(EspProvider):
    name = "resend"
    backend = "anymail.backends.resend.EmailBackend"
    receipt_key = "signing_secret"
    fields = (
        _API_KEY,
        *_OTHERS,
        Field("signing_secret", required=False, secret=True, help="For receipts: the webhook's whsec_… Empty: none are taken."),
    )

    @classmethod
    def _check_receipt_key(cls, key: str) -> None:
        try:
            if key:
                Webhook(key)
        except (ValueError, EmptyWebhookSecretError) as error:
            raise ProviderConfigError(cls.receipt_key, "This must be the signing secret that Resend shows.") from error


class SendGridProvider(EspProvider):
    name = "sendgrid"
    backend = "anymail.backends.sendgrid.EmailBackend"
    receipt_key = "webhook_verification_key"
    fields = (
        _API_KEY,
        *_OTHERS,
        Field(
            "webhook_verification_key",
            required=False,
            help="For receipts: the verification key of the Signed Event Webhook. Empty: none are taken.",
        ),
    )

    @classmethod
    def _check_receipt_key(cls, key: str) -> None:
        try:
            if key:
                load_der_public_key(base64.b64decode(key))
        except ValueError as error:
            raise ProviderConfigError(cls.receipt_key, "This must be the public key that SendGrid shows.") from error


class SparkPostProvider(EspProvider):
    name = "sparkpost"
    backend = "anymail.backends.sparkpost.EmailBackend"
    receipt_key = "webhook_secret"
    fields = (_API_KEY, Field("subaccount", required=False), *_OTHERS, _WEBHOOK_SECRET)


def _sent(mail: EmailMultiAlternatives) -> Outcome:
    status: AnymailStatus = mail.anymail_status  # type: ignore[attr-defined]  # set by anymail
    if not status.esp_response.ok:  # for some of a vendor's refusals anymail knows no word
        return _refused(status.esp_response)
    answer = status.esp_response.text[:LONGEST_EXCERPT]
    words = status.status or set()
    if words and words <= _REFUSED:
        return Failed(failure=Failure.PERMANENT, code="recipient_refused", message=", ".join(sorted(words)), response=answer)
    message_id = status.message_id
    return Sent(message_id=message_id if isinstance(message_id, str) else "", code=",".join(sorted(words)), response=answer)


def _failed(error: AnymailError) -> Failed:
    if isinstance(error, requests.RequestException) and error.response is None:
        cause = error.__cause__
        return failed_request(cause if isinstance(cause, requests.RequestException) else error)
    if error.response is None:
        # Not a vendor's answer: anymail will not build such a message (a bad address, a feature the vendor lacks).
        return never_a_mail(str(error))
    if error.response.ok:
        return Failed(failure=Failure.AMBIGUOUS, code="unreadable_answer", message=str(error.args[0]))
    return _refused(error.response)


def _refused(response: requests.Response) -> Failed:
    text = f"{response.status_code} {response.reason}"
    return failed_by_vendor(response.status_code, text, headers=response.headers, response=response.text[:LONGEST_EXCERPT])
