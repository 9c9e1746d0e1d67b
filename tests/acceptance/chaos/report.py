"""The table of `make chaos`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.acceptance.chaos.experiment import Result
from tests.acceptance.chaos.points import CRASH_POINTS
from tests.acceptance.page import PAGE, Place, markdown

PLACE = Place("make chaos")
HEADINGS = (
    "crash point",
    "what happens",
    "events",
    "lost",
    "twice",
    "ambiguous",
    "taken up again",
    "away, s",
    "final after, s",
)


def row(result: Result) -> list[str]:
    verdict = result.verdict
    final = "no" if result.final_s is None else f"{result.final_s:.1f}"
    counts = (result.accepted, len(verdict.lost), verdict.twice, verdict.ambiguous, verdict.again)
    return [result.name, CRASH_POINTS[result.name].about, *map(str, counts), f"{result.away_s:.1f}", final]


def table(results: Sequence[Result]) -> str:
    return markdown(HEADINGS, [row(one) for one in results], words={0, 1})


def write(results: Sequence[Result], machine: Mapping[str, Any], commit: str, *, page: Path = PAGE) -> None:
    PLACE.write(table(results), machine, commit, page=page)
