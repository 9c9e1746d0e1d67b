"""docs/delivery-lifecycle.md, held against the code it describes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from deliveries import breaker
from deliveries.claims import LEASE as DELIVERY_LEASE
from deliveries.dispatch import MOST_INTERRUPTIONS, SUSPECT_AFTER
from deliveries.erasure import ERASED
from deliveries.models import AttemptOutcome
from deliveries.providers.base import Provider
from deliveries.providers.messages import AUTH, PROVIDER_FAULT
from deliveries.providers.push import NO_LIVE_TOKEN
from deliveries.providers.simulator import Scenario, scenario_of
from deliveries.retry import RetryPolicy
from deliveries.states import TRANSITIONS, Status
from notifications.filter import NO_ADDRESS, OPTED_OUT, SUPPRESSED_ADDRESS
from notifications.leases import POISON
from notifications.route import NO_TEMPLATE
from notifications.taking import LEASE as EVENT_LEASE
from notifications.wire import EXPIRED
from templates_app.rendering import TOO_SLOW
from tenants.vocabulary import Channel

POLICY = RetryPolicy()
ROOT = Path(settings.BASE_DIR)
PAGE = (ROOT / "docs" / "delivery-lifecycle.md").read_text()

NAMED = {ERASED, NO_ADDRESS, OPTED_OUT, SUPPRESSED_ADDRESS, NO_TEMPLATE, EXPIRED, AUTH, NO_LIVE_TOKEN, PROVIDER_FAULT, TOO_SLOW}
"""Codes that the code gives a name."""
SIMULATED = {f"simulated_{scenario.value}" for scenario in (Scenario.TEMPORARY, Scenario.PERMANENT, Scenario.DOWN)}
BUILDERS = {"Failed", "_refused", "Recorded", "recorded", "RenderError", "_error", "GiveUp", "_ended"}
"""What is called with a code: by keyword, or as the first argument."""
NOT_REASONS = {"permanent"}
"""A verdict of the retry policy; the reason recorded is the provider's code."""


def section(title: str) -> str:
    return re.split(r"^#{2,3} ", PAGE.partition(f" {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def cells(text: str) -> list[list[str]]:
    """The rows of a section's table, headings left out."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def code_in(cell: str) -> str:
    return cell.strip("`")


def codes_in_sources() -> Iterator[str]:
    sources = [*(ROOT / "deliveries").rglob("*.py"), ROOT / "templates_app" / "rendering.py"]
    for path in sources:
        if "admin" in path.parts or "migrations" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILDERS:
                given = [keyword.value for keyword in node.keywords if keyword.arg in {"code", "reason"}]
                if node.func.id in {"RenderError", "_error", "GiveUp"}:
                    given += node.args[:1]
                yield from (text for value in given for text in strings_of(value))


def strings_of(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
        yield value.value
    if isinstance(value, ast.IfExp):
        yield from strings_of(value.body)
        yield from strings_of(value.orelse)


def documented_codes() -> set[str]:
    return {code_in(row[0]) for title in ("Before anything is sent", "While sending") for row in cells(section(title))}


def test_the_diagram_is_the_table_of_transitions():
    drawn = set(re.findall(r"^    (\w+) --> (\w+)$", PAGE, re.MULTILINE))
    allowed = {(source.label, target.label) for source, targets in TRANSITIONS.items() for target in targets}
    assert drawn == allowed


def test_a_delivery_is_born_only_in_states_that_exist():
    born = set(re.findall(r"^    \[\*\] --> (\w+)", PAGE, re.MULTILINE))
    assert {"pending", "sending"} <= born <= set(Status.labels)


def test_every_state_is_described():
    first_table = PAGE.partition("| state |")[2].partition("\n\n")[0]
    assert {code_in(row[0]) for row in cells("| state |" + first_table)} == set(Status.labels)


def test_every_outcome_of_an_attempt_is_described():
    assert {code_in(row[0]) for row in cells(section("Attempts"))} == set(AttemptOutcome.labels)


def test_every_code_in_the_code_is_explained():
    written = set(codes_in_sources()) | NAMED | SIMULATED
    assert len(written) > 25
    assert written - NOT_REASONS - documented_codes() == set()


def test_every_code_explained_is_in_the_code():
    files = [path for room in ("deliveries", "notifications", "templates_app") for path in (ROOT / room).rglob("*.py")]
    sources = "\n".join(path.read_text() for path in files)
    unknown = {code for code in documented_codes() - SIMULATED if f'"{code}"' not in sources}
    assert unknown == set()


def test_the_figures_are_those_of_the_code():
    assert ", ".join(f"{delay:g}" for delay in POLICY.delays_s[:-1]) + f" and {POLICY.delays_s[-1]:g} seconds" in PAGE
    assert len(POLICY.delays_s) + 1 == 6
    assert "After the sixth round" in PAGE.replace("\n", " ")
    assert (POLICY.jitter, POLICY.longest_wait_s, POLICY.most_attempts, POLICY.longest_life.days) == (0.2, 3600, 100, 3)
    assert (breaker.FAILURES, breaker.WINDOW_S, breaker.COOL_DOWN_S, breaker.LONGEST_COOL_DOWN_S) == (5, 15, 5, 60)
    assert Provider.hopeless_after == 8
    assert (SUSPECT_AFTER, MOST_INTERRUPTIONS) == (2, 5)
    assert f"claimed by `enrich` for {EVENT_LEASE.seconds} seconds" in PAGE
    assert f"claimed by `send` for {DELIVERY_LEASE.seconds} seconds" in PAGE
    assert f"`{POISON}`" in PAGE


SIMULATOR = [[code_in(cell) for cell in row] for row in cells(section("Sandbox"))]


@pytest.mark.parametrize("row", SIMULATOR, ids=[row[0] for row in SIMULATOR])
def test_the_simulator_addresses_produce_what_the_table_says(row):
    email, phone, token, webhook, _ = row
    wanted = Scenario(email.partition("@")[0])
    asked = {
        Channel.EMAIL: email,
        Channel.SMS: phone,
        Channel.PUSH: token,
        Channel.CHAT: token,
        Channel.WEBHOOK: webhook,
    }
    assert {scenario_of(channel, address) for channel, address in asked.items()} == {wanted}


def test_every_outcome_of_the_simulator_has_its_row():
    assert {row[0].partition("@")[0] for row in SIMULATOR} == {scenario.value for scenario in Scenario}
