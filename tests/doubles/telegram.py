"""Telegram's Bot API, as far as sendMessage goes: https://core.telegram.org/bots/api"""

from __future__ import annotations

import itertools
from typing import Any

from tests.doubles.http import Answer, Behaviour, HttpDouble, Request

_DESCRIPTIONS = {
    400: "Bad Request: chat not found",
    403: "Forbidden: bot was blocked by the user",
    429: "Too Many Requests: retry after 7",
    502: "Bad Gateway",
}


class TelegramDouble(HttpDouble):
    """The address is the chat's id as text; a request's JSON is `{chat_id, text, parse_mode, …}`."""

    def __init__(self, *, bot_token: str = "123456789:" + "a" * 35, **options: Any) -> None:
        super().__init__(**options)
        self.bot_token = bot_token
        self._ids = itertools.count(1)

    def address_of(self, request: Request) -> str:
        return str(request.json.get("chat_id", ""))

    def answer(self, request: Request, behaviour: Behaviour) -> Answer:
        if request.path != f"/bot{self.bot_token}/sendMessage":
            return self._refuse(401 if request.path.endswith("/sendMessage") else 404, "Unauthorized")
        if behaviour.status:
            text = _DESCRIPTIONS.get(behaviour.status, "Refused by the double")
            return self._refuse(behaviour.status, text)
        payload = request.json
        self.take(request)
        result = {
            "message_id": next(self._ids),
            "date": 1_795_230_000,
            "chat": {"id": payload["chat_id"], "type": "private"},
            "text": payload["text"],
        }
        return Answer.json(200, {"ok": True, "result": result})

    @staticmethod
    def _refuse(status: int, description: str) -> Answer:
        problem: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
        if status == 429:
            problem["parameters"] = {"retry_after": 7}
        return Answer.json(status, problem)
