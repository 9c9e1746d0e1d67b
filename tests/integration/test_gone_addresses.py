"""Addresses that a provider says, when it is handed a message, are gone for good."""

from __future__ import annotations

import pytest

from deliveries import handover
from deliveries.dispatch import dispatch
from deliveries.models import Delivery
from deliveries.providers.kept import forget_providers
from deliveries.states import Status
from preferences.models import Device, Suppression
from tenants import redis
from tenants.models import ProviderAccount
from tenants.vocabulary import Channel
from tests.doubles.fcm import FcmDouble
from tests.doubles.smtp import SmtpDouble
from tests.factories import DeliveryFactory, DeviceFactory, RecipientFactory


@pytest.fixture(autouse=True)
def fresh(db):
    redis.client().flushdb()
    yield
    forget_providers()


@pytest.fixture
def fcm(settings):
    with FcmDouble() as double:
        settings.FCM_CREDENTIALS, settings.FCM_API_URL = double.credentials, double.url
        yield double


@pytest.fixture
def smtp(tenant, stranger):
    with SmtpDouble() as double:
        for one in (tenant, stranger):
            credentials = {"host": double.host, "port": double.port, "security": "none"}
            ProviderAccount.objects.create(tenant=one, channel=Channel.EMAIL, kind="smtp", name="smtp", credentials=credentials)
        yield double


def listed():
    return set(Suppression.objects.values_list("tenant__slug", "channel", "address", "reason"))


def push(tenant, *tokens, user_id="user_1", **values):
    return DeliveryFactory(
        tenant=tenant, channel=Channel.PUSH, status=Status.PENDING, address=" ".join(tokens), user_id=user_id, **values
    )


def test_an_unregistered_token_is_retired_and_suppressed_in_the_tenants_that_sent_to_it(tenant, stranger, fcm):
    fcm.behave("gone", code="UNREGISTERED")
    for one in (tenant, stranger):
        recipient = RecipientFactory(tenant=one, user_id="user_1")
        DeviceFactory(recipient=recipient, token="alive")
        DeviceFactory(recipient=recipient, token="gone")
    push(tenant, "alive", "gone")
    push(stranger, "alive")
    dispatch(Channel.PUSH)
    assert listed() == {("acme", Channel.PUSH, "gone", "unregistered")}
    assert list(Device.objects.exclude(retired_at=None).values_list("tenant__slug", "token")) == [("acme", "gone")]


def test_an_inline_recipients_dead_token_is_suppressed_too(tenant, fcm):
    fcm.behave("gone", code="UNREGISTERED")
    push(tenant, "gone", user_id="")
    dispatch(Channel.PUSH)
    assert listed() == {("acme", Channel.PUSH, "gone", "unregistered")}


def test_many_tenants_dead_tokens_cost_the_same_statements(tenant, stranger, fcm, django_assert_num_queries, monkeypatch):
    monkeypatch.setattr(handover, "_PART_S", 20)  # all of them in one part, however slow the machine
    for one in (tenant, stranger):
        for token in ("gone-1", "gone-2"):
            fcm.behave(token, code="UNREGISTERED")
            push(one, token, event_id=token)
    # In one transaction (here a savepoint, two statements) the claim; tenants, accounts, retry schedules; in another outcomes,
    # attempts, devices, suppressions.
    with django_assert_num_queries(13):
        dispatch(Channel.PUSH)
    assert len(listed()) == 4


def test_nothing_of_the_record_is_kept_without_the_rest(tenant, fcm, monkeypatch):
    fcm.behave("gone", code="UNREGISTERED")
    DeviceFactory(recipient=RecipientFactory(tenant=tenant, user_id="user_1"), token="gone")
    delivery = push(tenant, "gone")

    def broken(**_):
        raise ValueError("no list today")

    monkeypatch.setattr("deliveries.dispatch.add_suppressions", broken)
    with pytest.raises(ValueError, match="no list today"):
        dispatch(Channel.PUSH)
    delivery.refresh_from_db()
    assert delivery.status == Status.SENDING
    assert delivery.attempts.count() == 0
    assert Device.objects.get().retired_at is None


@pytest.mark.parametrize("reply", ["550 5.1.1 no such user", "553 5.1.3 bad address", "556 5.1.10 null MX", "551 5.1.6 moved"])
def test_a_mailbox_that_does_not_exist_is_suppressed(tenant, smtp, reply):
    smtp.behave("Ada@Example.com", rcpt=reply)
    delivery = DeliveryFactory(tenant=tenant, status=Status.PENDING, address="Ada@Example.com")
    dispatch(Channel.EMAIL)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.reason) == (Status.FAILED, reply[:3])
    assert listed() == {("acme", Channel.EMAIL, "ada@example.com", "bounce")}
    assert reply in Suppression.objects.get().detail


@pytest.mark.parametrize(
    "behaviour",
    [
        {"rcpt": "550 5.7.1 blocked by policy"},
        {"rcpt": "550 not today"},
        {"rcpt": "452 4.2.2 mailbox full"},
        {"rcpt": "450 4.1.1 greylisted"},
        {"data": "550 5.1.1 said of the content"},
    ],
)
def test_a_refusal_that_speaks_of_something_else_suppresses_nothing(tenant, smtp, behaviour):
    smtp.behave("ada@example.com", **behaviour)
    DeliveryFactory(tenant=tenant, status=Status.PENDING)
    dispatch(Channel.EMAIL)
    assert listed() == set()


def test_one_tenants_dead_address_is_open_to_another(tenant, stranger, smtp):
    smtp.behave("ada@example.com", rcpt="550 5.1.1 no such user", times=1)
    DeliveryFactory(tenant=tenant, status=Status.PENDING)
    dispatch(Channel.EMAIL)
    DeliveryFactory(tenant=stranger, status=Status.PENDING)
    dispatch(Channel.EMAIL)
    assert {slug for slug, *_ in listed()} == {"acme"}
    assert Delivery.objects.get(tenant=stranger).status == Status.SENT


def test_the_sandboxs_addresses_stay_usable(tenant):
    for channel, address in ((Channel.PUSH, "simulator-permanent"), (Channel.EMAIL, "bounce@simulator.invalid")):
        DeliveryFactory(tenant=tenant, status=Status.PENDING, channel=channel, address=address, sandbox=True)
        dispatch(channel)
    assert listed() == set()
