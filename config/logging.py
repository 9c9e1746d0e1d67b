"""Structured logs: one JSON object a line, with the ids of the request, task, event and delivery at hand, and no secrets.

Code binds ids with `structlog.contextvars.bound_contextvars(...)`; every line below that block carries them, whether it
was written through structlog or through the standard library.
"""

from __future__ import annotations

import functools
import json
import logging
import logging.config
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import structlog
from celery import signals
from django.http import HttpRequest, HttpResponse
from structlog.typing import EventDict, WrappedLogger
from uuid_utils.compat import uuid7

HIDDEN = "[hidden]"
_SECRET_WORDS = ("password", "secret", "token", "authorization", "api_key", "apikey", "private_key", "credential", "cookie")
_SECRET_TEXTS = (
    r"nk_[\w-]{16,}",  # our API keys
    r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*",  # JWTs: user tokens, vendors' tokens
    r"whsec_[\w+/=-]+",  # webhook secrets (Standard Webhooks)
    r"(?<=/u/)[\w-]{24,}|(?<=/preferences/)(?<!/api/preferences/)[\w-]{32,}",  # what recipients' links hold
    r"(?<!\d)\d{6,12}:[\w-]{30,}",  # Telegram bot tokens, which stand in its URLs
    r"(?<=://)[^\s/:@\"']*:[^\s/@\"']+(?=@)",  # user:password@ in a URL
    r"(?i:(?<=bearer )|(?<=basic )|(?<=apikey ))[\w.~+/=-]{8,}",
    r"(?i:(?<=token=)|(?<=key=)|(?<=secret=)|(?<=password=)|(?<=signature=))[^&\s\"']+",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----",
)
_SHORTEST_SECRET = 16
"""Shorter values of the settings might be ordinary words, and blot out half a line."""


def configure(options: dict[str, str]) -> None:
    """Set up logging for a process; `options` holds `level` and `format` ("json" or "console")."""
    structlog.configure(
        processors=[*_shared_processors(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    # Django, uvicorn and gunicorn bring handlers of their own; theirs are taken away, so that each line is written once, as
    # the others are.
    ours = {"handlers": [], "propagate": True}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"structured": {"()": functools.partial(formatter, options["format"], _secrets_of_settings())}},
            "filters": {"repetitions": {"()": Repetitions}},
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "formatter": "structured", "filters": ["repetitions"]},
            },
            "root": {"handlers": ["stderr"], "level": options["level"]},
            "loggers": {
                "django": ours,
                "uvicorn": ours,
                "uvicorn.error": {**ours, "level": "WARNING"},
                "uvicorn.access": {**ours, "level": "WARNING"},
                "multiprocessing": {"handlers": ["stderr"], "propagate": False},  # the pool's own logger never propagates
                "gunicorn.error": ours,
                "gunicorn.access": {**ours, "level": "WARNING"},
                "django.server": {**ours, "level": "WARNING"},
                # Their INFO lines carry whole requests, addresses and tokens included.
                "httpx": {"level": "WARNING"},
                "httpcore": {"level": "WARNING"},
                "twilio": {"level": "WARNING"},
                "apprise": {"level": "ERROR"},
                "urllib3": {"level": "WARNING"},
                "celery.worker.strategy": {"level": "WARNING"},
                "celery.app.trace": {"level": "WARNING"},
            },
        }
    )
    logging.captureWarnings(True)


def formatter(style: str, secrets: Iterable[str] = ()) -> logging.Formatter:
    """What makes a line of a record; `style` is "json" or "console", `secrets` are texts that must never show."""
    if style == "console":
        rendering: list[Any] = [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    else:
        rendering = [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(),
        ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared_processors(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering, _Scrub(secrets)],
    )


class Repetitions(logging.Filter):
    """Lets a warning or error through once every five seconds, with the number of its like that were swallowed since.

    Alike are lines of one logger with the same text, numbers and bound ids aside, and the same type of exception. So a
    broker that is away for an hour costs some hundred lines, not some million.
    """

    every_s = 5.0
    remembered = 1000

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[object, ...], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        swallowed = self._swallowed(_likeness(record))
        if swallowed and isinstance(record.msg, dict):
            record.msg["swallowed"] = swallowed
        elif swallowed:
            record.swallowed = swallowed
        return swallowed is not None

    def _swallowed(self, key: tuple[object, ...]) -> int | None:
        """How many were swallowed before this one; None if this one is to be."""
        now = self._clock()
        with self._lock:
            since, swallowed = self._seen.pop(key, (now - self.every_s, 0))
            if now - since < self.every_s:
                self._seen[key] = since, swallowed + 1
                return None
            self._seen[key] = now, 0
            if len(self._seen) > self.remembered:
                self._seen.popitem(last=False)
            return swallowed


class RequestContextMiddleware:
    """Gives each request an id: the caller's `X-Request-ID` if it looks like one, else a new UUID. Echoed back."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if 0 < len(given) <= 64 and given.isascii() and given.replace("-", "").isalnum() else str(uuid7())
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


@signals.setup_logging.connect
def leave_logging_alone(**_: Any) -> None:
    """With a receiver on this signal, Celery sets up no logging of its own."""


@signals.task_prerun.connect
def bind_task(task_id: str, task: Any, **_: Any) -> None:
    structlog.contextvars.bind_contextvars(task=task.name, task_id=task_id)


@signals.task_postrun.connect
def unbind_task(**_: Any) -> None:
    structlog.contextvars.unbind_contextvars("task", "task_id")


def _shared_processors() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        _hide_secrets,
    ]


def _hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # Django adds the request to its own lines, whole query included; the path is in their text already.
    if isinstance(event.get("request"), HttpRequest):
        del event["request"]
    return {key: HIDDEN if _is_secret(key) else _without_secrets(value) for key, value in event.items()}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: HIDDEN if _is_secret(str(key)) else _without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return value


def _is_secret(key: str) -> bool:
    name = key.lower().replace("-", "_")
    return any(word in name for word in _SECRET_WORDS)


class _Scrub:
    """Takes out of a finished line whatever looks like a secret, wherever it came from: an exception, a vendor's text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {form for secret in secrets for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1])}
        texts = [re.escape(secret) for secret in sorted(known, key=len, reverse=True)]
        self._pattern = re.compile("|".join([*texts, *_SECRET_TEXTS]), re.DOTALL)

    def __call__(self, _logger: WrappedLogger, _method: str, line: Any) -> str:
        return self._pattern.sub(HIDDEN, line)


def _secrets_of_settings() -> Iterator[str]:
    """The installation's own secrets that are long enough to be told from words."""
    from django.conf import settings

    env = settings.ENV
    account = env.fcm_credentials or {}
    secrets = (
        *(env.secret_key, *env.encryption_keys, env.twilio_auth_token, env.telegram_bot_token),
        *(account.get("private_key", ""), (env.email or {}).get("EMAIL_HOST_PASSWORD") or ""),
    )
    yield from (secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)


def _likeness(record: logging.LogRecord) -> tuple[object, ...]:
    text = str(record.msg.get("event", "")) if isinstance(record.msg, dict) else record.getMessage()
    error = record.exc_info[0] if isinstance(record.exc_info, tuple) else None
    return record.name, record.levelno, re.sub(r"\d+", "#", text), error
