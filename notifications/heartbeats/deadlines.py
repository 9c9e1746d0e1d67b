"""What becomes of a key whose deadline has passed. Pure: times in, a verdict out."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from typing import Final

UNWATCHED: Final = timedelta(minutes=1)
"""A deadline that nobody looked at for so long after it passed: the service itself was away."""
HELD: Final = timedelta(seconds=5)
"""After this time a key that waits for the backlog is looked at again."""


class Verdict(enum.Enum):
    MISSING = enum.auto()
    ASLEEP = enum.auto()
    """Its heartbeat or tenant is inactive: no deadlines run."""
    ANEW = enum.auto()
    """Nobody watched when the deadline passed, so nobody is accused: it begins anew."""
    WAIT = enum.auto()
    """Events accepted before the deadline have not been looked at yet: its own may be among them."""


def judge(*, due_at: datetime, check_at: datetime, is_watching: bool, waiting_since: datetime | None, now: datetime) -> Verdict:
    """`waiting_since`: when the oldest event was due that may be a beat and is not worked off yet."""
    if not is_watching:
        return Verdict.ASLEEP
    if check_at < now - UNWATCHED:
        return Verdict.ANEW
    if waiting_since is not None and waiting_since <= due_at:
        return Verdict.WAIT
    return Verdict.MISSING
