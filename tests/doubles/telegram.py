"""Telegram's Bot API, as far as sendMessage, getMe and setWebhook go: https://core.telegram.org/bots/api"""

from __future__ import annotations

import itertools
import re
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.doubles.http import Answer, Behaviour, HttpDouble, Request

_DESCRIPTIONS = {
    400: "Bad Request: chat not found",
    403: "Forbidden: bot was blocked by the user",
    429: "Too Many Requests: retry after 7",
    502: "Bad Gateway",
}
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")


class TelegramDouble(HttpDouble):
    """The address is the chat's id as text, or the method's name; a message's JSON is `{chat_id, text, parse_mode, …}`."""

    def __init__(self, *, bot_token: str = "123456789:" + "a" * 35, username: str = "AcmeBot", **options: Any) -> None:
        super().__init__(**options)
        self.bot_token = bot_token
        self.username = username
        self.webhook: dict[str, Any] = {}
        """What setWebhook was last told."""
        self.replies: list[dict[str, Any]] = []
        """Calls that came in the answers to updates, and were carried out."""
        self._ids = itertools.count(1)
        self._updates = itertools.count(10_001)

    def address_of(self, request: Request) -> str:
        method = request.path.rpartition("/")[2]
        return str(request.json.get("chat_id", "")) if method == "sendMessage" else method

    def answer(self, request: Request, behaviour: Behaviour) -> Answer:
        token, _, method = request.path.removeprefix("/bot").partition("/")
        act = {"sendMessage": self._send_message, "getMe": self._get_me, "setWebhook": self._set_webhook}.get(method)
        if act is None or token != self.bot_token:
            return self._refuse(404 if act is None else 401, "Unauthorized")
        if behaviour.status:
            text = _DESCRIPTIONS.get(behaviour.status, "Refused by the double")
            return self._refuse(behaviour.status, text)
        return act(request)

    def _send_message(self, request: Request) -> Answer:
        payload = request.json
        self.take(request)
        result = {
            "message_id": next(self._ids),
            "date": 1_795_230_000,
            "chat": {"id": payload["chat_id"], "type": "private"},
            "text": payload["text"],
        }
        return Answer.json(200, {"ok": True, "result": result})

    def _get_me(self, request: Request) -> Answer:
        me = {"id": int(self.bot_token.partition(":")[0]), "is_bot": True, "first_name": "Acme", "username": self.username}
        return Answer.json(200, {"ok": True, "result": me})

    def _set_webhook(self, request: Request) -> Answer:
        told = request.json
        if not told["url"].startswith("https://"):
            return self._refuse(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        if not _SECRET.fullmatch(told.get("secret_token", "-")):
            return self._refuse(400, "Bad Request: secret token contains unallowed characters")
        self.webhook = told
        return Answer.json(200, {"ok": True, "result": True, "description": "Webhook was set"})

    def update(self, **content: Any) -> dict[str, Any]:
        """A new update, `message=` or `my_chat_member=` what it is about."""
        return {"update_id": next(self._updates), **content}

    def message(self, chat_id: int, text: str, kind: str = "private") -> dict[str, Any]:
        """The update for what a user says to the bot."""
        chat = {"id": chat_id, "type": kind, "first_name": "Zoe"}
        sender = {"id": abs(chat_id), "is_bot": False, "first_name": "Zoe", "language_code": "de"}
        return self.update(
            message={"message_id": next(self._ids), "from": sender, "chat": chat, "date": 1_795_230_000, "text": text}
        )

    def membership(self, chat_id: int, status: str, kind: str = "private") -> dict[str, Any]:
        """The update for a user who blocked the bot (`kicked`) or let it in again (`member`)."""
        user = {"id": int(self.bot_token.partition(":")[0]), "is_bot": True, "first_name": "Acme"}
        sender = {"id": abs(chat_id), "is_bot": False, "first_name": "Zoe"}
        return self.update(
            my_chat_member={
                "chat": {"id": chat_id, "type": kind},
                "from": sender,
                "date": 1_795_230_000,
                "old_chat_member": {"user": user, "status": "member"},
                "new_chat_member": {"user": user, "status": status, "until_date": 0},
            }
        )

    def deliver(self, update: dict[str, Any], *, to: str, **headers: str) -> requests.Response:
        """Post an update to the path of the registered webhook at `to`, the server behind that URL's proxy; `headers` replace
        the vendor's. A call of the API in the answer is carried out.
        """
        kind = next(name for name in update if name != "update_id")
        assert kind in self.webhook["allowed_updates"], f"nobody asked for {kind}"
        sent = {"X-Telegram-Bot-Api-Secret-Token": self.webhook["secret_token"], **headers}
        response = requests.post(to + urlsplit(self.webhook["url"]).path, json=update, headers=sent, timeout=10)
        if response.ok and response.content:
            reply = response.json()
            assert reply.pop("method") == "sendMessage"
            self.replies.append(reply)
        return response

    @staticmethod
    def _refuse(status: int, description: str) -> Answer:
        problem: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
        if status == 429:
            problem["parameters"] = {"retry_after": 7}
        return Answer.json(status, problem)
