"""Intake is closed while too many events wait, and only for those who are the reason."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now
from redis.exceptions import ConnectionError as RedisConnectionError

from notifications import backpressure
from notifications.backpressure import Closed, count_and_say
from notifications.models import Event, EventStatus
from tenants import redis
from tests.factories import EventFactory, TenantFactory

EVENT = {"eventType": "account", "userId": "u"}


@pytest.fixture(autouse=True)
def limit(settings, monkeypatch):
    """Ten events may wait, five of one tenant; and every request looks."""
    settings.BACKLOG_LIMIT = 10
    redis.client().flushdb()
    monkeypatch.setattr(backpressure, "_LOOKED_AT_EVERY_S", -1.0)
    yield
    monkeypatch.setattr(backpressure, "_seen", (0.0, Closed()))


def waiting(tenant, count, **values):
    for _ in range(count):
        EventFactory(tenant=tenant, **{"status": EventStatus.ACCEPTED, "due_at": now(), **values})


def test_below_the_limit_it_is_open(api, tenant):
    waiting(tenant, 4)
    waiting(tenant, 20, due_at=now() + timedelta(hours=1))
    waiting(tenant, 20, status=EventStatus.PROCESSED)
    assert count_and_say() == Closed()
    assert api.post("/api/events", EVENT).status_code == 202


def test_a_flood_closes_it_to_its_tenant_alone(api, stranger_api, tenant):
    waiting(tenant, 5)
    assert count_and_say() == Closed(tenants=frozenset({tenant.pk}))
    refused = api.post("/api/events", EVENT)
    assert (refused.status_code, refused["Retry-After"]) == (503, "5")
    assert "waiting" in refused.json()["detail"]
    assert api.post("/api/events/bulk", {"events": [EVENT, EVENT | {"priority": "urgent"}]}).status_code == 503
    assert Event.objects.count() == 5
    assert stranger_api.post("/api/events", EVENT).status_code == 202


def test_the_urgent_get_in(api, tenant):
    waiting(tenant, 9)
    count_and_say()
    assert api.post("/api/events", EVENT | {"priority": "urgent"}).status_code == 202
    assert api.post("/api/events/bulk", {"events": [EVENT | {"priority": "urgent"}]}).status_code == 202


def test_one_tenants_flood_however_high_does_not_turn_away_the_others(api, stranger_api, tenant, stranger):
    waiting(tenant, 12)
    waiting(stranger, 3)
    assert count_and_say() == Closed(tenants=frozenset({tenant.pk}))
    assert api.post("/api/events", EVENT).status_code == 503
    assert stranger_api.post("/api/events", EVENT).status_code == 202


def test_enough_of_all_close_it_to_everybody(api, stranger_api, tenant, stranger):
    waiting(tenant, 7)
    waiting(stranger, 4)
    waiting(TenantFactory(), 1)
    assert count_and_say().everybody
    assert stranger_api.post("/api/events", EVENT).status_code == 503


def test_it_opens_when_the_work_is_done(api, tenant):
    waiting(tenant, 5)
    count_and_say()
    assert api.post("/api/events", EVENT).status_code == 503
    Event.objects.update(status=EventStatus.PROCESSED)
    count_and_say()
    assert api.post("/api/events", EVENT).status_code == 202


def test_what_is_said_is_not_said_for_ever(tenant):
    waiting(tenant, 5)
    count_and_say()
    assert 0 < redis.client().ttl("intake:closed") <= 20


def test_without_redis_nobody_is_turned_away(api, tenant, monkeypatch):
    waiting(tenant, 5)
    count_and_say()
    assert api.post("/api/events", EVENT).status_code == 503

    class Gone:
        def __getattr__(self, _name):
            raise RedisConnectionError("gone")

    monkeypatch.setattr(backpressure.redis, "client", Gone)
    assert api.post("/api/events", EVENT).status_code == 202
    assert count_and_say().tenants == {tenant.pk}
