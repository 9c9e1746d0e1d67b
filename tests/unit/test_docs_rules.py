"""The worked examples of docs/rules.md, run."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError

from notifications.dry_run_answers import MOST_LISTED, Because, Origin
from notifications.expressions import child, evaluation, guard, ledger
from notifications.models import Rule
from notifications.patterns import validate_pattern
from notifications.rules import (
    LONGEST_EXPRESSION,
    MAX_RECIPIENTS,
    MOST_RULES,
    RuleError,
    matches,
    recipients_of,
    validate_condition,
    validate_recipients,
)

PAGE = (Path(settings.BASE_DIR) / "docs" / "rules.md").read_text()
EXAMPLES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
EVENT, WHOLE_RULE = EXAMPLES
VARIABLES = {
    "payload": EVENT["data"],
    "event": {
        "id": EVENT["eventId"],
        "type": EVENT["eventType"],
        "priority": EVENT["priority"],
        "metadata": EVENT["metadata"],
    },
}


def rows(heading: str) -> list[tuple[str, ...]]:
    """The rows of the table under a heading of its own."""
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()[2:]]
    return [tuple(cell.strip().replace("\\|", "|") for cell in line) for line in lines]


def listed(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_there_are_examples():
    assert (len(rows("pattern")), len(rows("condition")), len(rows("`path`"))) > (3, 10, 3)


@pytest.mark.parametrize(("pattern", "yes", "no"), rows("pattern"))
def test_patterns(pattern, yes, no):
    rule = Rule(event_type=pattern.strip("`"))
    validate_pattern(rule.event_type)
    assert listed(yes)
    assert [name for name in listed(yes) if not matches(rule, name, VARIABLES)] == []
    assert [name for name in listed(no) if matches(rule, name, VARIABLES)] == []


@pytest.mark.parametrize(("condition", "outcome"), rows("condition"))
def test_conditions(condition, outcome):
    rule = Rule(event_type="*", condition=condition.strip("`"))
    validate_condition(rule.condition)
    if outcome == "error":
        with pytest.raises(RuleError):
            matches(rule, EVENT["eventType"], VARIABLES)
    else:
        assert matches(rule, EVENT["eventType"], VARIABLES) is {"true": True, "false": False}[outcome]


@pytest.mark.parametrize(("path", "user_ids"), rows("`path`"))
def test_paths(path, user_ids):
    recipients = {"path": path.strip("`")}
    validate_recipients(recipients)
    assert recipients_of(Rule(recipients=recipients), VARIABLES) == (listed(user_ids), "")


def test_the_whole_rule():
    rule = Rule(event_type=WHOLE_RULE["eventType"], condition=WHOLE_RULE["condition"], recipients=WHOLE_RULE["recipients"])
    assert matches(rule, EVENT["eventType"], VARIABLES)
    assert recipients_of(rule, VARIABLES) == (["ada", "warehouse"], "")


def test_what_the_page_says_is_refused_is_refused():
    assert "`order.amount > 1` is refused" in PAGE
    with pytest.raises(ValidationError):
        validate_condition("order.amount > 1")
    assert f"at most {MAX_RECIPIENTS:,} of them" in PAGE


def test_the_limits_are_those_of_the_code():
    assert dict(rows("what")) == {
        "rules of a tenant, active or not": str(MOST_RULES),
        "length of an expression": f"{LONGEST_EXPRESSION:,} characters",
        "one evaluation": f"{guard.CPU_S:g} s of CPU time, {guard.MEMORY >> 20} MB of memory",
        "what it comes to": f"{child.LONGEST_ANSWER >> 20} MB",
        f"all slow evaluations of a tenant (over {ledger.SLOW_S * 1000:g} ms each)": (
            f"{ledger.TENANT_S:g} s of CPU time in a minute"
        ),
    }
    assert f"is at most {evaluation.IN_PROCESS_WORK:,}" in PAGE
    assert ledger.REST_S == 60


def test_what_a_trial_answers_is_what_the_page_says():
    assert {name.strip("`") for name, _ in rows("`because`")} == set(get_args(Because))
    named = PAGE.partition("by where they were named:")[2].partition(";")[0]
    assert set(listed(named)) == set(get_args(Origin))
    assert f"lists the first {MOST_LISTED}" in PAGE
    assert f"busy for {guard.TURN_S:g} s" in PAGE
