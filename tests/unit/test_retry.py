from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.providers.messages import Failed, Failure
from deliveries.retry import GiveUp, Retry, RetryPolicy, decide

NOW = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = RetryPolicy()


def failed(failure=Failure.TRANSIENT, retry_after_s=None):
    return Failed(failure=failure, code="x", message="y", retry_after_s=retry_after_s)


def ask(outcome, retries=0, chance=0.0, expires_at=None, attempt=1, age=timedelta(), policy=POLICY):
    return decide(
        outcome,
        attempt=attempt,
        retries=retries,
        created_at=NOW - age,
        expires_at=expires_at,
        now=NOW,
        chance=chance,
        policy=policy,
    )


@pytest.mark.parametrize(("retries", "wait_s"), [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16)])
def test_the_waits_double(retries, wait_s):
    assert ask(failed(), retries) == Retry(NOW + timedelta(seconds=wait_s))


def test_the_sixth_failure_is_the_last():
    assert ask(failed(), 5) == GiveUp("retries_exhausted")


def test_permanent_is_not_tried_again():
    assert ask(failed(Failure.PERMANENT)) == GiveUp("permanent")


def test_retry_after_is_obeyed():
    assert ask(failed(Failure.THROTTLED, 30)) == Retry(NOW + timedelta(seconds=30), is_charged=False)


def test_retry_after_does_not_shorten_the_wait():
    assert ask(failed(Failure.THROTTLED, 0.1)) == Retry(NOW + timedelta(seconds=1), is_charged=False)


def test_nothing_is_tried_after_its_expiry():
    assert ask(failed(), expires_at=NOW + timedelta(seconds=1)) == GiveUp("expired")


@given(st.integers(0, 4), st.floats(0, 1, exclude_max=True), st.sampled_from([Failure.TRANSIENT, Failure.AMBIGUOUS]))
def test_jitter_only_lengthens_and_stays_in_bounds(retries, chance, failure):
    decision = ask(failed(failure), retries, chance)
    base = POLICY.delays_s[retries]
    assert isinstance(decision, Retry)
    assert base <= (decision.at - NOW).total_seconds() <= base * (1 + POLICY.jitter)


def test_what_was_not_begun_is_not_charged_and_comes_back_soon():
    held_back = Failed(failure=Failure.TRANSIENT, code="circuit_open", message="", retry_after_s=3, is_begun=False)
    assert ask(held_back, retries=5) == Retry(NOW + timedelta(seconds=3), is_charged=False)


def test_a_provider_that_asks_for_patience_for_ever_is_not_asked_for_ever():
    assert isinstance(ask(failed(Failure.THROTTLED), retries=5, attempt=99), Retry)
    assert ask(failed(Failure.THROTTLED), retries=5, attempt=100) == GiveUp("retries_exhausted")


def test_what_waits_for_days_is_given_up():
    held_back = Failed(failure=Failure.TRANSIENT, code="circuit_open", message="", is_begun=False)
    assert isinstance(ask(held_back, age=timedelta(days=3)), Retry)
    assert ask(held_back, age=timedelta(days=3, seconds=1)) == GiveUp("retries_exhausted")


def test_without_delays_there_is_one_attempt():
    assert ask(failed(), policy=RetryPolicy(delays_s=())) == GiveUp("retries_exhausted")
    assert isinstance(ask(failed(Failure.THROTTLED), policy=RetryPolicy(delays_s=())), Retry)


@given(
    st.sampled_from(Failure),
    st.integers(0, 8),
    st.integers(1, 120),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.floats(0, 90_000),
    st.none() | st.integers(1, 10_000),
    st.booleans(),
    st.lists(st.integers(1, 86_400), max_size=20).map(tuple),
)
def test_whatever_happens_it_ends(failure, retries, attempt, chance, retry_after_s, expires_in_s, begun, delays):
    """Never in the past, never after the expiry, never more retries than the policy has."""
    expires_at = None if expires_in_s is None else NOW + timedelta(seconds=expires_in_s)
    outcome = Failed(failure=failure, code="x", message="y", retry_after_s=retry_after_s, is_begun=begun)
    decision = ask(outcome, retries, chance, expires_at, attempt, policy=RetryPolicy(delays_s=delays))
    if isinstance(decision, Retry):
        assert decision.at > NOW
        assert expires_at is None or decision.at < expires_at
        assert failure is not Failure.PERMANENT
        assert attempt < POLICY.most_attempts
        assert not decision.is_charged or retries < len(delays)
