"""docs/preferences.md says what the resolver does; this holds it to its word."""

import datetime as dt
import re
import zoneinfo
from pathlib import Path

import pytest

from preferences.quiet_hours import MOST_WINDOWS, NEVER, quiet_until
from preferences.quiet_text import parsed
from preferences.resolver import Ladder, Question, Rung, quiet_hours_for, resolve, walk
from tenants.vocabulary import Channel

PAGE = (Path(__file__).parents[2] / "docs" / "preferences.md").read_text()


def table(heading):
    """The rows of the last table under a heading, as dicts by column."""
    section = re.split(r"\n#+ ", PAGE.split(f"# {heading}\n", 1)[1], maxsplit=1)[0]
    head, _, *rows = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)[-1].splitlines()
    cells = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in (head, *rows)]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]


def windows(text):
    return parsed(text.replace(";", "\n"))


def hours(text):
    """A preference's own; None if there are none."""
    if text == "never":
        return NEVER
    return next(iter(windows(text)), None)


def ladder(text):
    rungs = {}
    for written in filter(None, (part.strip() for part in text.split(";"))):
        channel, what, choice, *rest = written.split()
        place = (
            None if channel == "*" else Channel.from_label(channel).value,
            "" if what == "*" or what.startswith("@") else what,
            what[1:] if what.startswith("@") else "",
        )
        quiet = hours(" ".join(word for word in rest if word != "digest"))
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
    assert decision.quiet_hours == hours(row["quiet hours"])
    assert decision.delivery == row["delivery"]


@pytest.mark.parametrize("row", table("Whose they are"))
def test_an_example_of_whose_quiet_hours_hold(row):
    decision = resolve(
        question(row["event type"], row["channel"]),
        Ladder(user=ladder(row["user's preferences"]), tenant=ladder(row["tenant's defaults"])),
    )
    user, tenant = windows(row["user's quiet hours"]), windows(row["tenant's quiet hours"])
    held, level = quiet_hours_for(decision, user=user, tenant=tenant)
    assert level == row["level"]
    assert tuple(one for one in held if one.days) == windows(row["what holds"])


@pytest.mark.parametrize("row", table("When they end"))
def test_an_example_of_when_quiet_hours_end(row):
    now, end = (moment(row[column], row["time zone"]) for column in ("now", "quiet until"))
    assert quiet_until(windows(row["windows"]), timezone=row["time zone"], now=now) == end


def moment(text, zone):
    """`Wed 2026-07-01 21:59+02:00`, which is how the zone writes it; None for an empty text."""
    if not text:
        return None
    found = dt.datetime.fromisoformat(text.partition(" ")[2])
    there = found.astimezone(zoneinfo.ZoneInfo(zone))
    assert f"{there:%a} {there.isoformat(' ', 'minutes')}" == text
    return found


def test_the_page_says_as_many_windows_as_there_may_be():
    assert f"at most {MOST_WINDOWS} windows" in PAGE


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
