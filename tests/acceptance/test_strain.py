"""The short form of `make strain`: what has an order or a number. How long it takes is left to it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import eventually
from tests.acceptance.strain.bystanders import Stream
from tests.acceptance.strain.figures import look
from tests.acceptance.strain.strains import floods, schedule
from tests.acceptance.strain.world import BYSTANDER, GUEST, STRAINED, World, running_world

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

PATIENCE_S = 90.0
_ATTEMPTS = """
SELECT count(*) FROM deliveries_attempt a JOIN deliveries_delivery d ON d.id = a.delivery_id WHERE starts_with(d.event_id, %s)
"""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running_world(BACKLOG_LIMIT="1000") as world:
        yield world


@pytest.fixture
def run() -> str:
    return f"short-{secrets.token_hex(3)}-"


def test_others_do_not_wait_for_a_server_that_says_nothing(world, run):
    """More mails than every desk can hold are due at two accounts that hang; a third account on the channel is well."""
    servers = (world.doubles.sick, world.doubles.house)
    for server in servers:
        server.mute()
    for tenant in (STRAINED, GUEST):
        world.post(tenant, [world.event(f"{run}{tenant}-{number}", ["email"]) for number in range(400)])
    eventually(lambda: all(server.connections for server in servers))
    stream = Stream(world, BYSTANDER, f"{run}by-", ("normal", "urgent"))
    stream.post(30)
    assert world.stand.wait_final_of(stream.prefix, time.monotonic(), PATIENCE_S) is not None
    ended = world.stand.rows(_ATTEMPTS, [f"{run}{STRAINED}"]) + world.stand.rows(_ATTEMPTS, [f"{run}{GUEST}"])
    assert ended == [(0,), (0,)], "they waited for the hanging servers' time limit"
    assert stream.refused == []
    assert look(world, stream).lost == []
    for server in servers:
        server.speak()
    assert world.stand.wait_final_of(run, time.monotonic(), PATIENCE_S) is not None
    assert {state.label for state in world.states(run)} == {"sent"}


def test_nothing_is_early_and_what_is_canceled_is_not_sent(world, run):
    assert schedule.on_time(world, run, 60).failures == []


def test_intake_closes_to_a_flood_and_opens_again(world, run):
    assert floods.overflow(world, run, 100_000).failures == []
