"""Who is erased is erased from status messages too."""

from __future__ import annotations

import pytest
from django.db import connection
from django.urls import reverse
from django.utils.timezone import now

from deliveries.models import StatusEndpoint, StatusMessage
from deliveries.providers.kept import forget_providers
from deliveries.states import Status
from deliveries.status_webhooks.erasure import _FORGET
from deliveries.status_webhooks.models import MessageState
from deliveries.status_webhooks.sending import dispatch
from tenants import redis
from tests.doubles.webhook import WebhookDouble
from tests.factories import DeliveryFactory, RecipientFactory
from tests.staff import superuser_client

PLACE = "/api/recipients/ada"


@pytest.fixture(autouse=True)
def fresh(db, settings):
    settings.DEBUG = True
    redis.client().flushdb()
    yield
    forget_providers()


@pytest.fixture
def receiver():
    with WebhookDouble() as double:
        yield double


@pytest.fixture
def endpoint(tenant, receiver) -> StatusEndpoint:
    return StatusEndpoint.objects.create(tenant=tenant, url=f"{receiver.url}/hook")


def message_of(endpoint, user_id="ada", **values) -> StatusMessage:
    delivery = DeliveryFactory(tenant=endpoint.tenant, user_id=user_id)
    payload = {"deliveryId": str(delivery.pk), "eventId": delivery.event_id, "userId": user_id, "status": "sent"}
    defaults = {"tenant": endpoint.tenant, "delivery_id": delivery.pk, "status": Status.SENT, "payload": payload}
    return StatusMessage.objects.create(endpoint=endpoint, **defaults | values)


def user_ids() -> list[str | None]:
    return [message.payload["userId"] for message in StatusMessage.objects.order_by("id")]


def test_the_user_id_goes_from_all_messages_of_the_tenant_and_from_no_other(api, tenant, stranger, endpoint):
    RecipientFactory(tenant=tenant, user_id="ada")
    done = {"done_at": now(), "response_code": "400", "response_excerpt": "I know no ada"}
    failed = message_of(endpoint, state=MessageState.FAILED, **done)
    message_of(endpoint, state=MessageState.SENT)
    message_of(endpoint)
    elsewhere = StatusEndpoint.objects.create(tenant=stranger, url=endpoint.url)
    theirs, bobs = message_of(elsewhere, **done), message_of(endpoint, user_id="bob", **done)
    assert api.delete(PLACE).status_code == 204
    assert user_ids() == [None, None, None, "ada", "bob"]
    before = failed.payload
    failed.refresh_from_db()
    assert failed.payload == before | {"userId": None}
    assert (failed.state, failed.response_code, failed.response_excerpt) == (MessageState.FAILED, "400", "")
    for other in (theirs, bobs):
        other.refresh_from_db()
        assert other.response_excerpt == "I know no ada"


def test_what_waits_is_sent_without_the_user_id(api, tenant, receiver, endpoint):
    RecipientFactory(tenant=tenant, user_id="ada")
    message = message_of(endpoint)
    api.delete(PLACE)
    dispatch()
    (request,) = receiver.received
    assert request.json["data"] == message.payload | {"userId": None}
    assert b"ada" not in request.body
    message.refresh_from_db()
    assert message.state == MessageState.SENT


def test_an_erasure_can_be_repeated_for_what_was_announced_since(api, tenant, stranger_api, endpoint):
    RecipientFactory(tenant=tenant, user_id="ada")
    assert api.delete(PLACE).status_code == 204
    message_of(endpoint)
    assert stranger_api.delete(PLACE).status_code == 404
    assert user_ids() == ["ada"]
    assert [api.delete(PLACE).status_code for _ in range(2)] == [204, 404]
    assert user_ids() == [None]


def test_staff_erase_as_the_api_does(tenant, endpoint):
    recipient = RecipientFactory(tenant=tenant, user_id="ada")
    message_of(endpoint)
    page = reverse("admin:preferences_recipient_delete", args=[recipient.pk])
    assert superuser_client().post(page, {"post": "yes"}).status_code == 302
    assert user_ids() == [None]


def test_the_messages_of_a_user_are_found_through_an_index(tenant, endpoint):
    message_of(endpoint)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {_FORGET}", [tenant.pk, "ada"])
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "status_message_by_user" in plan
    assert "payload ->> 'userId'" in plan.partition("status_message_by_user")[2].partition("Cond")[2]
