"""SMS through Twilio's Messages API: https://www.twilio.com/docs/messaging/api/message-resource"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import requests
from django.conf import settings
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from deliveries.providers.base import Provider
from deliveries.providers.credentials import Field
from deliveries.providers.excerpts import LONGEST_EXCERPT
from deliveries.providers.http import failed_by_vendor, failed_request, single_try_adapter
from deliveries.providers.messages import Failed, Failure, Message, Outcome, Sent
from deliveries.receipts.addresses import twilio_callback
from tenants.vocabulary import Channel

# Where the HTTP status alone would mislead; every other 4xx is permanent. https://www.twilio.com/docs/api/errors
_CODES = {
    14107: Failure.THROTTLED,  # message rate limit exceeded
    20003: Failure.TRANSIENT,  # authentication failed: another account, or this one mended, may send it; as the next three
    20005: Failure.TRANSIENT,  # account not active
    20429: Failure.THROTTLED,  # too many requests
    21606: Failure.TRANSIENT,  # the From number is not this account's
    21611: Failure.THROTTLED,  # the From number's queue is full
    21660: Failure.TRANSIENT,  # the From number is not this account's
    30001: Failure.THROTTLED,  # queue overflow
}


class TwilioProvider(Provider):
    name = "twilio"
    channel = Channel.SMS
    fields = (
        Field("account_sid"),
        Field("auth_token", secret=True),
        Field("from_number", help="E.164, a short code, a sender name, or a messaging service (MG…)."),
    )

    time_limits_s: ClassVar[tuple[float, float]] = (5, 10)
    """To connect, to answer."""

    def __init__(self, *, account_sid: str, auth_token: str, from_number: str) -> None:
        self._from_number = from_number
        self._http = _HttpClient(self.time_limits_s)
        self._client = Client(account_sid, auth_token, http_client=self._http)
        if settings.TWILIO_API_URL:
            self._client.api.base_url = settings.TWILIO_API_URL
        self._http.session.mount(self._client.api.base_url, single_try_adapter(self.concurrency))

    def send(self, message: Message) -> Outcome:
        sender = message.sender or self._from_number
        options = {"messaging_service_sid": sender} if sender.startswith("MG") else {"from_": sender}
        callback = twilio_callback(message.account_id, message.delivery_id)
        if callback:
            options["status_callback"] = callback
        try:
            taken = self._client.messages.create(to=message.address, body=message.body, **options)
        except _RefusedError as error:
            return _failed(error.response)
        except requests.RequestException as error:
            return failed_request(error)
        except ValueError as error:  # 2xx, but not the JSON that the SDK expects
            return Failed(failure=Failure.AMBIGUOUS, code="unreadable_answer", message=str(error))
        return Sent(message_id=taken.sid or "", code=str(taken.status or ""))

    def close(self) -> None:
        self._http.session.close()


class _RefusedError(Exception):
    """An answer other than 2xx, with the headers that the SDK's own exception leaves out."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class _HttpClient(TwilioHttpClient):
    """The SDK's documented place for an own transport: time limits, and refusals with their headers."""

    session: requests.Session

    def __init__(self, time_limits_s: tuple[float, float]) -> None:
        super().__init__()
        self.timeout = time_limits_s  # `requests` takes the pair; the constructor would not

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        response = super().request(method, url, *args, **kwargs)
        if not 200 <= response.status_code < 300:
            raise _RefusedError(response)
        return response

    def log_request(self, kwargs: Mapping[str, Any]) -> None:
        """The SDK would log whole requests, phone numbers included."""

    def log_response(self, status_code: int, response: requests.Response) -> None:
        """As above."""


def _failed(response: Response) -> Failed:
    """Twilio explains a refusal as `{"code": 21211, "message": …, "more_info": …, "status": 400}`."""
    try:
        problem = json.loads(response.text)
        code, message = int(problem["code"]), str(problem["message"])
    except (ValueError, KeyError, TypeError):
        code, message = 0, ""
    failed = failed_by_vendor(
        response.status_code,
        message or f"HTTP {response.status_code}",
        headers=response.headers or {},
        response=response.text[:LONGEST_EXCERPT],
        code=str(code) if code else "",
    )
    return replace(failed, failure=_CODES.get(code, failed.failure))
