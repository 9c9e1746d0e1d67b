"""The bystanders: a steady load of somebody who has nothing to do with the strain."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import httpx

from tests.acceptance.strain.world import World

RATE = 20.0
"""Events a second; each has a delivery on every channel."""
CHANNELS = ("in_app", "email", "chat")
_POSTERS = 8
_PATIENCE_S = 90.0
_PAUSE_S = 0.1
_EXPECTED = {200, 202, 503}


class Stream:
    """Posts events of one tenant at a steady rate, whatever becomes of those before, each until it is taken."""

    def __init__(self, world: World, tenant: str, prefix: str, priorities: Sequence[str]) -> None:
        self.tenant = tenant
        self.prefix = prefix
        self.accepted: set[str] = set()
        self.refused: list[str] = []
        """What no client should have been told."""
        self.answers: Counter[int] = Counter()
        """By status code; 0 for no answer."""
        self._world = world
        self._priorities = priorities
        self._waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def post(self, count: int) -> None:
        """So many events, at the steady rate; returns when all are taken."""
        with self._posters():
            self._feed(range(count), threading.Event())

    @contextlib.contextmanager
    def posting(self) -> Iterator[None]:
        """For as long as the block lasts."""
        ended = threading.Event()
        with self._posters():
            feeder = threading.Thread(target=self._feed, args=(itertools.count(), ended), name="feeder", daemon=True)
            feeder.start()
            try:
                yield
            finally:
                ended.set()
                feeder.join()

    def _feed(self, numbers: Iterator[int] | range, ended: threading.Event) -> None:
        begun = time.monotonic()
        for number in numbers:
            if ended.wait(max(begun + number / RATE - time.monotonic(), 0)):
                return
            self._waiting.put(number)

    @contextlib.contextmanager
    def _posters(self) -> Iterator[None]:
        posters = [threading.Thread(target=self._post_all, name="bystander", daemon=True) for _ in range(_POSTERS)]
        for poster in posters:
            poster.start()
        try:
            yield
        finally:
            for _ in posters:
                self._waiting.put(None)
            for poster in posters:
                poster.join()

    def _post_all(self) -> None:
        with self._world.client(self.tenant) as api:
            for number in iter(self._waiting.get, None):
                event_id = f"{self.prefix}{number}"
                problem = self._post_until_taken(api, event_id, self._priorities[number % len(self._priorities)])
                with self._lock:
                    if problem:
                        self.refused.append(f"{event_id}: {problem}")
                    else:
                        self.accepted.add(event_id)

    def _post_until_taken(self, api: httpx.Client, event_id: str, priority: str) -> str:
        """Returns why it was not taken; empty if it was."""
        deadline = time.monotonic() + _PATIENCE_S
        event = self._world.event(event_id, list(CHANNELS), priority=priority)
        while time.monotonic() < deadline:
            try:
                status = api.post("/api/events", json=event).status_code
            except httpx.HTTPError:
                status = 0
            with self._lock:
                self.answers[status] += 1
            if status in {200, 202}:
                return ""
            if status and status not in _EXPECTED:
                return f"HTTP {status}"
            time.sleep(_PAUSE_S)  # a client's own pause before it posts again
        return "not taken"
