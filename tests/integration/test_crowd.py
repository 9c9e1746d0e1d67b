"""A flood does not pile chunks up in the pipeline's queue, where the urgent would wait behind them."""

from __future__ import annotations

import functools
import json

import pytest
from django.utils.timezone import now

from deliveries.queues import ENRICH_TASK, PIPELINE
from notifications import tasks
from notifications.claims import claim_events
from notifications.models import EventStatus
from tenants import redis
from tests.factories import EventFactory


def called() -> int:
    """Messages that call a worker to take up events."""
    return sum(json.loads(message)["headers"]["task"] == ENRICH_TASK for message in redis.client().lrange(PIPELINE, 0, -1))


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
    assert called() == 1


def test_in_a_crowd_nobody_more_is_called(more_than_a_claim):
    for _ in range(8):
        tasks.filter_.apply_async((b"",), serializer="msgpack")
    before = redis.client().llen(PIPELINE)
    tasks.enrich()
    assert (before, called()) == (8, 0)
    assert redis.client().llen(PIPELINE) == 9, "the chunk itself went on"
