"""A receiver of webhooks, as a customer would write one: it verifies with the public Standard Webhooks library."""

from __future__ import annotations

from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from tests.doubles.http import Answer, Behaviour, HttpDouble, Request


class WebhookDouble(HttpDouble):
    """The address is the path. With `secret` empty nothing is verified."""

    def __init__(self, *, secret: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.secret = secret

    def address_of(self, request: Request) -> str:
        return request.path

    def answer(self, request: Request, behaviour: Behaviour) -> Answer:
        if behaviour.status:
            return Answer(behaviour.status, b"refused by the double", behaviour.headers)
        if self.secret:
            try:
                Webhook(self.secret).verify(request.body, dict(request.headers))
            except WebhookVerificationError as error:
                return Answer(400, str(error).encode())
        self.take(request)
        return Answer(200, b"thank you")
