"""The e-mail vendors' HTTP APIs, as far as one accepted or refused message goes."""

from __future__ import annotations

import secrets
from typing import Any

from tests.doubles.http import Answer, Behaviour, HttpDouble, Request


def _postmark(message_id: str) -> Answer:
    return Answer.json(200, {"ErrorCode": 0, "Message": "OK", "MessageID": message_id, "To": "ada@example.com"})


_ACCEPT = {
    "brevo": ("/smtp/email", lambda sent: Answer.json(201, {"messageId": sent})),
    "mailgun": ("/acme.test/messages", lambda sent: Answer.json(200, {"id": sent, "message": "Queued. Thank you."})),
    "postmark": ("/email", _postmark),
    "resend": ("/emails", lambda sent: Answer.json(200, {"id": sent})),
    "sendgrid": ("/mail/send", lambda _sent: Answer(202, b"")),
    "sparkpost": (
        "/transmissions/",
        lambda sent: Answer.json(
            200, {"results": {"total_rejected_recipients": 0, "total_accepted_recipients": 1, "id": sent}}
        ),
    ),
}
VENDORS = tuple(_ACCEPT)


class EspDouble(HttpDouble):
    """One vendor's API. It looks for `key` anywhere in the headers: each vendor has its own place for it."""

    def __init__(self, vendor: str, *, key: str = "key-of-the-vendor", **options: Any) -> None:
        super().__init__(**options)
        self.key = key
        self.message_ids: list[str] = []
        self._path, self._accept = _ACCEPT[vendor]
        self._is_basic = vendor == "mailgun"

    def address_of(self, request: Request) -> str:
        return ""

    def answer(self, request: Request, behaviour: Behaviour) -> Answer:
        if request.path != self._path:
            return Answer.json(404, {"message": f"nothing at {request.path}"})
        if not self._is_authorized(request):
            return Answer.json(401, {"message": "unauthorized"})
        if behaviour.status:
            return Answer.json(behaviour.status, {"message": "refused by the double"}, behaviour.headers)
        message_id = f"<{secrets.token_hex(8)}@vendor.test>"
        self.message_ids.append(message_id)
        self.take(request)
        return self._accept(message_id)

    def _is_authorized(self, request: Request) -> bool:
        if self._is_basic:
            return bool(request.headers.get("authorization", "").startswith("Basic "))
        return any(self.key in value for value in request.headers.values())
