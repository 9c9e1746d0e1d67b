"""What apprise's plugins leave unsaid. They answer True or False; status and text they only log.

Each plugin logs through its attribute `logger`, so a logger of our own on the one instance that sends one message hears what
the vendor said about just that message, and keeps apprise's lines (which hold URLs and tokens) out of the service's log.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import requests
from apprise import AppriseAsset, PersistentStoreMode
from apprise.plugins import NotifyBase

from deliveries.providers.excerpts import LONGEST_EXCERPT
from deliveries.providers.http import failed_by_vendor, failed_request
from deliveries.providers.messages import Failed, Failure, Message, Outcome, Sent

_STATUS = re.compile(r"\berror[=: ]\s*(\d{3})\b")
_ANSWER = re.compile(r"Response Details:\s*(b['\"].*)", re.DOTALL)


def asset() -> AppriseAsset:
    """Nothing kept on or read from disk, no redirects followed, our name on the wire."""
    return AppriseAsset(
        app_id="Notifications",
        app_desc="Notifications",
        storage_mode=PersistentStoreMode.MEMORY,
        secure_logging=True,
        allow_templates=False,
        http_redirects=False,
    )


def ask(plugin: NotifyBase, post: Callable[[], bool], time_limits_s: tuple[float, float]) -> Outcome:
    """`post` sends by `plugin`, which was made for this message alone; limits are for connecting and for the answer."""
    heard = _Ear()
    plugin.logger = heard  # type: ignore[assignment]  # as much of a logger as plugins use
    plugin.socket_connect_timeout, plugin.socket_read_timeout = time_limits_s
    return Sent(code="accepted") if post() else heard.failed()


def empty(message: Message) -> Failed | None:
    """The refusal of a message that has neither title nor text."""
    if message.subject or message.body:
        return None
    return Failed(failure=Failure.PERMANENT, code="empty_message", message="There is neither a title nor a text.")


class _Ear:
    """Takes the place of a logger, and remembers the last thing that went wrong."""

    def __init__(self) -> None:
        self._error: requests.RequestException | None = None
        self._warning = ""
        self._status = 0
        self._answer = b""

    def warning(self, text: object, *args: object, **kwargs: object) -> None:
        self._warning = _written(text, args)
        status = _STATUS.search(self._warning)
        if status:
            self._status = int(status[1])
        error = sys.exc_info()[1]
        if isinstance(error, requests.RequestException):
            self._error = error

    error = warning

    def debug(self, text: object, *args: object, **kwargs: object) -> None:
        answer = _ANSWER.search(_written(text, args))
        if answer:
            self._answer = _bytes(answer[1])

    def info(self, text: object, *args: object, **kwargs: object) -> None:
        """Apprise reports success here."""

    trace = deprecate = info

    def failed(self) -> Failed:
        if self._error is not None:
            return failed_request(self._error)
        if not self._status:
            return Failed(failure=Failure.TRANSIENT, code="apprise_failed", message=self._warning or "apprise did not say why")
        answer = self._answer.decode(errors="replace")
        parameters = _mapping(answer).get("parameters")
        wait_s = parameters.get("retry_after") if isinstance(parameters, Mapping) else None
        return failed_by_vendor(
            self._status,
            self._warning,
            headers={"Retry-After": str(wait_s)} if wait_s is not None else {},
            response=answer[:LONGEST_EXCERPT],
        )


def _written(text: object, args: tuple[object, ...]) -> str:
    return str(text) % args if args else str(text)


def _bytes(literal: str) -> bytes:
    try:
        value = ast.literal_eval(literal.strip())
    except (ValueError, SyntaxError):  # apprise cuts long answers off
        return literal.encode()
    return value if isinstance(value, bytes) else literal.encode()


def _mapping(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
