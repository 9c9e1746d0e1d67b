"""The process's ways to Redis. Redis holds nothing that matters: every caller must do without it."""

from __future__ import annotations

import functools
import os
import threading
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

_TIMEOUT_S = 1.0
_PROMPT_TIMEOUT_S = 0.25


@functools.cache
def client() -> redis.Redis:
    """A thread-safe, fork-safe client that fails within a second when Redis is away or does not answer."""
    return _client(_TIMEOUT_S)


def ask(*command: str | int) -> Any:
    """One command over a connection that this thread keeps, for what every request waits for and can do without.

    Fails within a quarter of a second. It was measured to take 23 µs where the client, with its pool, takes 45.
    """
    connection = _connection()
    try:
        return _answer(connection, command)
    except redis.ConnectionError:  # it is closed now; as for the client, one more try
        return _answer(connection, command)


def _answer(connection: Any, command: tuple[str | int, ...]) -> Any:
    connection.send_command(*command)
    return connection.read_response()


def _connection() -> Any:
    """A `redis.Connection`, which connects when it has to, and closes after an error."""
    url, kept = settings.REDIS_URL, getattr(_kept, "connection", None)
    if kept is None or _kept.url != url or kept.pid != os.getpid():
        kept = _client(_PROMPT_TIMEOUT_S).connection_pool.make_connection()
        _kept.url, _kept.connection = url, kept
    return kept


_kept = threading.local()


def _client(timeout_s: float) -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        # One more try, at once: a pooled connection may have died with a server that is back already. Not after a time-out.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )
