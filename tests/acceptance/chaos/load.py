"""The load: events posted singly and in bulk by clients that do not give up, and that believe a 202."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from tests.acceptance.chaos.stand import EVENT_TYPE, StruckStand
from tests.acceptance.conftest import eventually

_POSTERS = 4
_BULK = 25
_PATIENCE_S = 120.0
"""For how long a client posts the same again before it gives up."""
_PAUSE_S = 0.2
_PRIORITIES = ("low", "normal", "high", "urgent")

Batch = list[dict[str, Any]]


def event(run: str, number: int) -> dict[str, Any]:
    """One event to one user over e-mail and in-app; no other event has its address."""
    event_id = f"{run}-{number}"
    return {
        "eventId": event_id,
        "eventType": EVENT_TYPE,
        "to": {"userId": f"user-{event_id}", "email": address_of(event_id)},
        "channels": ["email", "in_app"],
        "priority": _PRIORITIES[number % len(_PRIORITIES)],
        "data": {"number": event_id},
    }


def address_of(event_id: str) -> str:
    return f"{event_id}@example.com"


def batches(events: Sequence[dict[str, Any]], *, only_single: bool = False) -> list[Batch]:
    """As requests: a bulk of 25, then 25 single posts, and so on."""
    requests: list[Batch] = []
    for turn, start in enumerate(range(0, len(events), _BULK)):
        some = list(events[start : start + _BULK])
        requests += [[one] for one in some] if only_single or turn % 2 else [some]
    return requests


class Load:
    """Clients that post what they are fed, each request again and again until it is taken."""

    def __init__(self, stand: StruckStand) -> None:
        self._stand = stand
        self._waiting: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.accepted: set[str] = set()
        """Ids of events that the service said it has: 202, or 200 for one whose 202 was lost on the way."""
        self.refused: list[str] = []
        """What no client should have been told."""

    def feed(self, requests: Sequence[Batch]) -> None:
        for request in requests:
            self._waiting.put(request)

    @contextlib.contextmanager
    def posting(self) -> Iterator[None]:
        """Posts what is fed within the block; at its end all of it is accepted, or refused."""
        posters = [threading.Thread(target=self._post_all, name="poster", daemon=True) for _ in range(_POSTERS)]
        for poster in posters:
            poster.start()
        try:
            yield
        finally:
            for _ in posters:
                self._waiting.put(None)
            for poster in posters:
                poster.join()

    def wait_accepted(self, count: int) -> None:
        eventually(lambda: len(self.accepted) >= count or self.refused, within_s=_PATIENCE_S)

    def _post_all(self) -> None:
        with self._stand.own_client() as api:
            for request in iter(self._waiting.get, None):
                ids = {str(one["eventId"]) for one in request}
                problem = _post_until_taken(api, request)
                with self._lock:
                    if problem:
                        self.refused += [f"{event_id}: {problem}" for event_id in sorted(ids)]
                    else:
                        self.accepted |= ids


def _post_until_taken(api: httpx.Client, request: Batch) -> str:
    """Returns why it was not taken in the end; empty if it was."""
    deadline = time.monotonic() + _PATIENCE_S
    for attempt in itertools.count(1):
        problem = _post(api, request)
        if not problem or problem.startswith("HTTP 4") or time.monotonic() > deadline:
            return problem and f"{problem} (attempt {attempt})"
        time.sleep(_PAUSE_S)  # a client's own pause before it posts again
    raise AssertionError


def _post(api: httpx.Client, request: Batch) -> str:
    """One try; returns what was wrong with it."""
    single = len(request) == 1
    try:
        reply = api.post("/api/events", json=request[0]) if single else api.post("/api/events/bulk", json={"events": request})
    except httpx.HTTPError as error:
        return type(error).__name__
    taken = reply.status_code in {200, 202} if single else reply.status_code == 202 and reply.json()["rejected"] == 0
    return "" if taken else f"HTTP {reply.status_code} {reply.text[:200]}"
