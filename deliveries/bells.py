"""Doorbells: "there is work" as one small message, however much work there is.

Whoever sets the bell's key publishes the message; everyone after finds the key set and publishes nothing. Whoever answers
takes the key away before looking for work, so what is stored later rings again. A bell that cannot be rung is no fault:
the work is in PostgreSQL, and the scheduler's sweep rings for it within a second.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

import structlog
from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from deliveries.metrics import count_doorbell
from deliveries.queues import (
    DIGESTS_TASK,
    ENRICH_TASK,
    PIPELINE,
    RELEASE_TASK,
    SEND_TASK,
    STATUS_WEBHOOKS,
    STATUS_WEBHOOKS_TASK,
    send_queue,
)
from tenants import redis
from tenants.vocabulary import Channel

logger = structlog.get_logger(__name__)

_LIFE_MS = 1000
"""How long a bell stays rung if nobody answers; then it may be rung again."""
_MESSAGE_LIFE_S = 60
"""A doorbell nobody answered for this long is dropped: the sweep has rung since."""
_LAST: Final = 9
"""As a Celery priority, of which kombu's Redis transport takes the smallest first; a broker that knows none ignores it."""
_UNANSWERED: Final = f"{PIPELINE}\x06\x16{_LAST}"
"""The Redis list in which kombu keeps a queue's messages of that priority: the bells of `enrich` that nobody has answered."""
_ENOUGH: Final = 8
"""Of them: each calls a worker to a chunk. One more would find nobody idle, and in a flood there would be ever more."""


def ring_enrich(*, again: bool = False) -> bool:
    """Say that events are due. `again`: one more worker is wanted, whatever the key says.

    It is answered after all chunks that are on their way through the stages. Whatever is taken up stands in a queue before what
    is more urgent and comes later; so a chunk is begun only when those before it are done, in PostgreSQL's order.
    """
    return _ring("enrich", ENRICH_TASK, PIPELINE, (), again=again, priority=_LAST)


def ring_release(*, again: bool = False) -> bool:
    """Say that held deliveries are due. As events, they are begun after all chunks that are on their way."""
    return _ring("release", RELEASE_TASK, PIPELINE, (), again=again, priority=_LAST)


def ring_digests(*, again: bool = False) -> bool:
    """Say that digests are to be closed."""
    return _ring("digests", DIGESTS_TASK, PIPELINE, (), again=again, priority=_LAST)


def ring_send(channel: Channel, *, again: bool = False) -> bool:
    """Say that deliveries of `channel` are due."""
    return _ring(f"send:{channel.label}", SEND_TASK, send_queue(channel), (channel.value,), again=again)


def ring_all(channels: Iterable[Channel]) -> None:
    for channel in channels:
        ring_send(channel)


def ring_status_webhooks(*, again: bool = False) -> bool:
    """Say that tenants' own servers are to hear of something."""
    return _ring("status_webhooks", STATUS_WEBHOOKS_TASK, STATUS_WEBHOOKS, (), again=again)


def answer_enrich() -> bool:
    """Returns whether enough other bells wait to be answered, so that one more is of no use.

    Not known, and False, where the broker is not Redis.
    """
    return _answer("enrich", _UNANSWERED) >= _ENOUGH


def answer_release() -> None:
    _answer("release")


def answer_digests() -> None:
    _answer("digests")


def answer_send(channel: Channel) -> None:
    _answer(f"send:{channel.label}")


def answer_status_webhooks() -> None:
    _answer("status_webhooks")


_silent_until = 0.0
"""A bell that could not be rung cost its caller a time limit; the next ones do not try for a moment (`time.monotonic`)."""
_SILENCE_S = 1.0


def _ring(bell: str, task: str, queue: str, args: tuple[int, ...], *, again: bool, priority: int = 0) -> bool:
    global _silent_until  # noqa: PLW0603
    if time.monotonic() < _silent_until:
        return False
    try:
        if not again and not redis.client().set(f"bell:{bell}", 1, nx=True, px=_LIFE_MS):
            return True
        current_app.send_task(task, args=args, queue=queue, priority=priority, expires=_MESSAGE_LIFE_S)
    except (RedisError, OperationalError, OSError) as error:
        _silent_until = time.monotonic() + _SILENCE_S
        count_doorbell(bell, rung=False)
        logger.warning("bell_not_rung", bell=bell, error=type(error).__name__)
        return False
    count_doorbell(bell, rung=True)
    return True


def _answer(bell: str, waiting: str = "") -> int:
    """Returns how many messages there are in the list `waiting`."""
    try:
        pipe = redis.client().pipeline(transaction=False)
        pipe.delete(f"bell:{bell}")
        if waiting:
            pipe.llen(waiting)
        return int(pipe.execute()[-1])
    except RedisError as error:
        logger.warning("bell_not_answered", bell=bell, error=type(error).__name__)
        return 0
