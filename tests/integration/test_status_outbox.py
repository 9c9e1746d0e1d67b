"""The outbox of the status webhooks: one message for each change of state that an endpoint wants, on every path."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from deliveries.dispatch import dispatch
from deliveries.inbox import services as inbox
from deliveries.inbox.selectors import Inbox
from deliveries.models import Delivery, StatusEndpoint, StatusMessage
from deliveries.providers.kept import forget_providers
from deliveries.replay import replay
from deliveries.services import Changed
from deliveries.states import Status
from deliveries.status_webhooks.models import ANNOUNCED
from deliveries.status_webhooks.outbox import announcing
from notifications.sweep import sweep
from preferences.models import Suppression
from tenants import redis
from tenants.vocabulary import Channel
from tests.factories import DeliveryFactory, PreferenceFactory, RecipientFactory, TemplateFactory


@pytest.fixture(autouse=True)
def fresh(db):
    redis.client().flushdb()
    yield
    forget_providers()


@pytest.fixture
def endpoint(tenant) -> StatusEndpoint:
    return StatusEndpoint.objects.create(tenant=tenant, url="https://example.com/hook")


@pytest.fixture
def templates(tenant):
    for channel in Channel:
        TemplateFactory(tenant=tenant, channel=channel)


@pytest.fixture
def ada(tenant):
    return RecipientFactory(tenant=tenant, user_id="ada", email="ok@simulator.invalid", phone="+15005550003")


@pytest.fixture(autouse=True)
def developing(settings):
    settings.DEBUG = True


def post(api, *channels, **values):
    event = {"eventId": "e1", "eventType": "account", "userId": "ada", "channels": channels, "data": {"userName": "Ada"}}
    response = api.post("/api/events", event | values, format="json")
    assert response.status_code == 202, response.content


def announced(endpoint) -> list[tuple[str, str]]:
    """(channel, status) of each message, which must agree with its own columns."""
    messages = list(StatusMessage.objects.filter(endpoint=endpoint))
    assert all(one.type == f"delivery.{one.payload['status']}" for one in messages)
    return sorted((one.payload["channel"], one.payload["status"]) for one in messages)


def test_what_the_payload_says_and_what_it_keeps_to_itself(api, drain, templates, ada, endpoint):
    post(api, "email")
    drain()
    delivery = Delivery.objects.get()
    (message,) = StatusMessage.objects.all()
    assert message.payload == {
        "deliveryId": str(delivery.pk),
        "eventId": "e1",
        "eventType": "account",
        "userId": "ada",
        "channel": "email",
        "status": "delivered",
        "reason": None,
        "provider": delivery.provider,
        "attemptCount": 1,
    }
    assert (message.tenant_id, message.delivery_id, message.status) == (delivery.tenant_id, delivery.pk, Status.DELIVERED)


@pytest.mark.parametrize(
    ("values", "channel", "status", "reason"),
    [
        ({}, "in_app", "sent", None),
        ({}, "email", "delivered", None),
        ({}, "sms", "failed", "simulated_permanent"),
        ({}, "chat", "suppressed", "no_address"),
        ({"eventType": "unknown"}, "email", "failed", "no_template"),
        ({"data": {}}, "email", "failed", "missing_variable"),
    ],
)
def test_the_pipelines_outcomes(api, drain, templates, ada, endpoint, values, channel, status, reason):
    post(api, channel, **values)
    drain()
    assert announced(endpoint) == [(channel, status)]
    assert StatusMessage.objects.get().payload["reason"] == reason


def test_an_opt_out_and_a_suppressed_address(api, drain, templates, ada, endpoint, tenant):
    PreferenceFactory(tenant=tenant, user_id="ada", channel=Channel.EMAIL, enabled=False)
    Suppression.objects.create(tenant=tenant, channel=Channel.SMS, address=ada.phone)
    post(api, "email", "sms")
    drain()
    assert announced(endpoint) == [("email", "suppressed"), ("sms", "suppressed")]


def test_expired_before_it_was_written(api, drain, templates, ada, endpoint):
    from notifications.models import Event

    post(api, "email", expiresAt=(now() + timedelta(hours=1)).isoformat())
    Event.objects.update(expires_at=now() - timedelta(seconds=1))
    drain()
    assert announced(endpoint) == [("email", "expired")]


def test_expired_while_it_waited(tenant, endpoint):
    DeliveryFactory(tenant=tenant, status=Status.PENDING, expires_at=now() - timedelta(seconds=1))
    dispatch(Channel.EMAIL)
    assert announced(endpoint) == [("email", "expired")]


def test_retries_are_not_announced_their_end_is_and_so_is_a_replays(tenant, endpoint):
    delivery = DeliveryFactory(tenant=tenant, status=Status.PENDING, address="down@simulator.invalid", sandbox=True)
    while Delivery.objects.get().status != Status.FAILED:
        assert announced(endpoint) == []
        Delivery.objects.update(next_attempt_at=now())
        assert dispatch(Channel.EMAIL) == 1
    assert announced(endpoint) == [("email", "failed")]
    Delivery.objects.update(address="ok@simulator.invalid")
    replay(tenant_id=tenant.pk, ids=[delivery.pk])
    assert announced(endpoint) == [("email", "failed")]
    dispatch(Channel.EMAIL)
    assert announced(endpoint) == [("email", "delivered"), ("email", "failed")]


def test_bounced_at_once(tenant, endpoint):
    DeliveryFactory(tenant=tenant, status=Status.PENDING, address="bounce@simulator.invalid", sandbox=True)
    dispatch(Channel.EMAIL)
    assert announced(endpoint) == [("email", "bounced")]


def test_a_cancel(api, tenant, endpoint):
    from tests.factories import EventFactory

    EventFactory(tenant=tenant, event_id="e1")
    DeliveryFactory(tenant=tenant, event_id="e1", status=Status.PENDING)
    DeliveryFactory(tenant=tenant, event_id="e1", user_id="other", status=Status.SENT)
    assert api.delete("/api/events/e1").json()["canceledDeliveries"] == 1
    assert announced(endpoint) == [("email", "canceled")]
    api.delete("/api/events/e1")
    assert announced(endpoint) == [("email", "canceled")]


@pytest.mark.parametrize("mark", ["read", "seen", "all_read"])
def test_an_item_that_was_looked_at_has_arrived_once(tenant, endpoint, mark):
    item = DeliveryFactory(tenant=tenant, channel=Channel.IN_APP, address="", sent_at=now())
    of = Inbox(tenant_id=tenant.pk, user_id=item.user_id)
    marks = {
        "read": lambda: inbox.mark_item(inbox=of, item_id=item.pk, read=True),
        "seen": lambda: inbox.mark_all_seen(inbox=of),
        "all_read": lambda: inbox.mark_all_read(inbox=of),
    }
    assert marks[mark]()
    assert announced(endpoint) == [("in_app", "delivered")]
    inbox.mark_item(inbox=of, item_id=item.pk, read=False)
    inbox.mark_all_read(inbox=of)
    inbox.mark_item(inbox=of, item_id=item.pk, archived=True)
    assert announced(endpoint) == [("in_app", "delivered")]


def test_only_the_wanted_states_to_active_endpoints_of_the_tenant(tenant, stranger, endpoint):
    url = "https://example.com/hook"
    failures = StatusEndpoint.objects.create(tenant=tenant, url=url, statuses=[Status.FAILED.value])
    paused = StatusEndpoint.objects.create(tenant=tenant, url=url, is_active=False)
    another = StatusEndpoint.objects.create(tenant=stranger, url=url)
    DeliveryFactory(tenant=tenant, status=Status.PENDING, address="ok@simulator.invalid", sandbox=True)
    DeliveryFactory(tenant=tenant, status=Status.PENDING, address="permanent@simulator.invalid", sandbox=True)
    dispatch(Channel.EMAIL)
    assert announced(endpoint) == [("email", "delivered"), ("email", "failed")]
    assert announced(failures) == [("email", "failed")]
    assert announced(paused) == announced(another) == []


@pytest.mark.parametrize("status", list(Status))
def test_the_helper_announces_changes_only_and_says_what_it_did(tenant, endpoint, status):
    """Whoever writes a statement of their own gets the same, e.g. for a provider's receipts."""
    delivery = DeliveryFactory(tenant=tenant, status=Status.PENDING)
    same = DeliveryFactory(tenant=tenant, status=status)
    with connection.cursor() as cursor:
        statement = announcing(
            "WITH r AS (SELECT id, status FROM deliveries_delivery WHERE id = ANY(%(ids)s) FOR UPDATE) "
            "UPDATE deliveries_delivery d SET status = %(status)s, error = 'said so' FROM r WHERE d.id = r.id",
            was="r.status",
            returning=["d.error", "r.status"],
        )
        cursor.execute(statement, {"ids": [delivery.pk, same.pk], "status": status.value})
        rows = cursor.fetchall()
    changes = status is not Status.PENDING and status in ANNOUNCED
    assert Changed.of(rows) == Changed({delivery.pk, same.pk}, announced=changes)
    assert {row[0]: row[2:] for row in rows} == {delivery.pk: ("said so", 0), same.pk: ("said so", status.value)}
    assert [message.delivery_id for message in StatusMessage.objects.all()] == ([delivery.pk] if changes else [])


def test_a_rollback_takes_the_messages_back(tenant, endpoint, monkeypatch):
    """The outbox is in the transaction of the change."""
    DeliveryFactory(tenant=tenant, status=Status.PENDING, address="ok@simulator.invalid", sandbox=True)
    monkeypatch.setattr("deliveries.dispatch.create_attempts", lambda *, rows: rows and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        dispatch(Channel.EMAIL)
    assert Delivery.objects.get().status == Status.SENDING
    assert announced(endpoint) == []


def test_it_costs_no_further_statement(tenant):
    def statements() -> int:
        DeliveryFactory(tenant=tenant, status=Status.PENDING, address="ok@simulator.invalid", sandbox=True)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            dispatch(Channel.EMAIL)
        return len(captured)

    statements()
    without = statements()
    StatusEndpoint.objects.create(tenant=tenant, url="https://example.com/hook")
    assert statements() == without
    assert StatusMessage.objects.count() == 1


def test_the_bell_rings_only_if_somebody_wants_to_hear(tenant):
    def rung() -> bool:
        redis.client().flushdb()
        DeliveryFactory(tenant=tenant, status=Status.PENDING, address="ok@simulator.invalid", sandbox=True)
        dispatch(Channel.EMAIL)
        return bool(redis.client().exists("bell:status_webhooks"))

    assert not rung()
    endpoint = StatusEndpoint.objects.create(tenant=tenant, url="https://example.com/hook")
    assert rung()
    redis.client().flushdb()
    sweep(now=now())
    assert redis.client().exists("bell:status_webhooks"), "a lost bell is noticed"
    endpoint.is_active = False
    endpoint.save()
    redis.client().flushdb()
    sweep(now=now())
    assert not redis.client().exists("bell:status_webhooks"), "what waits for a disabled endpoint is not due"


@pytest.mark.django_db(transaction=True)
def test_tabs_that_mark_at_once_announce_once(tenant, endpoint):
    """Each waits for the row, and finds what the one before it made of it; outside a transaction, as requests do."""
    items = [DeliveryFactory(tenant=tenant, channel=Channel.IN_APP, address="", sent_at=now()) for _ in range(20)]
    of = Inbox(tenant_id=tenant.pk, user_id=items[0].user_id)

    def mark(number: int) -> None:
        try:
            if number % 2:
                inbox.mark_all_seen(inbox=of)
            else:
                inbox.mark_item(inbox=of, item_id=items[number].pk, read=True)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(mark, range(16)))
    assert announced(endpoint) == [("in_app", "delivered")] * 20
    assert StatusMessage.objects.values("delivery_id").distinct().count() == 20
