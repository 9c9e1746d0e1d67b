"""The table of `make strain`."""

from __future__ import annotations

from collections.abc import Sequence

from tests.acceptance.page import Place, markdown
from tests.acceptance.strain.experiment import Result
from tests.acceptance.strain.registry import STRAINS

PLACE = Place("make strain")
HEADINGS = ("strain", "what happens", "bystanders", "events", "lost", "at rest, ms", "under strain, ms", "the strained work")


def rows(result: Result) -> list[list[str]]:
    if not result.felt:
        return [[result.name, STRAINS[result.name].about, "none", "0", "0", "", "", result.outcome.words]]
    found = []
    for number, felt in enumerate(result.felt):
        first = number == 0
        figures = [str(felt.events), str(felt.lost), str(felt.at_rest), str(felt.under_strain)]
        found.append(
            [
                result.name if first else "",
                STRAINS[result.name].about if first else "",
                f"{felt.tenant}, {felt.channel}",
                *figures,
                result.outcome.words if first else "",
            ]
        )
    return found


def table(results: Sequence[Result]) -> str:
    return markdown(HEADINGS, [row for one in results for row in rows(one)], words={0, 1, 2, 7})
