"""Strains on PostgreSQL: far away, locked."""

from __future__ import annotations

import time

import psycopg

from tests.acceptance.strain.strains.base import Outcome, not_final, seconds
from tests.acceptance.strain.world import STRAINED, World

_DELAY_S = 0.02
_LOCKED_FOR_S = 5.0
_FINAL_WITHIN_S = 120.0
_PIECE = 100


def far_away(world: World, run: str, count: int) -> Outcome:
    """Each way to PostgreSQL and back takes 20 ms longer, while events of another tenant are posted."""
    assert world.database is not None
    world.database.delay_s = _DELAY_S
    try:
        return _posted(world, run, count)
    finally:
        world.database.delay_s = 0.0


def locked(world: World, run: str, count: int) -> Outcome:
    """Somebody locks the two tables of work against everybody, for five seconds in which events are posted."""
    with psycopg.connect(world.stand.database_url) as connection:
        connection.execute("LOCK TABLE notifications_event, deliveries_delivery IN ACCESS EXCLUSIVE MODE")
        time.sleep(_LOCKED_FOR_S)
    return _posted(world, run, count)


def _posted(world: World, run: str, count: int) -> Outcome:
    events = [world.event(f"{run}{number}", ["in_app", "email"]) for number in range(count)]
    for start in range(0, count, _PIECE):
        world.post(STRAINED, events[start : start + _PIECE])
    final_s = world.stand.wait_final_of(run, time.monotonic(), _FINAL_WITHIN_S)
    states = {state.label: number for state, number in world.states(run).items()}
    failures = not_final(final_s)
    if states != {"sent": 2 * count}:
        failures.append(f"{2 * count} deliveries, and in the end {states}")
    return Outcome(f"{count:,} events posted, {seconds(final_s)}", failures)
