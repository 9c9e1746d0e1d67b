"""Circuits: opened together, probed by one, closed by success; in a real Redis."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from deliveries import breaker
from deliveries.breaker import Circuit, Closed, Open, Probe, Tally
from tenants import redis
from tenants.vocabulary import Channel

ACCOUNT = Circuit(Channel.SMS, "twilio", "one")
OTHER = Circuit(Channel.SMS, "twilio", "other:with:colons")


@pytest.fixture(autouse=True)
def fresh():
    redis.client().flushdb()


def ask(circuit=ACCOUNT):
    return breaker.ask([circuit])[circuit]


def report(answered=0, failed=0, wait_s=0.0, circuit=ACCOUNT):
    breaker.report({circuit: Tally(answered, failed, wait_s)})


def is_open():
    return isinstance(ask(), Open)


def left_alone_for():
    answer = ask()
    assert isinstance(answer, Open)
    return answer.for_s


def cooled_down():
    """Let the time for which it is left alone be over."""
    redis.client().hset(ACCOUNT.key, "open_until", 1)


def probed():
    cooled_down()
    assert ask() == Probe()


def test_at_first_it_is_closed():
    assert ask() == Closed()
    assert breaker.open_circuits() == {}


def test_enough_failures_open_it_for_everybody():
    report(failed=breaker.FAILURES - 1)
    assert ask() == Closed()
    report(failed=1)
    assert is_open()
    assert list(breaker.open_circuits()) == [ACCOUNT]
    assert ask(OTHER) == Closed()


def test_a_few_failures_among_many_calls_do_not():
    report(answered=breaker.FAILURES * 3)
    report(failed=breaker.FAILURES * 2)
    assert ask() == Closed()
    report(failed=breaker.FAILURES)
    assert is_open()


def test_one_alone_probes_and_success_closes():
    report(failed=breaker.FAILURES)
    probed()
    assert is_open()  # for the others
    report(answered=1)
    assert ask() == Closed()
    assert breaker.open_circuits() == {}


def test_each_failed_probe_doubles_the_time_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(breaker, "COOL_DOWN_S", 100)
    monkeypatch.setattr(breaker, "LONGEST_COOL_DOWN_S", 300)
    report(failed=breaker.FAILURES)
    waits = [left_alone_for()]
    for _ in range(3):
        probed()
        report(failed=1)
        waits.append(left_alone_for())
    assert waits == pytest.approx([100, 200, breaker.LONGEST_COOL_DOWN_S, breaker.LONGEST_COOL_DOWN_S], abs=5)


def test_a_probe_lost_with_its_worker_is_replaced():
    report(failed=breaker.FAILURES)
    probed()
    assert is_open()
    redis.client().hset(ACCOUNT.key, "probed_until", 1)
    assert ask() == Probe()


def test_a_probe_that_said_nothing_is_given_back():
    report(failed=breaker.FAILURES)
    probed()
    report()
    assert ask() == Probe()


def test_what_was_begun_before_it_opened_says_nothing_new(monkeypatch):
    monkeypatch.setattr(breaker, "COOL_DOWN_S", 100)
    monkeypatch.setattr(breaker, "LONGEST_COOL_DOWN_S", 300)
    report(failed=breaker.FAILURES)
    report(answered=50)
    report(failed=50)
    assert left_alone_for() <= 100


def test_a_provider_that_asks_everybody_to_wait_is_left_alone_so_long():
    report(wait_s=40)
    assert 30 < left_alone_for() <= 40


@pytest.mark.parametrize(("windows", "opens"), [(1, True), (2, False)])
def test_failures_of_long_ago_do_not_count(windows, opens):
    report(failed=breaker.FAILURES - 1)
    redis.client().hincrby(ACCOUNT.key, "window", -windows)
    report(failed=1)
    assert is_open() is opens


def test_without_redis_every_circuit_passes_for_closed(monkeypatch):
    class Gone:
        def pipeline(self, **_):
            raise RedisConnectionError("gone")

    monkeypatch.setattr(breaker.redis, "client", Gone)
    assert breaker.ask([ACCOUNT, OTHER]) == {ACCOUNT: Closed(), OTHER: Closed()}
    report(failed=100)


def test_a_circuits_key_can_be_read_back():
    assert Circuit.of_key(OTHER.key) == OTHER
