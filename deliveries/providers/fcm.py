"""Push through Firebase Cloud Messaging's HTTP v1 API, to Android, iOS (by APNs) and browsers, with the firebase-admin SDK.

https://firebase.google.com/docs/cloud-messaging/error-codes
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

import firebase_admin
import requests
from django.conf import settings
from django.utils.timezone import now as clock
from firebase_admin import credentials, exceptions, messaging
from google.auth import exceptions as auth_exceptions
from uuid_utils.compat import uuid7

from deliveries.providers.base import Provider
from deliveries.providers.credentials import Field, ProviderConfigError
from deliveries.providers.excerpts import LONGEST_EXCERPT
from deliveries.providers.http import failed_request, failure_of_status, retry_after, single_try_adapter
from deliveries.providers.messages import (
    AUTH,
    EXPIRED,
    Answer,
    Failed,
    Failure,
    Message,
    Outcome,
    Refusal,
    Sent,
    has_expired,
    never,
)
from deliveries.providers.push import push_outcome
from tenants.vocabulary import Channel, Priority

_GOOGLE_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_CODES = {
    # FcmError codes
    "UNREGISTERED": Failure.PERMANENT,
    "SENDER_ID_MISMATCH": Failure.PERMANENT,  # another project's token; it may be alive there
    "INVALID_ARGUMENT": Failure.PERMANENT,
    "QUOTA_EXCEEDED": Failure.THROTTLED,
    "UNAVAILABLE": Failure.TRANSIENT,
    "INTERNAL": Failure.TRANSIENT,
    # The account's fault, or its APNs key's: it can be mended.
    "THIRD_PARTY_AUTH_ERROR": Failure.TRANSIENT,
    "APNS_AUTH_ERROR": Failure.TRANSIENT,
    # Google's general codes, when there is no FcmError
    "UNAUTHENTICATED": Failure.TRANSIENT,
    "PERMISSION_DENIED": Failure.TRANSIENT,
    "RESOURCE_EXHAUSTED": Failure.THROTTLED,
}
_UNREGISTERED = "UNREGISTERED"
_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_AT_ONCE = frozenset({Priority.URGENT, Priority.HIGH})


class FcmProvider(Provider):
    """Credentials are the fields of a Google service account's JSON file, as downloaded."""

    name = "fcm"
    channel = Channel.PUSH
    fields = (
        Field("project_id"),
        Field("client_email"),
        Field("private_key", secret=True, multiline=True, help="PEM"),
        Field("token_uri", required=False, default=_GOOGLE_TOKEN_URI),
        Field("type", required=False, default="service_account", choices=("service_account",)),
        *(
            Field(name, required=False)
            for name in (
                "private_key_id",
                "client_id",
                "auth_uri",
                "auth_provider_x509_cert_url",
                "client_x509_cert_url",
                "universe_domain",
            )
        ),
    )

    time_limits_s: ClassVar[tuple[float, float]] = (5, 10)
    """To connect, to answer."""

    _app: firebase_admin.App | None = None

    def __init__(self, **service_account: str) -> None:
        try:
            certificate = credentials.Certificate({name: value for name, value in service_account.items() if value})
        except ValueError as error:
            raise ProviderConfigError("private_key", "This is not the key of a service account.") from error
        self._credential = certificate.get_credential()
        self._app = firebase_admin.initialize_app(certificate, {"httpTimeout": self.time_limits_s}, name=f"fcm-{uuid7()}")
        # The SDK keeps one service per app under this name: `messaging.send` finds ours.
        self._service = self._app._get_service(messaging._MESSAGING_ATTRIBUTE, lambda app: _Service(app, self.concurrency))
        self._token_lock = threading.Lock()

    def hand_over(self, messages: Sequence[Message], refusal: Refusal) -> Iterator[Answer]:
        """All tokens of all messages side by side, not one message after the other."""
        refused = self._refresh_token()
        if refused is not None:
            yield from (Answer(index, refused, clock(), 0) for index in range(len(messages)))
            return
        tokens = [list(dict.fromkeys(message.addresses)) for message in messages]
        pairs = [(index, token) for index, own in enumerate(tokens) for token in own]
        answers: list[dict[str, Answer]] = [{} for _ in messages]
        for answer in self.side_by_side(lambda pair: self._send_to_token(messages[pair[0]], pair[1]), pairs, refusal):
            index, token = pairs[answer.place]
            answers[index][token] = answer
            if len(answers[index]) == len(tokens[index]):
                yield _answer(index, {token: answers[index][token] for token in tokens[index]})

    def send(self, message: Message) -> Outcome:
        return next(self.hand_over([message], never)).outcome

    def close(self) -> None:
        app, self._app = self._app, None
        if app is not None:
            self._service.close()
            firebase_admin.delete_app(app)

    def _refresh_token(self) -> Failed | None:
        """Once for the chunk: each of its threads would else fetch a token of its own."""
        with self._token_lock:
            if self._credential.valid:
                return None
            try:
                self._service.refresh_token(self.time_limits_s)
            except auth_exceptions.GoogleAuthError as error:
                return _token_refused(error)
        return None

    def _send_to_token(self, message: Message, token: str) -> Outcome:
        if has_expired(message):
            return EXPIRED
        try:
            name = messaging.send(_fcm_message(message, token), app=self._app)
        except exceptions.FirebaseError as error:
            return _failed(error, token)
        except auth_exceptions.GoogleAuthError as error:
            return _token_refused(error)
        except Exception as error:  # noqa: BLE001 - one token's fault must not hide what became of the others
            return self._fault(error, message)
        return Sent(message_id=name)


class _Service(messaging._MessagingService):
    """The SDK's service with our base URL and without its own retries, which would repeat a message after a lost answer."""

    def __init__(self, app: firebase_admin.App, connections: int) -> None:
        super().__init__(app)
        if settings.FCM_API_URL:
            self._fcm_url = f"{settings.FCM_API_URL}/v1/projects/{app.project_id}/messages:send"
        session = self._client.session
        for prefix in list(session.adapters):
            session.mount(prefix, single_try_adapter(connections))

    def refresh_token(self, time_limits_s: tuple[float, float]) -> None:
        session = self._client.session
        session.credentials.refresh(functools.partial(session._auth_request, timeout=time_limits_s))

    def close(self) -> None:
        session = self._client.session
        if session._auth_request_session is not None:
            session._auth_request_session.close()
        session.close()


def _answer(index: int, by_token: Mapping[str, Answer]) -> Answer:
    outcome = push_outcome({token: answer.outcome for token, answer in by_token.items()})
    started_at = min(answer.started_at for answer in by_token.values())
    ended_at = max(answer.started_at + timedelta(milliseconds=answer.duration_ms) for answer in by_token.values())
    return Answer(index, outcome, started_at, round((ended_at - started_at) / timedelta(milliseconds=1)))


def _fcm_message(message: Message, token: str) -> messaging.Message:
    """`data` has text values only, and reserved names: the event's own data is one of them, as JSON.

    The delivery's id as tag (Android, browsers) and collapse id (APNs) lets a repeated message replace the first.
    """
    tag = str(message.delivery_id)
    at_once = message.priority in _AT_ONCE
    whole = messaging.Message(
        notification=messaging.Notification(title=message.subject or None, body=message.body),
        data={
            "deliveryId": tag,
            "eventId": message.event_id,
            "eventType": message.event_type,
            "data": json.dumps(dict(message.data), ensure_ascii=False),
        },
        android=messaging.AndroidConfig(
            priority="high" if at_once else "normal", notification=messaging.AndroidNotification(tag=tag)
        ),
        apns=messaging.APNSConfig(headers={"apns-collapse-id": tag, "apns-priority": "10" if at_once else "5"}),
        webpush=messaging.WebpushConfig(
            headers={"Urgency": "high" if at_once else "normal"}, notification=messaging.WebpushNotification(tag=tag)
        ),
    )
    # Given to the constructor it warns: the SDK would rather have installation ids, but tokens are what apps register with.
    whole.token = token
    return whole


def _failed(error: exceptions.FirebaseError, token: str) -> Failed:
    response = error.http_response
    if response is None:
        cause = error.cause
        if isinstance(cause, requests.RequestException):
            return failed_request(cause)
        return Failed(failure=Failure.TRANSIENT, code="request_failed", message=str(error))
    problem = _problem(response)
    details = [detail for detail in problem.get("details", []) if isinstance(detail, dict)]
    code = next((detail.get("errorCode") for detail in details if detail.get("@type") == _FCM_ERROR), None)
    code = str(code or problem.get("status") or f"http_{response.status_code}")
    wait_s = retry_after(response.headers.get("Retry-After"))
    dead = code == _UNREGISTERED or (code == "INVALID_ARGUMENT" and _blames_token(problem, details))
    return Failed(
        failure=_CODES.get(code) or failure_of_status(response.status_code, wait_s),
        code=AUTH if response.status_code == 401 else code,
        message=str(error),
        retry_after_s=wait_s,
        response=response.text[:LONGEST_EXCERPT],
        dead_addresses=(token,) if dead else (),
    )


def _problem(response: requests.Response) -> Mapping[str, Any]:
    """Google's errors: `{"error": {"code": 404, "message": …, "status": "NOT_FOUND", "details": [{"@type": …}, …]}}`."""
    try:
        problem = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _blames_token(problem: Mapping[str, Any], details: Sequence[Mapping[str, Any]]) -> bool:
    """INVALID_ARGUMENT may mean the token or the rest of the message."""
    fields = {violation.get("field") for detail in details for violation in detail.get("fieldViolations", [])}
    return "message.token" in fields or "registration token" in str(problem.get("message", "")).lower()


def _token_refused(error: auth_exceptions.GoogleAuthError) -> Failed:
    """No access token: Google could not be reached, or does not know this service account."""
    unreachable = isinstance(error, auth_exceptions.TransportError) or error.retryable
    return Failed(failure=Failure.TRANSIENT, code="token_unavailable" if unreachable else AUTH, message=str(error))
