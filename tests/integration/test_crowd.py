"""A flood does not pile up calls for workers: as many wait as could be answered at once."""

from __future__ import annotations

import functools

import pytest
from django.utils.timezone import now

from deliveries import bells
from deliveries.queues import PIPELINE
from notifications import tasks
from notifications.claims import claim_events
from notifications.models import EventStatus
from tenants import redis
from tests.factories import EventFactory


def waiting() -> dict[str, int]:
    """Messages in Redis, by list: kombu keeps a queue's messages of each priority in one of its own."""
    names = [name.decode() for name in redis.client().keys(f"{PIPELINE}*")]
    return {name: redis.client().llen(name) for name in names}


@pytest.fixture
def more_than_a_claim(tenant, monkeypatch):
    redis.client().flushdb()
    for _ in range(3):
        EventFactory(tenant=tenant, status=EventStatus.ACCEPTED, due_at=now())
    monkeypatch.setattr(tasks, "claim_events", functools.partial(claim_events, limit=1))
    yield
    redis.client().flushdb()


def test_more_workers_join_in(more_than_a_claim):
    tasks.enrich()
    assert waiting() == {PIPELINE: 1, bells._UNANSWERED: 1}, "a chunk on its way, and a bell"


def test_while_enough_are_called_nobody_more_is(more_than_a_claim):
    for _ in range(bells._ENOUGH):
        assert bells.ring_enrich(again=True)
    tasks.enrich()
    assert waiting() == {PIPELINE: 1, bells._UNANSWERED: bells._ENOUGH}
