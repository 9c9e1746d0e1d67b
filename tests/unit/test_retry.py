from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.providers.base import Failed, Failure
from deliveries.retry import GiveUp, Retry, RetryPolicy, decide

NOW = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = RetryPolicy()


def failed(failure=Failure.TRANSIENT, retry_after_s=None):
    return Failed(failure=failure, code="x", message="y", retry_after_s=retry_after_s)


def ask(outcome, attempt=1, chance=0.0, expires_at=None):
    return decide(outcome, attempt=attempt, now=NOW, chance=chance, expires_at=expires_at, policy=POLICY)


@pytest.mark.parametrize(("attempt", "wait_s"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16)])
def test_the_waits_double(attempt, wait_s):
    assert ask(failed(), attempt) == Retry(NOW + timedelta(seconds=wait_s))


def test_the_sixth_failure_is_the_last():
    assert ask(failed(), 6) == GiveUp("retries_exhausted")


def test_permanent_is_not_tried_again():
    assert ask(failed(Failure.PERMANENT)) == GiveUp("permanent")


def test_retry_after_is_obeyed():
    assert ask(failed(Failure.THROTTLED, 30)) == Retry(NOW + timedelta(seconds=30))


def test_retry_after_does_not_shorten_the_wait():
    assert ask(failed(Failure.THROTTLED, 0.1)) == Retry(NOW + timedelta(seconds=1))


def test_nothing_is_tried_after_its_expiry():
    assert ask(failed(), expires_at=NOW + timedelta(seconds=1)) == GiveUp("expired")


@given(st.integers(1, 5), st.floats(0, 1, exclude_max=True), st.sampled_from([Failure.TRANSIENT, Failure.AMBIGUOUS]))
def test_jitter_only_lengthens_and_stays_in_bounds(attempt, chance, failure):
    decision = ask(failed(failure), attempt, chance)
    base = POLICY.delays_s[attempt - 1]
    assert isinstance(decision, Retry)
    assert base <= (decision.at - NOW).total_seconds() <= base * (1 + POLICY.jitter)
