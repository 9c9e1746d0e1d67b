"""Tables of measured runs: on the screen, and in docs/reliability.md between two markers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.report import commit_name
from config.stack.paths import PROJECT_DIR

PAGE = PROJECT_DIR / "docs" / "reliability.md"


@dataclass(frozen=True, slots=True)
class Place:
    """What is between two markers of the page, and which command writes there."""

    command: str

    @property
    def begin(self) -> str:
        return f"<!-- {self.command} writes from here -->"

    @property
    def end(self) -> str:
        return f"<!-- {self.command} writes to here -->"

    def written(self, page: Path = PAGE) -> str:
        return page.read_text().partition(self.begin)[2].partition(self.end)[0]

    def write(self, table: str, machine: Mapping[str, Any], commit: str, *, page: Path = PAGE) -> None:
        """Put the table, with date, machine and commit, in place of what is there."""
        facts = (
            f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}; {machine['cores']} cores ({machine['cpu']}), "
            f"{machine['memoryGb']} GB, Python {machine['python']}; load before the run {machine['load']}."
        )
        text = page.read_text()
        before, after = text[: text.index(self.begin) + len(self.begin)], text[text.index(self.end) :]
        page.write_text(f"{before}\n{facts}\n\n{table}\n{after}")


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], *, words: Collection[int]) -> str:
    """A table in Markdown that people can read as it is; the columns `words` are aligned left, numbers right."""
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]

    def line(row: Sequence[str]) -> str:
        pairs = enumerate(zip(row, widths, strict=True))
        return (
            "| "
            + " | ".join(cell.ljust(width) if place in words else cell.rjust(width) for place, (cell, width) in pairs)
            + " |"
        )

    rule = "|" + "|".join("-" * (width + 1) + ("-" if place in words else ":") for place, width in enumerate(widths)) + "|"
    return "\n".join([line(headings), rule, *map(line, rows)])


def commit() -> str:
    """What is about to be tested; the page that a run writes does not count as a change."""
    return commit_name(besides=[str(PAGE.relative_to(PROJECT_DIR))])
