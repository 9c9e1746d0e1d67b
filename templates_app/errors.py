"""What may go wrong with templates, as the callers of services see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what was to be saved. `field` is a path: `body`, `variables[2].name`."""

    field: str
    code: str
    message: str
    line: int | None = None


class InvalidTemplateError(Exception):
    """A template or layout that may not be saved."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in problems))
        self.problems = tuple(problems)


class AlreadyExistsError(Exception):
    """There is one with the same channel, event type and locale (a template) or the same name (a layout)."""


class LayoutInUseError(Exception):
    """Templates still use the layout."""


class UnknownVersionError(Exception):
    """The template has no version of that number."""
