"""Token buckets in Redis: full at first, one token out for each request, and refilled at the limit's rate.

One script does all of it, so any number of processes and threads together take no more than there is, and a request costs one
round trip. Redis' own clock counts. Without Redis every request passes, and for a moment Redis is not asked again: a server
that does not answer makes one request wait, not all of them.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from typing import Any, Final

import structlog
from prometheus_client import Counter
from redis.exceptions import NoScriptError, RedisError

from tenants import redis
from tenants.throttling.limits import RateLimit

logger = structlog.get_logger(__name__)

UNKNOWN = Counter("notifications_rate_limits_unknown", "Requests let through because Redis could not be asked for their limit.")

_SILENCE_S: Final = 1.0
_PARTS: Final = 1000
"""The script answers whole numbers: thousandths of a token."""

# KEYS: the bucket. ARGV: its size in tokens, the seconds in which it fills, the time in microseconds since 1970 or nothing.
# The bucket is kept as "tokens:time"; a full one need not be kept. Answers {whether one was taken, thousandths left}.
_TAKE: Final = """
local size, now = tonumber(ARGV[1]), tonumber(ARGV[3])
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
end
local per_us = size / (ARGV[2] * 1000000)
local tokens = size
local kept = redis.call('GET', KEYS[1])
if kept then
    local left, at = string.match(kept, '^(.+):(.+)$')
    tokens = math.min(left + math.max(now - at, 0) * per_us, size)
end
if tokens < 1 then return {0, math.floor(tokens * 1000)} end
tokens = tokens - 1
redis.call('SET', KEYS[1], string.format('%.9f:%.0f', tokens, now), 'PX', math.ceil((size - tokens) / per_us / 1000))
return {1, math.floor(tokens * 1000)}
"""
_TAKE_SHA: Final = hashlib.sha1(_TAKE.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Level:
    """What a bucket holds after a request came for a token."""

    limit: RateLimit
    allowed: bool
    tokens: float

    @property
    def remaining(self) -> int:
        """Requests that may follow at once."""
        return int(self.tokens)

    @property
    def reset_s(self) -> int:
        """Seconds until the bucket is full again, if nobody asks meanwhile."""
        return math.ceil((self.limit.count - self.tokens) / self.limit.per_second)

    @property
    def wait_s(self) -> int:
        """Seconds until there is a token; 0 if there is one."""
        return math.ceil(max(1 - self.tokens, 0) / self.limit.per_second)


_silent_until = 0.0
"""Redis could not be asked; until then it is not tried again (`time.monotonic`)."""


def take(bucket: str, limit: RateLimit, *, now: float | None = None) -> Level | None:
    """Take a token; None if nobody knows whether there is one. `now`: Unix seconds, else Redis' clock."""
    global _silent_until  # noqa: PLW0603
    if time.monotonic() < _silent_until:
        UNKNOWN.inc()
        return None
    try:
        allowed, thousandths = _run(f"rate:{bucket}", limit.count, limit.seconds, "" if now is None else int(now * 1_000_000))
    except RedisError as error:
        if time.monotonic() >= _silent_until:  # the first of those that asked at the same time
            _silent_until = time.monotonic() + _SILENCE_S
            logger.warning("rate_limit_unknown", error=type(error).__name__)
        UNKNOWN.inc()
        return None
    return Level(limit, bool(allowed), thousandths / _PARTS)


def _run(*keys_and_arguments: str | int) -> Any:
    try:
        return redis.ask("EVALSHA", _TAKE_SHA, 1, *keys_and_arguments)
    except NoScriptError:  # a Redis that has been started since
        return redis.ask("EVAL", _TAKE, 1, *keys_and_arguments)
