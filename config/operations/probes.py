"""Signs of life: the scheduler's heartbeat, and a small task sent through every queue that says "served" when it runs.

Both are written to Redis with Redis' own clock, so the clocks of different machines need not agree. If Redis is away there is
nowhere to write, and health says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
import structlog
from kombu.exceptions import OperationalError

from config.celery import app
from notifications.queues import QUEUES
from tenants.redis import client

logger = structlog.get_logger(__name__)

KEY = "health:signs"
SCHEDULER = "scheduler"
"""Field of the scheduler's last beat in the hash `KEY`; the others are named after the queues."""

_EVERY_S = 2.0
_SELDOM_S = 60.0


def beat() -> None:
    """Say that the scheduler lives; to be called every second. Never raises."""
    try:
        connection = client()
        connection.hset(KEY, SCHEDULER, str(redis_time(connection)))
    except (redis.RedisError, OSError) as error:
        logger.warning("heartbeat_not_written", error=type(error).__name__)


@app.task(name="operations.probe")
def probe(queue: str, sent_at: float) -> None:
    """Say that `queue` is served, and how long a message waited in it."""
    try:
        connection = client()
        now = redis_time(connection)
        connection.hset(KEY, queue, f"{now} {max(0.0, now - sent_at)}")
    except (redis.RedisError, OSError) as error:
        logger.warning("probe_not_recorded", queue=queue, error=type(error).__name__)


@dataclass(slots=True)
class Turn:
    """When a queue gets its next probe. One that is not served gets them ever more rarely, so they do not pile up in it:
    the ones it holds are enough to tell when its workers are back.
    """

    last_sent: float = 0.0
    wait_s: float = _EVERY_S

    def comes(self, now: float, served_at: float) -> bool:
        answered = served_at >= self.last_sent
        if now - self.last_sent < (_EVERY_S if answered else self.wait_s):
            return False
        self.wait_s = _EVERY_S if answered else min(self.wait_s * 2, _SELDOM_S)
        self.last_sent = now
        return True


@dataclass(slots=True)
class Prober:
    """Sends the probes; the scheduler holds one."""

    turns: dict[str, Turn] = field(default_factory=lambda: {queue: Turn() for queue in QUEUES})

    def send_probes(self) -> None:
        """Probe each queue whose turn it is; to be called every second. Never raises; a broker that is away costs one try."""
        try:
            connection = client()
            now, signs = redis_time(connection), connection.hgetall(KEY)
            for queue, turn in self.turns.items():
                if turn.comes(now, last_served(signs, queue)[0]):
                    probe.apply_async((queue, now), queue=queue)
        except (redis.RedisError, OperationalError, OSError) as error:
            logger.warning("probes_not_sent", error=type(error).__name__)


def last_served(signs: Mapping[Any, Any], queue: str) -> tuple[float, float]:
    """When `queue` was last served (Redis time, 0 for never) and how many seconds its probe had waited."""
    at, _, waited = signs.get(queue.encode(), b"0 0").partition(b" ")
    return float(at), float(waited)


def redis_time(connection: redis.Redis) -> float:
    seconds, microseconds = connection.time()
    return float(seconds) + float(microseconds) / 1_000_000
