"""Sending status events to a server that listens and verifies with the public Standard Webhooks library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils.timezone import now
from standardwebhooks import Webhook, WebhookVerificationError
from structlog.testing import capture_logs

from config.management.commands import run_scheduler
from deliveries import tasks
from deliveries.dispatch import dispatch as dispatch_deliveries
from deliveries.models import StatusEndpoint, StatusMessage
from deliveries.providers.kept import forget_providers
from deliveries.providers.webhook import WebhookProvider
from deliveries.states import Status
from deliveries.status_webhooks import claims
from deliveries.status_webhooks.claims import claim_messages, messages_are_due, prune_messages
from deliveries.status_webhooks.models import MessageState, new_signing_secret
from deliveries.status_webhooks.schedule import DELAYS_S, GIVE_UP_AFTER
from deliveries.status_webhooks.sending import dispatch
from deliveries.status_webhooks.services import rotate_secret
from tenants import redis
from tenants.ids import first_id_at
from tenants.vocabulary import Channel
from tests.doubles.webhook import WebhookDouble
from tests.factories import DeliveryFactory, EventFactory

SECRET = new_signing_secret()


@pytest.fixture(autouse=True)
def fresh(db, settings):
    settings.DEBUG = True
    redis.client().flushdb()
    forget_providers()
    yield
    forget_providers()


@pytest.fixture
def receiver():
    with WebhookDouble(secret=SECRET) as double:
        yield double


@pytest.fixture
def endpoint(tenant, receiver) -> StatusEndpoint:
    return an_endpoint(tenant, receiver)


def an_endpoint(tenant, receiver, path="/hook", **values) -> StatusEndpoint:
    return StatusEndpoint.objects.create(tenant=tenant, url=f"{receiver.url}{path}", secret=SECRET, **values)


def waiting(endpoint, count=1, **values) -> list[StatusMessage]:
    delivery = DeliveryFactory(tenant=endpoint.tenant)
    defaults = {
        "tenant": endpoint.tenant,
        "endpoint": endpoint,
        "delivery_id": delivery.pk,
        "status": Status.SENT,
        "payload": {"deliveryId": str(delivery.pk), "eventId": delivery.event_id, "status": "sent"},
    }
    return [StatusMessage.objects.create(**defaults | values) for _ in range(count)]


def send() -> int:
    """Everything that is due, as the task does."""
    claimed = 0
    while count := dispatch():
        claimed += count
    return claimed


def due_again(**values) -> None:
    """Let the time until the next attempt be over."""
    StatusMessage.objects.filter(**values).update(next_attempt_at=now() - timedelta(seconds=1))


def paths(receiver) -> list[str]:
    return [request.path for request in receiver.requests]


def test_from_the_delivery_to_the_tenants_server(tenant, receiver, endpoint):
    EventFactory(tenant=tenant, event_id="e1", metadata={"orderNumber": "A-7"})
    delivery = DeliveryFactory(
        tenant=tenant, event_id="e1", status=Status.PENDING, address="ok@simulator.invalid", sandbox=True, body="secret words"
    )
    dispatch_deliveries(Channel.EMAIL)
    tasks.send_status_webhooks()
    message = StatusMessage.objects.get()
    assert (message.state, message.response_code, message.response_excerpt) == (MessageState.SENT, "200", "thank you")
    assert (message.attempt_count, message.lease_until) == (1, None)
    assert message.done_at is not None
    (request,) = receiver.received
    Webhook(SECRET).verify(request.body, dict(request.headers))
    assert request.headers["webhook-id"] == str(message.pk)
    posted = request.json
    assert datetime.fromisoformat(posted.pop("timestamp")) == message.created_at.astimezone(UTC)
    assert posted == {
        "type": "delivery.delivered",
        "data": {
            "deliveryId": str(delivery.pk),
            "eventId": "e1",
            "eventType": "account",
            "userId": "user_1",
            "channel": "email",
            "status": "delivered",
            "reason": None,
            "provider": message.payload["provider"],
            "attemptCount": 1,
            "metadata": {"orderNumber": "A-7"},
        },
    }
    assert b"secret words" not in request.body
    assert b"simulator.invalid" not in request.body
    assert send() == 0


def test_after_a_rotation_messages_are_signed_with_both_secrets_for_a_day(receiver, endpoint):
    new = rotate_secret(endpoint=endpoint).secret
    waiting(endpoint)
    send()
    StatusEndpoint.objects.update(old_secret_until=now())
    waiting(endpoint)
    receiver.secret = ""
    send()
    during, after = receiver.received
    for request, secret in ((during, SECRET), (during, new), (after, new)):
        Webhook(secret).verify(request.body, dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(after.body, dict(after.headers))


def test_the_metadata_is_that_of_the_tenants_own_event(tenant, stranger, receiver, endpoint):
    EventFactory(tenant=stranger, event_id="e1", metadata={"orderNumber": "another's"})
    waiting(endpoint, payload={"eventId": "e1"})
    send()
    assert "metadata" not in receiver.received[0].json["data"]


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        ({"status": 500}, "http_500"),
        ({"status": 400}, "http_400"),
        ({"status": 302, "headers": {"Location": "/elsewhere"}}, "http_302"),
        ({"hang_up": True}, "connection_lost"),
        ({"delay_s": 1}, "timeout"),
    ],
)
def test_whatever_is_not_2xx_is_tried_again_under_the_same_id(monkeypatch, receiver, endpoint, behaviour, code):
    monkeypatch.setattr(WebhookProvider, "time_limit_s", 0.5)
    (message,) = waiting(endpoint)
    receiver.behave("/hook", **behaviour)
    began = now()
    send()
    message.refresh_from_db()
    assert (message.state, message.response_code, message.attempt_count) == (MessageState.PENDING, code, 1)
    assert 4 <= (message.next_attempt_at - began).total_seconds() < 30
    assert paths(receiver) == ["/hook"], "nor is a redirect followed"
    endpoint.refresh_from_db()
    assert endpoint.failing_since is not None
    receiver.behave("/hook")
    due_again()
    send()
    message.refresh_from_db()
    endpoint.refresh_from_db()
    assert (message.state, endpoint.failing_since) == (MessageState.SENT, None)
    assert {request.headers["webhook-id"] for request in receiver.requests} == {str(message.pk)}


def test_after_the_last_retry_it_has_failed(receiver, endpoint):
    (message,) = waiting(endpoint)
    receiver.behave("/hook", status=500)
    for _ in DELAYS_S:
        send()
        message.refresh_from_db()
        assert message.state == MessageState.PENDING
        due_again()
    send()
    message.refresh_from_db()
    assert (message.state, message.attempt_count) == (MessageState.FAILED, len(DELAYS_S) + 1)
    assert message.done_at is not None
    due_again()
    assert send() == 0


def test_retry_after_is_obeyed(receiver, endpoint):
    (message,) = waiting(endpoint)
    receiver.behave("/hook", status=503, headers={"Retry-After": "600"})
    send()
    message.refresh_from_db()
    assert 590 < (message.next_attempt_at - now()).total_seconds() <= 600


def test_a_worker_that_died_leaves_a_message_that_is_sent_again_under_its_id(receiver, endpoint):
    (message,) = waiting(endpoint)
    assert len(claim_messages()) == 1, "and here the worker dies"
    assert send() == 0
    assert not messages_are_due()
    StatusMessage.objects.update(lease_until=now() - timedelta(seconds=1))
    assert messages_are_due()
    send()
    message.refresh_from_db()
    assert (message.state, message.attempt_count) == (MessageState.SENT, 2)
    assert [request.headers["webhook-id"] for request in receiver.received] == [str(message.pk)]


def test_who_lost_the_lease_records_nothing(monkeypatch, receiver, endpoint):
    (message,) = waiting(endpoint)
    other = now() + timedelta(minutes=3)

    def taken_by_another(rows):
        StatusMessage.objects.update(lease_until=other)
        return claims.record_messages(rows=rows)

    monkeypatch.setattr("deliveries.status_webhooks.sending.record_messages", taken_by_another)
    dispatch()
    message.refresh_from_db()
    assert (message.state, message.lease_until) == (MessageState.PENDING, other)


def test_410_disables_at_once(receiver, endpoint):
    first, second = waiting(endpoint, 2)
    StatusMessage.objects.filter(pk=second.pk).update(next_attempt_at=now() + timedelta(minutes=1))
    receiver.behave("/hook", status=410)
    with capture_logs() as logs:
        send()
    endpoint.refresh_from_db()
    assert (endpoint.is_active, endpoint.disabled_reason) == (False, "gone")
    assert endpoint.disabled_at is not None
    (said,) = [entry for entry in logs if entry["event"] == "status_endpoint_disabled"]
    assert (said["endpoint_id"], said["tenant_id"], said["reason"]) == (str(endpoint.pk), endpoint.tenant_id, "gone")
    first.refresh_from_db()
    assert first.state == MessageState.FAILED
    due_again()
    assert send() == 0, "nothing is sent to a disabled one"
    assert not messages_are_due()
    StatusEndpoint.objects.update(is_active=True)
    receiver.behave("/hook")
    assert send() == 1, "what waited is sent once it is enabled"


@pytest.mark.parametrize(("failing_for", "disabled"), [(timedelta(days=4), False), (GIVE_UP_AFTER + timedelta(hours=1), True)])
def test_one_that_fails_for_days_is_disabled(receiver, endpoint, failing_for, disabled):
    waiting(endpoint)
    since = now() - failing_for
    StatusEndpoint.objects.update(failing_since=since)
    receiver.behave("/hook", status=500)
    send()
    endpoint.refresh_from_db()
    assert endpoint.failing_since == since
    assert endpoint.is_active is not disabled
    assert endpoint.disabled_reason == ("failing" if disabled else "")
    assert (endpoint.disabled_at is not None) == disabled


def test_one_success_ends_a_long_time_of_failing(receiver, endpoint):
    waiting(endpoint)
    StatusEndpoint.objects.update(failing_since=now() - GIVE_UP_AFTER - timedelta(hours=1))
    send()
    endpoint.refresh_from_db()
    assert (endpoint.is_active, endpoint.failing_since) == (True, None)


def test_claims_are_shared_between_endpoints(tenant, stranger, receiver):
    flooded, small = an_endpoint(tenant, receiver, "/flooded"), an_endpoint(stranger, receiver, "/small")
    waiting(flooded, 100, next_attempt_at=now() - timedelta(hours=1))
    waiting(small, 3)
    claimed = [message.endpoint_id for message in claim_messages()]
    assert claimed.count(small.pk) == 3
    assert claimed.count(flooded.pk) == claims.AT_ONCE
    assert claim_messages() == [], "an endpoint gets so many at once, by all workers together"


def test_one_that_fails_gets_one_at_a_time_and_all_once_it_succeeds(tenant, receiver, endpoint):
    waiting(endpoint, 10)
    StatusEndpoint.objects.update(failing_since=now())
    assert len(claim_messages()) == 1
    assert claim_messages() == []
    StatusMessage.objects.update(lease_until=None)
    assert dispatch() == 1
    assert dispatch() == 9


def test_a_dead_endpoint_holds_up_nobody_elses_record(monkeypatch, tenant, stranger, receiver):
    """What is answered is written down while another's request still hangs."""
    waiting(an_endpoint(tenant, receiver, "/dead"))
    (quick,) = waiting(an_endpoint(stranger, receiver, "/quick"))
    receiver.behave("/dead", delay_s=1)
    recorded: list[set] = []

    def noting(rows):
        recorded.append({row.id for row in rows})
        return claims.record_messages(rows=rows)

    monkeypatch.setattr("deliveries.status_webhooks.sending.record_messages", noting)
    assert dispatch() == 2
    assert recorded[0] == {quick.pk}
    assert len(recorded) == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"])
def test_no_address_of_the_inside_is_reached(settings, monkeypatch, tenant, receiver, host):
    """Looked at again at every post: a name may lead elsewhere by then."""
    settings.DEBUG = False
    (message,) = waiting(StatusEndpoint.objects.create(tenant=tenant, url=f"https://{host}:{receiver.port}/hook"))
    send()
    message.refresh_from_db()
    assert (message.state, message.response_code) == (MessageState.PENDING, "forbidden_address")
    assert receiver.connections == 0


def test_in_production_it_is_encrypted(settings, receiver, endpoint):
    settings.DEBUG = False
    (message,) = waiting(endpoint)
    send()
    message.refresh_from_db()
    assert message.response_code == "invalid_url"
    assert receiver.connections == 0


def test_what_is_done_is_kept_for_a_week(monkeypatch, endpoint):
    week_ago = now() - claims.KEPT_FOR
    old, young = week_ago - timedelta(minutes=1), week_ago + timedelta(minutes=1)

    def made(moment, number, **values):
        key = type(endpoint.pk)(int=first_id_at(moment).int + number)
        return waiting(endpoint, id=key, created_at=moment, **values)[0].pk

    gone = {made(old, 1, state=MessageState.SENT), made(old, 2, state=MessageState.FAILED)}
    kept = {made(old, 3), made(young, 4, state=MessageState.SENT), made(young, 5, state=MessageState.FAILED)}
    monkeypatch.setattr(claims, "PRUNED_AT_ONCE", 1)
    assert [prune_messages() for _ in range(3)] == [1, 1, 0]
    assert set(StatusMessage.objects.values_list("pk", flat=True)) == kept
    assert gone.isdisjoint(kept)
    StatusEndpoint.objects.all().delete()
    prune_messages()
    assert set(StatusMessage.objects.values_list("pk", flat=True)) == {
        one for one in kept if one.int >> 80 >= first_id_at(young).int >> 80
    }


def test_the_scheduler_prunes_and_rings(monkeypatch, endpoint):
    old = now() - claims.KEPT_FOR - timedelta(minutes=1)
    waiting(endpoint, id=first_id_at(old), created_at=old, state=MessageState.SENT)
    (kept,) = waiting(endpoint)
    StatusEndpoint.objects.update(old_secret="whsec_old", old_secret_until=now())
    # The test's connection stays open: its transaction would end with it.
    monkeypatch.setattr(run_scheduler, "close_old_connections", lambda: None)
    run_scheduler._turn(run_scheduler.Prober(), run_scheduler.Counting())
    assert list(StatusMessage.objects.values_list("pk", flat=True)) == [kept.pk]
    assert StatusEndpoint.objects.get().old_secret == ""
    assert redis.client().exists("bell:status_webhooks")
