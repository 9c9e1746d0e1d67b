"""Strains on providers: servers that hang, fail, or take their time."""

from __future__ import annotations

import signal
import time

from deliveries.states import HANDED_OVER
from tests.acceptance.conftest import eventually
from tests.acceptance.strain.strains.base import Outcome, not_final, seconds
from tests.acceptance.strain.world import BACKED, GUEST, STRAINED, World, addressed

_HANGS_FOR_S = 45.0
_FAILS_FOR_S = 12.0
_FINAL_WITHIN_S = 150.0
_SLOW_S = 10.0
_STOPS_WITHIN_S = 30.0
_AT_ONCE_S = 20.0
"""After a stop in order nothing waits for a lease."""

_IN_HAND = "SELECT count(*) FROM deliveries_delivery WHERE starts_with(event_id, %s) AND status = 1"
_ATTEMPTS = """
SELECT count(*) FILTER (WHERE a.provider_account_id = p.id AND p.priority = 1), count(*) FILTER (WHERE a.outcome = 4),
    count(*) FILTER (WHERE a.code = 'interrupted')
FROM deliveries_attempt a JOIN deliveries_delivery d ON d.id = a.delivery_id
LEFT JOIN tenants_provideraccount p ON p.id = a.provider_account_id
WHERE starts_with(d.event_id, %s)
"""


def hang(world: World, run: str, count: int) -> Outcome:
    """Two accounts take connections and answer nothing, each with half of the mails due."""
    servers = (world.doubles.sick, world.doubles.house)
    for server in servers:
        server.mute()
    for tenant in (STRAINED, GUEST):
        world.post(tenant, [world.event(f"{run}{tenant}-{number}", ["email"]) for number in range(count // 2)])
    time.sleep(_HANGS_FOR_S)
    for server in servers:
        server.speak()
    final_s = world.stand.wait_final_of(run, time.monotonic(), _FINAL_WITHIN_S)
    return _judged(world, run, count // 2 * 2, final_s)


def fail_over(world: World, run: str, count: int) -> Outcome:
    """The first of two accounts refuses or hangs up; the second is well. Then the first is well, too."""
    sick, spare = world.doubles.sick, world.doubles.spare
    half = count // 2
    sick.behave(data="451 4.3.0 come back later")
    world.post(BACKED, [world.event(f"{run}first-{number}", ["email"]) for number in range(half)])
    time.sleep(_FAILS_FOR_S / 2)
    sick.behave(hang_up_at="mail")
    time.sleep(_FAILS_FOR_S / 2)
    first_s = world.stand.wait_final_of(f"{run}first-", time.monotonic(), _FINAL_WITHIN_S)
    over_spare = sum(address.startswith(f"{run}first-") for address in addressed(spare))
    sick.behave()
    # A circuit closes only if somebody asks: mails of the same account, until one goes over it.
    healed, before = time.monotonic(), len(sick.received)
    number = 0
    while len(sick.received) == before and time.monotonic() < healed + _FINAL_WITHIN_S:
        world.post(BACKED, [world.event(f"{run}probe-{number}", ["email"])])
        number += 1
        time.sleep(0.5)
    closed_s = time.monotonic() - healed
    spare_before = len(spare.received)
    world.post(BACKED, [world.event(f"{run}second-{number}", ["email"]) for number in range(half)])
    final_s = world.stand.wait_final_of(run, time.monotonic(), _FINAL_WITHIN_S)
    outcome = _judged(world, run, half * 2 + number, final_s)
    back = len(spare.received) - spare_before
    words = f"{over_spare} over the second account; closed {closed_s:.0f} s after it healed; then {back} over the second"
    failures = list(outcome.failures)
    if first_s is None or over_spare < half:
        failures.append(f"{half - over_spare} mails waited for the failing account")
    if len(sick.received) == before:
        failures.append("nothing went over the first account after it healed")
    return Outcome(f"{outcome.words}; {words}", failures)


def stop_in_order(world: World, run: str, count: int) -> Outcome:
    """SIGTERM while a server takes ten seconds for each mail."""
    sick = world.doubles.sick
    sick.behave(delay_s=_SLOW_S)
    world.post(STRAINED, [world.event(f"{run}{number}", ["email"]) for number in range(count)])
    eventually(lambda: world.stand.rows(_IN_HAND, [run])[0][0] >= min(count, 8))
    asked = time.monotonic()
    world.stand.run.process.send_signal(signal.SIGTERM)
    world.stand.run.ended()
    stopped_s = time.monotonic() - asked
    sick.behave()
    world.stand.start_again()
    back = time.monotonic()
    final_s = world.stand.wait_final_of(run, back, _AT_ONCE_S)
    world.stand.wait_final_of(run, back, _FINAL_WITHIN_S)
    outcome = _judged(world, run, count, final_s)
    failures = list(outcome.failures)
    late = [f"it took {stopped_s:.1f} s to stop"] if stopped_s > _STOPS_WITHIN_S else []
    ((_, _, interrupted),) = world.stand.rows(_ATTEMPTS, [run])
    if interrupted:
        failures.append(f"{interrupted} mails were interrupted, and waited for their lease")
    return Outcome(f"stopped in {stopped_s:.1f} s; {outcome.words}", failures, late)


def _judged(world: World, run: str, count: int, final_s: float | None) -> Outcome:
    states = world.states(run)
    sent = sum(number for state, number in states.items() if state in HANDED_OVER)
    ((_, ambiguous, _),) = world.stand.rows(_ATTEMPTS, [run])
    failures = not_final(final_s)
    if sent != count:
        failures.append(f"{count} mails, and in the end { ({state.label: number for state, number in states.items()}) }")
    doubt = f", {ambiguous} attempts ambiguous" if ambiguous else ""
    return Outcome(f"{sent:,} of {count:,} mails sent{doubt}, {seconds(final_s)}", failures)
