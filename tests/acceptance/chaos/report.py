"""The table: on the screen, and in docs/reliability.md between two markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.report import commit_name
from config.stack.paths import PROJECT_DIR
from tests.acceptance.chaos.experiment import Result
from tests.acceptance.chaos.points import CRASH_POINTS

PAGE = PROJECT_DIR / "docs" / "reliability.md"
BEGIN, END = "<!-- make chaos writes from here -->", "<!-- make chaos writes to here -->"
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
    """As Markdown, which people can read as it is."""
    rows = [list(HEADINGS), *map(row, results)]
    widths = [max(len(one[column]) for one in rows) for column in range(len(HEADINGS))]
    lines = ["| " + " | ".join(_aligned(one, widths)) + " |" for one in rows]
    rule = "|" + "|".join("-" * (width + 1) + (":" if _is_number(place) else "-") for place, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def commit() -> str:
    """What is about to be tested; the page that a run writes does not count as a change."""
    return commit_name(besides=[str(PAGE.relative_to(PROJECT_DIR))])


def write(results: Sequence[Result], machine: Mapping[str, Any], commit: str, *, page: Path = PAGE) -> None:
    """Put the table, with date, machine and commit, in place of what is between the page's markers."""
    facts = (
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}; {machine['cores']} cores ({machine['cpu']}), "
        f"{machine['memoryGb']} GB, Python {machine['python']}; load before the run {machine['load']}."
    )
    text = page.read_text()
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    page.write_text(f"{before}\n{facts}\n\n{table(results)}\n{after}")


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    pairs = enumerate(zip(cells, widths, strict=True))
    return [cell.rjust(width) if _is_number(place) else cell.ljust(width) for place, (cell, width) in pairs]


def _is_number(column: int) -> bool:
    return column >= 2
