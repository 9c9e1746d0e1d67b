"""Chat by a Telegram bot, through apprise. The address is the chat's id, or `@name` of a public channel.

https://core.telegram.org/bots/api#making-requests: a refusal is `{"ok": false, "error_code": 429, "description": …,
"parameters": {"retry_after": 5}}`.
"""

from __future__ import annotations

import html
import re
from typing import ClassVar

from apprise import NotifyFormat
from apprise.exception import AppriseImproperlyConfigured
from apprise.plugins.telegram import NotifyTelegram
from django.conf import settings

from deliveries.providers import chat
from deliveries.providers.base import Provider
from deliveries.providers.credentials import Field, ProviderConfigError
from deliveries.providers.messages import Failed, Failure, Message, Outcome
from tenants.vocabulary import Channel

_LONGEST_TEXT = 4096
_CHAT_ID = re.compile(r"-?\d{1,20}|@[A-Za-z]\w{3,31}", re.ASCII)


class TelegramProvider(Provider):
    name = "telegram"
    channel = Channel.CHAT
    fields = (Field("bot_token", secret=True, help="As @BotFather gave it: 123456:ABC…"),)

    time_limits_s: ClassVar[tuple[float, float]] = (5, 10)
    """To connect, to answer."""

    def __init__(self, *, bot_token: str) -> None:
        self._bot_token = bot_token
        self._asset = chat.asset()
        try:
            self._plugin("1")
        except AppriseImproperlyConfigured as error:
            raise ProviderConfigError("bot_token", "This is not a Telegram bot's token.") from error

    def send(self, message: Message) -> Outcome:
        if not _CHAT_ID.fullmatch(message.address):
            text = f"{message.address!r} is not a Telegram chat id."
            return Failed(failure=Failure.PERMANENT, code="invalid_chat_id", message=text)
        refused = chat.empty(message)
        if refused is not None:
            return refused
        plugin = self._plugin(message.address)

        def post() -> bool:
            # Straight to the plugin's own step: the one before it would read markup out of the text.
            body = _html(message)
            return bool(plugin.send(body=body, body_format=NotifyFormat.HTML, body_passthrough=False))  # type: ignore[no-untyped-call]

        return chat.ask(plugin, post, self.time_limits_s)

    def _plugin(self, chat_id: str) -> NotifyTelegram:
        plugin = NotifyTelegram(  # type: ignore[no-untyped-call]
            self._bot_token, [chat_id], detect_owner=False, asset=self._asset
        )
        if settings.TELEGRAM_API_URL:
            plugin.notify_url = f"{settings.TELEGRAM_API_URL}/bot"
        return plugin


def _html(message: Message) -> str:
    """The title in bold above the text, nothing else in it taken for markup; longer texts than Telegram takes end in "…".

    https://core.telegram.org/bots/api#html-style: only `<`, `>` and `&` mean anything.
    """
    title = message.subject.strip()
    room = _LONGEST_TEXT - _length(title) - 1
    body = message.body if _length(message.body) <= room else _cut(message.body, room - 1) + "…"
    lines = ([f"<b>{html.escape(title, quote=False)}</b>"] if title else []) + (
        [html.escape(body, quote=False)] if body else []
    )
    return "\n".join(lines)


def _length(text: str) -> int:
    """As Telegram counts: UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _cut(text: str, units: int) -> str:
    return text.encode("utf-16-le", "surrogatepass")[: max(units, 0) * 2].decode("utf-16-le", "ignore")
