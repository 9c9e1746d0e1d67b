"""The calls of Telegram's Bot API that are no messages: https://core.telegram.org/bots/api

Each ends within `TIME_LIMIT_S`; none belongs into a transaction.
"""

from __future__ import annotations

import functools
import hashlib
import ssl
import threading
import time
from typing import Any, Final

import httpx
import msgspec
from django.conf import settings

from deliveries.providers.outbound import AddressPolicy, GuardedTransport, time_limit

TIME_LIMIT_S: Final = 10.0
"""For all of a call: look-up, connection, request, answer."""
ALLOWED_UPDATES: Final = ("message", "my_chat_member")
_OFFICIAL: Final = "https://api.telegram.org"
_NAME_KEPT_S: Final = 3600.0
_ANYWHERE: Final = AddressPolicy.of(("0.0.0.0/0", "::/0"), loopback=True)
"""The address comes from the settings: nobody outside chooses it."""


class TelegramError(Exception):
    """Telegram did not do as asked; the text says why, and holds no token."""


class RefusedError(TelegramError):
    """It said no, and will again."""


class UnreachableError(TelegramError):
    """No answer, or none for now: worth another try."""


class _Answer(msgspec.Struct):
    """https://core.telegram.org/bots/api#making-requests"""

    ok: bool
    result: Any = None
    description: str = ""


_names: dict[str, tuple[str, float]] = {}
"""By fingerprint of the token and the server's address: the bot's name, and until when it is good."""
_lock = threading.Lock()


def username_of(token: str) -> str:
    """The bot's name as in `t.me/<name>`, asked for once an hour by each process. Raises TelegramError."""
    key = hashlib.sha256(f"{settings.TELEGRAM_API_URL} {token}".encode()).hexdigest()
    with _lock:
        name, until = _names.get(key, ("", 0.0))
    if time.monotonic() < until:
        return name
    me = _call(token, "getMe")
    if not isinstance(me, dict) or not isinstance(me.get("username"), str):
        raise UnreachableError("Telegram answered something that cannot be understood.")
    with _lock:
        _names[key] = (me["username"], time.monotonic() + _NAME_KEPT_S)
    return str(me["username"])


def forget_names() -> None:
    with _lock:
        _names.clear()


def set_webhook(token: str, *, url: str, secret: str) -> None:
    """Have updates posted to `url`, with `secret` in their header `X-Telegram-Bot-Api-Secret-Token`. Raises TelegramError."""
    _call(token, "setWebhook", url=url, secret_token=secret, allowed_updates=list(ALLOWED_UPDATES))


def _call(token: str, method: str, **parameters: Any) -> Any:
    url = f"{settings.TELEGRAM_API_URL or _OFFICIAL}/bot{token}/{method}"
    transport = GuardedTransport(_ANYWHERE, connections=1, ssl_context=_ssl_context())
    try:
        with time_limit(TIME_LIMIT_S), httpx.Client(transport=transport, timeout=TIME_LIMIT_S) as client:
            response = client.post(url, json=parameters)
        answer = msgspec.json.decode(response.content, type=_Answer)
    except httpx.HTTPError as error:
        raise UnreachableError(f"Telegram cannot be reached: {type(error).__name__}.") from None  # its text may hold the URL
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UnreachableError("Telegram answered something that cannot be understood.") from None
    if answer.ok:
        return answer.result
    said = f"Telegram refused: {answer.description}".replace(token, "[hidden]")
    raise UnreachableError(said) if response.status_code == 429 or response.status_code >= 500 else RefusedError(said)


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    return ssl.create_default_context()
