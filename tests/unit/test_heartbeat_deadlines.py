"""What becomes of a heartbeat's key when its deadline has passed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from notifications.heartbeats.deadlines import UNWATCHED, Verdict, judge

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def verdict(**facts) -> Verdict:
    due_at = NOW - SECOND
    return judge(**{"due_at": due_at, "check_at": due_at, "is_watching": True, "waiting_since": None, "now": NOW, **facts})


def test_a_deadline_that_passed_is_missed():
    assert verdict() is Verdict.MISSING
    assert verdict(due_at=NOW, check_at=NOW) is Verdict.MISSING


def test_whoever_is_not_watched_misses_nothing():
    assert verdict(is_watching=False) is Verdict.ASLEEP


@pytest.mark.parametrize(("waiting", "expected"), [(-2, Verdict.WAIT), (-1, Verdict.WAIT), (0, Verdict.MISSING)])
def test_what_was_accepted_by_the_deadline_is_waited_for_and_nothing_later(waiting, expected):
    assert verdict(waiting_since=NOW + waiting * SECOND) is expected


def test_a_deadline_that_nobody_watched_begins_anew():
    assert verdict(check_at=NOW - UNWATCHED) is Verdict.MISSING
    assert verdict(check_at=NOW - UNWATCHED - SECOND) is Verdict.ANEW
    # one that waited for a backlog was watched, however long ago it was
    assert verdict(due_at=NOW - timedelta(hours=1)) is Verdict.MISSING
