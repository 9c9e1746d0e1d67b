"""What a caller sees while a server behind the service is away."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection, connections
from django.utils.timezone import now
from rest_framework.test import APIRequestFactory

from deliveries import bells
from notifications import leases
from notifications.claims import claim_events
from notifications.models import Event
from notifications.views import EventsView
from tenants import redis
from tests.factories import EventFactory

EVENT = {"eventType": "account", "userId": "u"}


@pytest.fixture
def no_redis(settings, monkeypatch):
    """A Redis that refuses connections."""
    settings.REDIS_URL = "redis://127.0.0.1:1"
    redis.client.cache_clear()
    monkeypatch.setattr(bells, "_silent_until", 0.0)
    yield
    redis.client.cache_clear()


def test_an_event_is_accepted_without_redis(api, no_redis):
    assert api.post("/api/events", EVENT).status_code == 202
    assert Event.objects.count() == 1


def test_after_a_failure_the_bell_is_left_alone_for_a_moment(no_redis):
    assert bells.ring_enrich() is False
    redis.client.cache_clear()
    before = bells._silent_until
    assert bells.ring_enrich() is False
    assert bells._silent_until == before  # it was not tried again


def test_without_the_database_the_answer_is_503_and_says_when_to_come_back():
    class NoDatabase(EventsView):
        authentication_classes = ()
        permission_classes = ()

        def post(self, request):
            raise OperationalError("connection refused")

    response = NoDatabase.as_view()(APIRequestFactory().post("/api/events", EVENT))
    assert (response.status_code, response["Retry-After"]) == (503, "2")
    assert response.data["title"] == "Service Unavailable"


@pytest.mark.django_db(transaction=True)
def test_events_are_given_back_over_a_new_connection_if_the_database_ended_the_old(tenant):
    event = EventFactory(tenant=tenant)
    claim = claim_events(now=now())
    with connections.create_connection("default").temporary_connection() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
    leases.give_back([event.pk], claim.lease_id)
    event.refresh_from_db()
    assert (event.lease_until, event.lease_id, event.attempt_count) == (None, None, 0)


@pytest.mark.django_db(transaction=True)
def test_a_database_that_stays_away_is_not_waited_for_without_end(tenant, monkeypatch):
    monkeypatch.setattr(leases, "_PATIENCE", timedelta())
    event = EventFactory(tenant=tenant)
    claim = claim_events(now=now())
    with connections.create_connection("default").temporary_connection() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
    with pytest.raises(OperationalError):
        leases.give_back([event.pk], claim.lease_id)
    connection.close()
