"""How a provider does with the messages of one chunk, so far."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Streak:
    """Shared by the threads that work on a chunk. `hopeless_after`: so many failures, and nothing answered; None: never."""

    def __init__(self, hopeless_after: int | None) -> None:
        self._hopeless_after = hopeless_after
        self._failed = 0
        self._under_way = 0
        self._answered = False
        self._changed = threading.Condition()

    @property
    def is_hopeless(self) -> bool:
        return self._hopeless_after is not None and not self._answered and self._failed >= self._hopeless_after

    @property
    def is_in_doubt(self) -> bool:
        """One failed, and when those under way fail too, there is no hope."""
        if self._hopeless_after is None or self._answered or not self._failed:
            return False
        return self._failed < self._hopeless_after <= self._failed + self._under_way

    def wait_for_those_under_way(self) -> None:
        """While it is in doubt. What a server leaves unanswered fails one shortly after the other: whoever began the next
        message after the first of them would have the chunk wait for its time limit once more.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self.is_in_doubt)

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        with self._changed:
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def note(self, *, failed: bool, answered: bool) -> None:
        """What became of one that is under way."""
        with self._changed:
            self._failed += failed
            self._answered = self._answered or answered
