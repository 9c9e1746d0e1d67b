"""How many workers of one process serve a channel at once, and what each has in hand.

The channels share a worker's threads. A channel whose provider hangs would take one after the other, until none is left for
the rest; so each has a few desks, and what comes when they are taken is left to those who sit there.

Nor may one tenant's provider hold up the others of its channel: a desk that waits for long is not counted, another may be
taken beside it, and whose messages it waits for must themselves wait.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tenants.vocabulary import Channel

DESKS: Final = 3
"""For each channel, where nobody waits for long."""
SLOW_DESKS: Final = 7
"""For each channel, besides: those that have waited longer than `SLOW_AFTER_S`."""
SLOW_AFTER_S: Final = 1.0
SLOW_EACH: Final = 2
"""Of so many slow desks one tenant's messages of one priority may be waited for at; then no more of them are taken up."""
MOST_DESKS: Final = DESKS + SLOW_DESKS


class Party(NamedTuple):
    """Whose messages take turns."""

    priority: int
    tenant_id: int


@dataclass(slots=True, eq=False)
class Hand:
    """A claim that is being handed over."""

    left: Counter[Party]
    since: float = field(default_factory=time.monotonic)

    @property
    def is_slow(self) -> bool:
        return time.monotonic() - self.since >= SLOW_AFTER_S

    def put_away(self, parties: Iterable[Party]) -> None:
        """A message of each came to its end."""
        with _lock:
            self.left.subtract(parties)


_lock = threading.Lock()
_taken: defaultdict[Channel, int] = defaultdict(int)
_hands: defaultdict[Channel, set[Hand]] = defaultdict(set)
_wanted: set[Channel] = set()
_closed = False


def sit_down(channel: Channel) -> bool:
    """Whether there is a desk. If not, whoever gets up next is told that there is more to do."""
    with _lock:
        if _closed:
            return False
        if _prompt(channel) >= DESKS or _taken[channel] >= MOST_DESKS:
            _wanted.add(channel)
            return False
        _taken[channel] += 1
        return True


def may_get_up(channel: Channel) -> bool:
    """Give the desk back, unless somebody was turned away in the meantime: then look for work once more."""
    with _lock:
        is_one_too_many = _prompt(channel) > DESKS  # it was slow, and another came in its place
        if channel in _wanted and not is_one_too_many and not _closed:
            _wanted.discard(channel)
            return False
        _taken[channel] -= 1
        return True


def leave(channel: Channel) -> None:
    """Give the desk back, whatever there is to do: something went wrong."""
    with _lock:
        _taken[channel] -= 1


@contextlib.contextmanager
def in_hand(channel: Channel, parties: Iterable[Party]) -> Iterator[Hand]:
    """While it lasts, a claim with a message of each of `parties` is handed over."""
    hand = Hand(Counter(parties))
    with _lock:
        _hands[channel].add(hand)
    try:
        yield hand
    finally:
        with _lock:
            _hands[channel].discard(hand)
            if hand.is_slow:
                _wanted.add(channel)  # what was passed over on its account may be taken up now


def waited_for(channel: Channel) -> set[Party]:
    """Those of whom no more may be taken up: enough desks wait for theirs."""
    with _lock:
        slow = Counter(party for hand in _hands[channel] if hand.is_slow for party, left in hand.left.items() if left > 0)
    return {party for party, desks in slow.items() if desks >= SLOW_EACH}


def close() -> None:
    """The process is to end: nobody sits down any more, and no further message is begun. Safe in a signal handler."""
    global _closed  # noqa: PLW0603
    _closed = True


def is_closed() -> bool:
    return _closed


def _prompt(channel: Channel) -> int:
    return _taken[channel] - sum(hand.is_slow for hand in _hands[channel])
