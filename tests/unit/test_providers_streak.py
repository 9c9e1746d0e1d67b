"""When a chunk is given up: after so many failures, and not before those under way have come to their ends."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

from deliveries.providers.streak import Streak

PATIENCE_S = 20


def test_so_many_failures_and_no_answer_are_hopeless():
    streak = Streak(2)
    streak.note(failed=True, answered=False)
    assert not streak.is_hopeless
    streak.note(failed=True, answered=False)
    assert streak.is_hopeless
    streak.note(failed=False, answered=True)
    assert not streak.is_hopeless


def test_it_is_in_doubt_while_those_under_way_may_make_it_hopeless():
    streak = Streak(3)
    with streak.under_way(), streak.under_way():
        with streak.under_way():
            assert not streak.is_in_doubt, "nothing failed yet"
            streak.note(failed=True, answered=False)
        assert streak.is_in_doubt
    assert not streak.is_in_doubt, "nothing is under way"
    with streak.under_way(), streak.under_way():
        streak.note(failed=False, answered=True)
        assert not streak.is_in_doubt


def test_messages_to_servers_of_their_own_are_never_given_up():
    streak = Streak(None)
    with streak.under_way():
        streak.note(failed=True, answered=False)
        assert not streak.is_in_doubt
        assert not streak.is_hopeless


def test_the_next_is_begun_when_it_is_decided():
    streak = Streak(2)
    with ThreadPoolExecutor(1) as pool:
        with streak.under_way():
            streak.note(failed=True, answered=False)
            begun = threading.Event()
            waiting = pool.submit(lambda: (begun.set(), streak.wait_for_those_under_way(), streak.is_hopeless))
            assert begun.wait(PATIENCE_S)
            streak.note(failed=True, answered=False)
        assert waiting.result(PATIENCE_S)[-1] is True


def test_a_fault_while_under_way_does_not_leave_the_others_waiting():
    streak = Streak(2)
    with contextlib.suppress(ValueError), streak.under_way():
        streak.note(failed=True, answered=False)
        raise ValueError
    streak.wait_for_those_under_way()
    assert not streak.is_hopeless
