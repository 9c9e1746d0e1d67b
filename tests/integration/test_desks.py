"""A channel that hangs takes its own desks, and no others."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from deliveries import desks
from notifications import tasks
from tenants.vocabulary import Channel

PATIENCE_S = 20


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
