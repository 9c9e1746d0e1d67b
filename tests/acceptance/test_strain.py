"""The short form of `make strain`: what has an order or a number. How long it takes is left to it."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import signal
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.conftest import eventually
from tests.acceptance.stand import strike_all
from tests.acceptance.strain.bystanders import Stream
from tests.acceptance.strain.figures import look
from tests.acceptance.strain.strains import floods, schedule
from tests.acceptance.strain.world import BYSTANDER, GUEST, STRAINED, World, running_world
from tests.doubles.smtp import SmtpDouble

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

PATIENCE_S = 90.0
LIMIT = 4000
"""Of the backlog of all; a tenant is refused alone when it has half of it."""
_ATTEMPTS = """
SELECT count(*) FROM deliveries_attempt a JOIN deliveries_delivery d ON d.id = a.delivery_id WHERE starts_with(d.event_id, %s)
"""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running_world(BACKLOG_LIMIT=str(LIMIT)) as world:
        yield world


@pytest.fixture
def run() -> str:
    return f"short-{secrets.token_hex(3)}-"


@contextlib.contextmanager
def mute(*servers: SmtpDouble) -> Iterator[None]:
    for server in servers:
        server.mute()
    try:
        yield
    finally:
        for server in servers:
            server.speak()


def test_others_do_not_wait_for_a_server_that_says_nothing(world, run):
    """More mails than every desk can hold are due at two accounts that hang; a third account on the channel is well."""
    stream = Stream(world, BYSTANDER, f"{run}by-", ("normal", "urgent"))
    with mute(world.doubles.sick, world.doubles.house):
        for tenant in (STRAINED, GUEST):
            world.post(tenant, [world.event(f"{run}{tenant}-{number}", ["email"]) for number in range(400)])
        eventually(lambda: world.doubles.sick.connections and world.doubles.house.connections)
        stream.post(30)
        assert world.stand.wait_final_of(stream.prefix, time.monotonic(), PATIENCE_S) is not None
        ended = world.stand.rows(_ATTEMPTS, [f"{run}{STRAINED}"]) + world.stand.rows(_ATTEMPTS, [f"{run}{GUEST}"])
        assert ended == [(0,), (0,)], "they waited for the hanging servers' time limit"
        assert stream.refused == []
        assert look(world, stream).lost == []
    assert world.stand.wait_final_of(run, time.monotonic(), PATIENCE_S) is not None
    assert {state.label for state in world.states(run)} == {"sent"}


def test_nothing_is_early_and_what_is_canceled_is_not_sent(world, run):
    assert schedule.on_time(world, run, 60).failures == []


def test_intake_closes_to_a_flood_and_opens_again(world, run):
    """The pipeline is stopped, so that what is posted waits."""
    pipeline = world.stand.family_of("pipeline")
    strike_all(pipeline, signal.SIGSTOP)
    try:
        with world.client(STRAINED) as api, world.client(BYSTANDER) as other:
            flood = [world.event(f"{run}{number}", ["in_app"], priority="low") for number in range(LIMIT // 2)]
            assert set(world.post(STRAINED, flood)) == {202}
            more = itertools.count()
            refusal = eventually(lambda: refused(floods.try_one(world, api, f"{run}more-{next(more)}", "low")))
            assert int(refusal.headers["Retry-After"]) > 0
            assert floods.try_one(world, api, f"{run}urgent", "urgent").status_code == 202
            assert floods.try_one(world, other, f"{run}other", "low").status_code == 202
    finally:
        strike_all(pipeline, signal.SIGCONT)
    with world.client(STRAINED) as api:
        eventually(lambda: not refused(floods.try_one(world, api, f"{run}again", "low")), within_s=PATIENCE_S)
    assert world.stand.wait_final_of(run, time.monotonic(), PATIENCE_S) is not None
    assert sum(world.states(run).values()) == LIMIT // 2 + (next(more) - 1) + 3


def refused(reply: httpx.Response) -> httpx.Response | None:
    """The reply, if intake was closed."""
    assert reply.status_code in {202, 503}
    return reply if reply.status_code == 503 else None
