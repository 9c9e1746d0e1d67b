"""Strains on time: events for later, some of which are canceled at about their time, or are too late."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from tests.acceptance.stand import strike_all
from tests.acceptance.strain.figures import Latency
from tests.acceptance.strain.strains.base import Outcome, not_final, seconds
from tests.acceptance.strain.world import STRAINED, World, address_of, addressed

_BEGINS_IN_S = 3.0
_A_SECOND = 60
"""So many fall due."""
_CANCELERS = 16
_AROUND_S = 0.25
"""Cancelled so much before or after the time, in turns of five."""
_LATE_MS = 2000.0
_FINAL_WITHIN_S = 60.0
_EXPIRE_IN_S = 3.0
_STOPPED_FOR_S = 6.0

_LATENESS = """
SELECT extract(epoch FROM d.sent_at - e.scheduled_at) * 1000
FROM deliveries_delivery d JOIN notifications_event e ON e.tenant_id = d.tenant_id AND e.event_id = d.event_id
WHERE starts_with(d.event_id, %s) AND d.sent_at IS NOT NULL
"""
_SENT = "SELECT event_id FROM deliveries_delivery WHERE starts_with(event_id, %s) AND sent_at IS NOT NULL"


def on_time(world: World, run: str, count: int) -> Outcome:
    """Events spread over some seconds ahead; half of them canceled at about their time."""
    begin = datetime.now(UTC) + timedelta(seconds=_BEGINS_IN_S)
    times = [begin + timedelta(seconds=number / _A_SECOND) for number in range(count)]
    channels = ("in_app", "email")
    events = [
        world.event(f"{run}{number}", [channels[number // 2 % 2]], scheduledAt=at.isoformat(), priority="normal")
        for number, at in enumerate(times)
    ]
    world.post(STRAINED, events)
    canceled = _cancel(world, run, times)
    final_s = world.stand.wait_final_of(run, time.monotonic(), _FINAL_WITHIN_S)
    sent = {event_id for (event_id,) in world.stand.rows(_SENT, [run])}
    mails = addressed(world.doubles.sick)
    broken = sorted(one for one in canceled if one in sent or address_of(one) in mails)
    missing = sorted({event["eventId"] for event in events} - sent - canceled)
    samples = [float(late) for (late,) in world.stand.rows(_LATENESS, [run])]
    late = Latency.of(samples)
    failures = not_final(final_s)
    failures += [f"{one}: answered as canceled, and sent" for one in broken]
    failures += [f"{one}: neither sent nor canceled" for one in missing]
    if min(samples) < 0:
        failures.append(f"one was sent {-min(samples):.0f} ms early")
    words = f"{len(sent)} sent, {late} ms after their time, none early; {len(canceled)} canceled, none of them sent"
    return Outcome(words, failures, [f"one was sent {late.most:.0f} ms late"] if late.most > _LATE_MS else [])


def _cancel(world: World, run: str, times: list[datetime]) -> set[str]:
    """Ask for every second one; those that were answered as canceled."""
    canceled: set[str] = set()
    lock = threading.Lock()

    def cancel(number: int) -> None:
        at = times[number] + timedelta(seconds=_AROUND_S * (number // 2 % 5 - 2) / 2)
        time.sleep(max((at - datetime.now(UTC)).total_seconds(), 0))
        event_id = f"{run}{number}"
        said = api.delete(f"/api/events/{event_id}").raise_for_status().json()
        if said["status"] == "canceled" or said["canceledDeliveries"]:
            with lock:
                canceled.add(event_id)

    with world.client(STRAINED) as api, ThreadPoolExecutor(_CANCELERS) as pool:
        list(pool.map(cancel, range(0, len(times), 2)))
    return canceled


def too_late(world: World, run: str, count: int) -> Outcome:
    """The workers are stopped until the events have expired."""
    now = datetime.now(UTC)
    fields = {
        "scheduledAt": (now + timedelta(seconds=1.5)).isoformat(),
        "expiresAt": (now + timedelta(seconds=_EXPIRE_IN_S)).isoformat(),
    }
    world.post(STRAINED, [world.event(f"{run}{number}", ["in_app", "email"], **fields) for number in range(count)])
    workers = [process for part in ("pipeline", "send") for process in world.stand.family_of(part)]
    strike_all(workers, signal.SIGSTOP)
    time.sleep(_STOPPED_FOR_S)
    strike_all(workers, signal.SIGCONT)
    final_s = world.stand.wait_final_of(run, time.monotonic(), _FINAL_WITHIN_S)
    states = {state.label: number for state, number in world.states(run).items()}
    failures = not_final(final_s)
    if set(states) - {"expired"}:
        failures.append(f"of events that had expired: {states}")
    mailed = addressed(world.doubles.sick)
    failures += [f"{run}{number}: mailed after it expired" for number in range(count) if address_of(f"{run}{number}") in mailed]
    return Outcome(f"{count} events expired, none sent, {seconds(final_s)}", failures)
