"""docs/preferences.md says what the resolver does; this holds it to its word."""

import datetime as dt
import re
from pathlib import Path

import pytest

from preferences.resolver import Ladder, Question, QuietHours, Rung, resolve, walk
from tenants.vocabulary import Channel

PAGE = (Path(__file__).parents[2] / "docs" / "preferences.md").read_text()


def table(heading):
    """The rows of the first table under a heading, as dicts by column."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    head, _, *rows = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in (head, *rows)]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]


def hours(text):
    start, end = (dt.time.fromisoformat(part) for part in text.split("-"))
    return QuietHours(start, end)


def ladder(text):
    rungs = {}
    for written in filter(None, (part.strip() for part in text.split(";"))):
        channel, what, choice, *rest = written.split()
        place = (
            None if channel == "*" else Channel.from_label(channel).value,
            "" if what == "*" or what.startswith("@") else what,
            what[1:] if what.startswith("@") else "",
        )
        quiet = next((hours(word) for word in rest if "-" in word), None)
        assert choice in {"on", "off"}
        rungs[place] = Rung(written, choice == "on", quiet, "digest" if "digest" in rest else "immediate")
    return rungs


def question(text, channel):
    name, *facts = text.split()
    return Question(
        channel=Channel.from_label(channel),
        event_type=name,
        category=next((fact[1:] for fact in facts if fact.startswith("@")), ""),
        required="required" in facts,
        default_enabled="off" not in facts if facts else None,
    )


EXAMPLES = table("Worked examples")


@pytest.mark.parametrize("row", EXAMPLES)
def test_a_worked_example(row):
    decision = resolve(
        question(row["event type"], row["channel"]),
        Ladder(user=ladder(row["user's preferences"]), tenant=ladder(row["tenant's defaults"])),
    )
    assert ("allowed" if decision.allowed else "suppressed") == row["outcome"]
    assert decision.level == row["level"]
    assert decision.quiet_hours == (hours(row["quiet hours"]) if row["quiet hours"] else None)
    assert decision.delivery == row["delivery"]


def test_the_ladder_on_the_page_is_the_ladder_in_the_code():
    steps = walk(question("order.shipped @orders on", "email"), Ladder())
    assert [row["level"] for row in table("The ladder")] == [step.level for step in steps]


def test_every_rung_on_the_page_decides_at_its_level():
    asked = question("order.shipped @orders on", "email")
    for row in table("The ladder"):
        if row["example of the rung"]:
            rung = ladder(f"{row['example of the rung']} off")
            alone = Ladder(user=rung) if row["level"].startswith("user.") else Ladder(tenant=rung)
            assert resolve(asked, alone).level == row["level"]


def test_the_page_has_an_example_for_every_kind_of_step():
    shown = {re.sub(r"^(user|tenant)\.", "", row["level"]) for row in EXAMPLES}
    assert {"channel_type", "type", "channel_category", "category", "channel", "any"} <= shown
