"""One crash point from the first post to the verdict."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from tests.acceptance.chaos.audit import Verdict, find, judge
from tests.acceptance.chaos.load import Load, batches, event
from tests.acceptance.chaos.points import CRASH_POINTS
from tests.acceptance.chaos.stand import StruckStand


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    accepted: int
    refused: list[str]
    away_s: float
    """From the strike until the part was back."""
    final_s: float | None
    """From the part's return until all accepted work was final; None: not within the limit."""
    limit_s: float
    verdict: Verdict

    @property
    def failures(self) -> list[str]:
        """What is not as promised, a line each; empty if all is."""
        late = [f"not final within {self.limit_s:.0f} s"] if self.final_s is None else []
        return [
            *late,
            *(f"refused: {line}" for line in self.refused),
            *(f"lost: {line}" for line in self.verdict.lost),
            *(f"doubled: {line}" for line in self.verdict.doubled),
        ]


def conduct(stand: StruckStand, name: str, *, events: int) -> Result:
    """Post a third, strike while the second third is posted, post the rest when the part is back, wait, and count.

    Raises AssertionError if the part does not come back.
    """
    point = CRASH_POINTS[name]
    run = f"{name.replace(' ', '-')}-{secrets.token_hex(4)}"
    posted = [event(run, number) for number in range(events)]
    held = 2 * events // 3
    load = Load(stand)
    stand.wait_healthy()
    with load.posting():
        load.feed(batches(posted[:held], only_single=point.only_single))
        load.wait_accepted(events // 3)
        struck = time.monotonic()
        point.strike(stand)
        back = time.monotonic()
        load.feed(batches(posted[held:], only_single=point.only_single))
    final_s = stand.wait_final(back, point.limit_s)
    verdict = judge(load.accepted, find(stand, run))
    return Result(name, len(load.accepted), load.refused, back - struck, final_s, point.limit_s, verdict)
