"""Whether the service works: asked of PostgreSQL, Redis, the broker, the workers and the scheduler themselves."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import redis
from django.conf import settings
from kombu import Connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.operations.checks import Check, NotServingError, Verdict
from config.operations.postgres import short_cursor
from config.operations.probes import KEY, SCHEDULER, last_served, redis_time
from notifications.queues import PIPELINE, QUEUES

SERVED_WITHIN_S = 15.0
BEAT_WITHIN_S = 10.0
_REMEMBERED_S = 1.0
_STARTED = time.monotonic()


class State(enum.StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


_WORST_FIRST = (State.DOWN, State.DEGRADED, State.OK)


class Service(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One part of the installation."""

    status: State
    latency_ms: float | None
    """Of a server, its answer's time; of workers, the longest wait in a queue; of the scheduler, its last beat's age."""
    error: str | msgspec.UnsetType = msgspec.UNSET


class Services(msgspec.Struct, frozen=True, kw_only=True):
    postgres: Service
    redis: Service
    workers: Service
    scheduler: Service


class Health(msgspec.Struct, frozen=True, kw_only=True):
    status: State
    services: Services
    version: str
    uptime: float
    """Seconds since the answering process started."""
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]


class Signs(msgspec.Struct, frozen=True):
    """What Redis holds of the workers' and the scheduler's signs of life, and Redis' own time."""

    now: float
    fields: Mapping[Any, Any]


class Monitor:
    """Answers for this process; asks the servers at most once a second, however many want to know."""

    def __init__(self) -> None:
        self._postgres = Check("postgres", _ask_postgres)
        self._redis = Check("redis", _ask_redis)
        self._broker = Check("broker", _ask_broker)
        self._lock = threading.Lock()
        self._known: Health | None = None
        self._known_at = 0.0

    def health(self) -> Health:
        with self._lock:
            if self._known is None or time.monotonic() - self._known_at > _REMEMBERED_S:
                self._known = self._ask()
                self._known_at = time.monotonic()
            return self._known

    def _ask(self) -> Health:
        checks: list[Check[Any]] = [self._postgres, self._redis, *([self._broker] if _broker_is_apart() else [])]
        for check in checks:
            check.start()
        postgres, redis_, *broker = [check.verdict() for check in checks]
        services = Services(
            postgres=_service(postgres),
            redis=_first_fault([_service(redis_), *(_service(one, "broker: ") for one in broker)]),
            workers=judge_workers(redis_.answer),
            scheduler=judge_scheduler(redis_.answer),
        )
        return Health(
            status=worst(service.status for service in msgspec.structs.astuple(services)),
            services=services,
            version=settings.VERSION,
            uptime=round(time.monotonic() - _STARTED, 3),
            timestamp=datetime.now(UTC),
        )


def judge_workers(signs: Signs | None) -> Service:
    """Down if the pipeline's queue, or every queue, has not been served lately; degraded if some channel's has not."""
    if signs is None:
        return _unknown()
    late, waits = {}, [0.0]
    for queue in QUEUES:
        served_at, waited = last_served(signs.fields, queue)
        waits.append(waited)
        if signs.now - served_at > SERVED_WITHIN_S:
            late[queue] = f"{queue} not served for {signs.now - served_at:.0f} s" if served_at else f"{queue} never served"
    if not late:
        return Service(status=State.OK, latency_ms=_ms(max(waits)))
    status = State.DOWN if PIPELINE in late or len(late) == len(QUEUES) else State.DEGRADED
    return Service(status=status, latency_ms=None, error=", ".join(late.values()))


def judge_scheduler(signs: Signs | None) -> Service:
    if signs is None:
        return _unknown()
    beat_at = float(signs.fields.get(SCHEDULER.encode(), b"0"))
    if not beat_at:
        return Service(status=State.DOWN, latency_ms=None, error="never seen")
    age = max(0.0, signs.now - beat_at)
    if age > BEAT_WITHIN_S:
        return Service(status=State.DOWN, latency_ms=_ms(age), error=f"no sign of life for {age:.0f} s")
    return Service(status=State.OK, latency_ms=_ms(age))


def worst(states: Iterable[State]) -> State:
    return min(states, key=_WORST_FIRST.index)


def _service(verdict: Verdict[object], prefix: str = "") -> Service:
    if verdict.error:
        return Service(status=State.DOWN, latency_ms=None, error=prefix + verdict.error)
    return Service(status=State.OK, latency_ms=_ms(verdict.seconds))


def _first_fault(services: list[Service]) -> Service:
    return min(services, key=lambda service: _WORST_FIRST.index(service.status))


def _unknown() -> Service:
    return Service(status=State.DOWN, latency_ms=None, error="not known while Redis does not answer")


def _ask_postgres() -> None:
    with short_cursor(statement_timeout_ms=1000) as cursor:
        cursor.execute("SELECT current_setting('transaction_read_only'), EXISTS (SELECT FROM notifications_event)")
        if cursor.fetchone()[0] == "on":
            raise NotServingError("read-only")


def _ask_redis() -> Signs:
    with redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
    ) as connection:
        connection.ping()
        try:
            connection.set(f"{KEY}:writable", 1, ex=10)
        except redis.ResponseError as error:
            raise NotServingError("answers, but takes no writes") from error
        return Signs(redis_time(connection), connection.hgetall(KEY))


def _ask_broker() -> None:
    with Connection(settings.CELERY_BROKER_URL, connect_timeout=1) as connection:
        connection.connect()


def _broker_is_apart() -> bool:
    return settings.CELERY_BROKER_URL.replace("redis+socket://", "unix://", 1) != settings.REDIS_URL


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
