"""The process's Redis client. Redis holds nothing that matters: every caller must do without it."""

from __future__ import annotations

import functools

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

_TIMEOUT_S = 1.0


@functools.cache
def client() -> redis.Redis:
    """A thread-safe, fork-safe client that fails within a second when Redis is away or does not answer."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        # One more try, at once: a pooled connection may have died with a server that is back already. Not after a time-out.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )
