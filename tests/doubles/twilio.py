"""Twilio's Messages API, as far as sending goes: https://www.twilio.com/docs/messaging/api/message-resource"""

from __future__ import annotations

import base64
import secrets
from typing import Any
from urllib.parse import urlsplit

import requests
from twilio.request_validator import RequestValidator

from tests.doubles.http import Answer, Behaviour, HttpDouble, Request

_STATUS_OF_CODE = {"20003": 401, "20429": 429}


class TwilioDouble(HttpDouble):
    """The address is the number. `behave(number, code="21610")` refuses as Twilio does; `by_sid` finds what was taken."""

    def __init__(self, *, account_sid: str = "AC" + "1" * 32, auth_token: str = "t0ken-of-twilio", **options: Any) -> None:
        super().__init__(**options)
        self.account_sid = account_sid
        self.auth_token = auth_token
        self.by_sid: dict[str, Request] = {}

    def address_of(self, request: Request) -> str:
        return request.form.get("To", "")

    def answer(self, request: Request, behaviour: Behaviour) -> Answer:
        if request.path != f"/2010-04-01/Accounts/{self.account_sid}/Messages.json":
            return self._refuse(404, "20404", f"The requested resource {request.path} was not found")
        pair = base64.b64encode(f"{self.account_sid}:{self.auth_token}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {pair}":
            return self._refuse(401, "20003", "Authenticate")
        if behaviour.status or behaviour.code:
            status = behaviour.status or _STATUS_OF_CODE.get(behaviour.code, 400)
            return self._refuse(status, behaviour.code, "Refused by the double", dict(behaviour.headers))
        missing = [name for name in ("To", "Body") if not request.form.get(name)]
        if missing:
            return self._refuse(400, "21604", f"A '{missing[0]}' is required")
        return self._accept(request)

    def call_back(self, sid: str, status: str, *, to: str, auth_token: str = "", **fields: str) -> requests.Response:
        """The status callback of a message that was taken, posted to `to`: the server behind the proxy of the URL that Twilio
        was told, which is what it signs. Another `auth_token` makes a forgery.
        """
        told = self.by_sid[sid].form["StatusCallback"]
        form = {
            "AccountSid": self.account_sid,
            "ApiVersion": "2010-04-01",
            "From": self.by_sid[sid].form.get("From", ""),
            "MessageSid": sid,
            "MessageStatus": status,
            "SmsSid": sid,
            "SmsStatus": status,
            "To": self.by_sid[sid].form["To"],
            **fields,
        }
        signature = RequestValidator(auth_token or self.auth_token).compute_signature(told, form)
        url = to + urlsplit(told).path
        return requests.post(url, data=form, headers={"X-Twilio-Signature": signature}, timeout=10)

    def _accept(self, request: Request) -> Answer:
        form = request.form
        sid = "SM" + secrets.token_hex(16)
        self.by_sid[sid] = request
        self.take(request)
        return Answer.json(
            201,
            {
                "account_sid": self.account_sid,
                "api_version": "2010-04-01",
                "body": form["Body"],
                "date_created": "Sat, 21 Nov 2026 03:00:00 +0000",
                "date_sent": None,
                "date_updated": "Sat, 21 Nov 2026 03:00:00 +0000",
                "direction": "outbound-api",
                "error_code": None,
                "error_message": None,
                "from": form.get("From"),
                "messaging_service_sid": form.get("MessagingServiceSid"),
                "num_media": "0",
                "num_segments": "1",
                "price": None,
                "price_unit": "USD",
                "sid": sid,
                "status": "queued",
                "subresource_uris": {},
                "to": form["To"],
                "uri": f"/2010-04-01/Accounts/{self.account_sid}/Messages/{sid}.json",
            },
        )

    def _refuse(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Answer:
        if not code:
            return Answer(status, b"upstream trouble", headers or {})
        info = f"https://www.twilio.com/docs/errors/{code}"
        return Answer.json(status, {"code": int(code), "message": message, "more_info": info, "status": status}, headers)
