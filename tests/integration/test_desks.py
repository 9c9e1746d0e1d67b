"""A channel that hangs takes its own desks, and no others."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest

from deliveries import desks
from notifications import tasks
from tenants.vocabulary import Channel

PATIENCE_S = 20


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    for name, value in (("_taken", defaultdict(int)), ("_hands", defaultdict(set)), ("_wanted", set()), ("_closed", False)):
        monkeypatch.setattr(desks, name, value)


@pytest.fixture
def hanging(monkeypatch):
    """Hand-overs of SMS begin, say so, and go on when told; those of other channels end at once."""
    begun, go_on, calls = threading.Semaphore(0), threading.Event(), []

    def dispatch(channel):
        calls.append(channel)
        if channel is Channel.SMS:
            begun.release()
            assert go_on.wait(PATIENCE_S)
        return 0

    monkeypatch.setattr(tasks, "dispatch", dispatch)
    monkeypatch.setattr(tasks.bells, "answer_send", lambda channel: None)
    yield begun, go_on, calls
    go_on.set()


def test_a_hanging_channel_leaves_the_others_their_threads(hanging):
    begun, go_on, calls = hanging
    with ThreadPoolExecutor(16) as pool:
        working = [pool.submit(tasks.send, Channel.SMS.value) for _ in range(desks.DESKS)]
        for _ in working:
            assert begun.acquire(timeout=PATIENCE_S)
        turned_away = [pool.submit(tasks.send, Channel.SMS.value) for _ in range(20)]
        for one in turned_away:
            one.result(PATIENCE_S)
        for channel in (Channel.EMAIL, Channel.PUSH, Channel.CHAT, Channel.WEBHOOK):
            pool.submit(tasks.send, channel.value).result(PATIENCE_S)
        assert not any(one.done() for one in working)
        assert calls.count(Channel.SMS) == desks.DESKS
        go_on.set()
        for one in working:
            one.result(PATIENCE_S)
    assert calls.count(Channel.SMS) == desks.DESKS + 1, "those turned away were not made up for, once"
    assert desks._taken[Channel.SMS] == 0


def test_a_failure_gives_the_desk_back(monkeypatch):
    def fail(channel):
        raise ConnectionError

    monkeypatch.setattr(tasks, "dispatch", fail)
    monkeypatch.setattr(tasks.bells, "answer_send", lambda channel: None)
    for _ in range(desks.DESKS + 1):
        with pytest.raises(ConnectionError):
            tasks.send(Channel.SMS.value)
    assert desks._taken[Channel.SMS] == 0


def test_beside_a_desk_that_waits_long_another_may_be_taken_and_not_without_end(monkeypatch):
    with contextlib.ExitStack() as waiting:
        for _ in range(desks.DESKS):
            assert desks.sit_down(Channel.SMS)
            waiting.enter_context(desks.in_hand(Channel.SMS, [desks.Party(1, 1)]))
        assert not desks.sit_down(Channel.SMS), "they have only begun"
        monkeypatch.setattr(desks, "SLOW_AFTER_S", 0.0)
        for _ in range(desks.MOST_DESKS - desks.DESKS):
            assert desks.sit_down(Channel.SMS)
            waiting.enter_context(desks.in_hand(Channel.SMS, [desks.Party(1, 1)]))
        assert not desks.sit_down(Channel.SMS), "a channel must not take all of the worker's threads"


def test_who_waited_long_and_was_replaced_gets_up_and_leaves_the_rest_to_them(monkeypatch):
    assert desks.sit_down(Channel.SMS)
    with desks.in_hand(Channel.SMS, []):
        monkeypatch.setattr(desks, "SLOW_AFTER_S", 0.0)
        for _ in range(desks.DESKS):
            assert desks.sit_down(Channel.SMS)
        assert not desks.sit_down(Channel.SMS)
    assert desks.may_get_up(Channel.SMS), "one too many"
    assert not desks.may_get_up(Channel.SMS), "somebody was turned away: look for work once more"
    assert desks.may_get_up(Channel.SMS)


def test_after_a_long_wait_there_may_be_work_that_was_passed_over(monkeypatch):
    monkeypatch.setattr(desks, "SLOW_AFTER_S", 0.0)
    assert desks.sit_down(Channel.SMS)
    with desks.in_hand(Channel.SMS, []):
        pass
    assert not desks.may_get_up(Channel.SMS)
    assert desks.may_get_up(Channel.SMS)


def test_a_process_that_is_to_end_serves_nobody_any_more(hanging):
    begun, go_on, calls = hanging
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(tasks.send, Channel.SMS.value)
        assert begun.acquire(timeout=PATIENCE_S)
        desks._wanted.add(Channel.SMS)
        desks.close()
        go_on.set()
        working.result(PATIENCE_S)
    tasks.send(Channel.SMS.value)
    assert calls == [Channel.SMS]
    assert desks._taken[Channel.SMS] == 0
