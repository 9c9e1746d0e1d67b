"""Strains by one tenant that posts more than is good for anybody."""

from __future__ import annotations

import time
from collections import Counter

import httpx

from tests.acceptance.strain.strains.base import Outcome, not_final, seconds
from tests.acceptance.strain.world import STRAINED, World

BACKLOG_LIMIT = 2000
_FINAL_WITHIN_S = 300.0
_MAIL_EVERY = 10
_PIECE = 1000
_OPENS_WITHIN_S = 60.0
_PAUSE_S = 0.2


def flood(world: World, run: str, count: int) -> Outcome:
    """Low-priority events over in-app, every tenth over e-mail too, as fast as two clients can post."""
    begun = time.monotonic()
    events = [
        world.event(f"{run}{number}", ["in_app"] if number % _MAIL_EVERY else ["in_app", "email"], priority="low")
        for number in range(count)
    ]
    statuses = Counter(world.post(STRAINED, events))
    posted_s = time.monotonic() - begun
    final_s = world.stand.wait_final_of(run, begun, _FINAL_WITHIN_S)
    expected = count + len(range(0, count, _MAIL_EVERY))
    states = {state.label: number for state, number in world.states(run).items()}
    failures = not_final(final_s)
    if set(statuses) != {202} or states != {"sent": expected}:
        failures.append(f"{expected} deliveries, and in the end {states}; answers {dict(statuses)}")
    return Outcome(f"{count:,} events posted in {posted_s:.0f} s, {seconds(final_s)}", failures)


def overflow(world: World, run: str, count: int) -> Outcome:
    """Events until intake is closed to their tenant; then it is asked until it opens by itself."""
    with world.client(STRAINED) as api:
        accepted, refusal = _until_refused(world, api, run, count)
        if refusal is None:
            return Outcome("intake was never closed", [f"{accepted} events, and intake was never closed"])
        closed_at = time.monotonic()
        failures = [] if refusal.headers.get("Retry-After", "").isdigit() else ["503 without Retry-After"]
        urgent = try_one(world, api, f"{run}urgent", "urgent").status_code
        if urgent != 202:
            failures.append(f"an urgent event was answered {urgent}")
        status = 503
        while status == 503 and time.monotonic() < closed_at + _OPENS_WITHIN_S:
            time.sleep(_PAUSE_S)
            status = try_one(world, api, f"{run}again", "low").status_code
    opened_s = time.monotonic() - closed_at
    if status != 202:
        failures.append(f"not open again after {opened_s:.0f} s: {status}")
    final_s = world.stand.wait_final_of(run, closed_at, _FINAL_WITHIN_S)
    sent = sum(world.states(run).values())
    if sent != accepted + 2:
        failures.append(f"{accepted + 2} events accepted, {sent} deliveries")
    words = f"{accepted:,} taken, then 503 but to urgent ones; open again after {opened_s:.0f} s; {seconds(final_s)}"
    return Outcome(words, failures + not_final(final_s))


def _until_refused(world: World, api: httpx.Client, run: str, most: int) -> tuple[int, httpx.Response | None]:
    """How many were taken, and the answer to those that were not."""
    for start in range(0, most, _PIECE):
        events = [world.event(f"{run}{start + number}", ["in_app"], priority="low") for number in range(_PIECE)]
        reply = api.post("/api/events/bulk", json={"events": events})
        if reply.status_code == 503:
            return start, reply
        reply.raise_for_status()
    return most, None


def try_one(world: World, api: httpx.Client, event_id: str, priority: str) -> httpx.Response:
    return api.post("/api/events", json=world.event(event_id, ["in_app"], priority=priority))
