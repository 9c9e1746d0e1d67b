"""How many workers of one process serve a channel at once.

The channels share a worker's threads. A channel whose provider hangs would take one after the other, until none is left for
the rest; so each has a few desks, and what comes when they are taken is left to those who sit there.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Final

from tenants.vocabulary import Channel

DESKS: Final = 3
"""For each channel: five of them leave one of sixteen threads for the workers' sign of life."""

_lock = threading.Lock()
_taken: defaultdict[Channel, int] = defaultdict(int)
_wanted: set[Channel] = set()


def sit_down(channel: Channel) -> bool:
    """Whether there is a desk. If not, whoever gets up next is told that there is more to do."""
    with _lock:
        if _taken[channel] >= DESKS:
            _wanted.add(channel)
            return False
        _taken[channel] += 1
        return True


def may_get_up(channel: Channel) -> bool:
    """Give the desk back, unless somebody was turned away in the meantime: then look for work once more."""
    with _lock:
        if channel in _wanted:
            _wanted.discard(channel)
            return False
        _taken[channel] -= 1
        return True


def leave(channel: Channel) -> None:
    """Give the desk back, whatever there is to do: something went wrong."""
    with _lock:
        _taken[channel] -= 1
