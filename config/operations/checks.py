"""A question to a server, with a time limit that holds whatever the server does.

It is asked in a thread of its own: a server that takes the connection and then says nothing (stopped, swapped out, behind a
dead link) keeps that thread, not the one that wants to know. While it does, it is not asked again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

logger = structlog.get_logger(__name__)

ANSWER_WITHIN_S = 1.5

T = TypeVar("T")


class NotServingError(Exception):
    """The server answers, but cannot do its work; the message may be shown to anyone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Generic[T]):
    answer: T | None = None
    seconds: float = 0.0
    error: str = ""
    """Empty if there was an answer. Fit for the public: what a driver says, hosts and users included, is only logged."""


class Check(Generic[T]):
    def __init__(self, name: str, ask: Callable[[], T]) -> None:
        self.name = name
        self._ask = ask
        self._pending: Future[Verdict[T]] | None = None
        self._deadline = 0.0

    def start(self) -> None:
        """Ask, unless an earlier question is still waiting for its answer."""
        self._deadline = time.monotonic() + ANSWER_WITHIN_S
        if self._pending is None or self._pending.done():
            self._pending = Future()
            threading.Thread(target=self._run, args=(self._pending,), name=f"health-{self.name}", daemon=True).start()

    def verdict(self) -> Verdict[T]:
        """What came of it, at most `ANSWER_WITHIN_S` after `start`. Never raises."""
        assert self._pending is not None
        try:
            return self._pending.result(max(0.0, self._deadline - time.monotonic()))
        except TimeoutError:
            return Verdict(error=f"no answer within {ANSWER_WITHIN_S:g} s")

    def _run(self, pending: Future[Verdict[T]]) -> None:
        started = time.monotonic()
        try:
            verdict = Verdict(answer=self._ask(), seconds=time.monotonic() - started)
        except NotServingError as error:
            verdict = Verdict(error=str(error))
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, the answer is "down"
            logger.warning("health_check_failed", service=self.name, error=f"{type(error).__name__}: {error}")
            verdict = Verdict(error="no connection, or refused")
        pending.set_result(verdict)
