"""A claim is recorded in parts: nobody waits for another's slow provider, and a stop waits for nothing that was not begun."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.utils.timezone import now

from deliveries import desks
from deliveries.dispatch import dispatch
from deliveries.models import Attempt, Delivery
from deliveries.providers.kept import forget_providers
from deliveries.providers.smtp import SmtpProvider
from deliveries.states import Status
from tenants import redis
from tenants.models import ProviderAccount
from tenants.vocabulary import Channel, Priority
from tests.acceptance.conftest import eventually
from tests.doubles.smtp import SmtpDouble
from tests.factories import DeliveryFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    redis.client().flushdb()
    monkeypatch.setattr(desks, "_closed", False)
    yield
    forget_providers()


@pytest.fixture
def answer():
    """Set: the slow server may answer."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def slow_server(answer):
    with SmtpDouble() as double:
        double.behave("slow@example.com", until=answer)
        yield double
        answer.set()


@pytest.fixture
def quick_server():
    with SmtpDouble() as double:
        yield double


def account(tenant, server):
    credentials = {"host": server.host, "port": server.port, "security": "none"}
    ProviderAccount.objects.create(tenant=tenant, channel=Channel.EMAIL, kind="smtp", name="own", credentials=credentials)


def due(tenant, *addresses, **values):
    return [DeliveryFactory(tenant=tenant, status=Status.PENDING, address=address, **values) for address in addresses]


def in_background(pool, work):
    def run():
        try:
            return work()
        finally:
            connections.close_all()

    return pool.submit(run)


def statuses(deliveries):
    found = dict(Delivery.objects.values_list("id", "status"))
    return [Status(found[delivery.id]) for delivery in deliveries]


def test_what_was_sent_is_recorded_while_others_of_its_claim_are_under_way(tenant, stranger, slow_server, quick_server, answer):
    account(tenant, slow_server)
    account(stranger, quick_server)
    slow = due(tenant, "slow@example.com")
    prompt = due(tenant, "ada@example.com", "grace@example.com")
    theirs = due(stranger, "theirs@example.com")
    with ThreadPoolExecutor(1) as pool:
        working = in_background(pool, lambda: dispatch(Channel.EMAIL))
        eventually(lambda: statuses([*prompt, *theirs]) == [Status.SENT] * 3)
        assert statuses(slow) == [Status.SENDING]
        assert not working.done()
        answer.set()
        assert working.result(30) == 4
    assert statuses(slow) == [Status.SENT]
    assert Attempt.objects.count() == 4, "one row for each, whatever part it was in"


def test_what_expires_behind_a_slow_provider_is_not_begun(tenant, slow_server, answer):
    account(tenant, slow_server)
    soon = now() + timedelta(seconds=1)
    count = SmtpProvider.concurrency
    slow = due(tenant, *["slow@example.com"] * count)
    behind = due(tenant, "late@example.com", next_attempt_at=now(), expires_at=soon)
    with ThreadPoolExecutor(1) as pool:
        working = in_background(pool, lambda: dispatch(Channel.EMAIL))
        eventually(lambda: slow_server.peak == count and now() > soon)
        answer.set()
        working.result(30)
    assert statuses([*slow, *behind]) == [Status.SENT] * count + [Status.EXPIRED]
    assert Delivery.objects.get(pk=behind[0].pk).reason == "expired"
    assert "late@example.com" not in {mail.recipients[0] for mail in slow_server.received}


def test_an_attempt_lasts_as_long_as_its_own_call(tenant, slow_server):
    account(tenant, slow_server)
    slow_server.behave("late@example.com", delay_s=0.3)
    late, prompt = due(tenant, "late@example.com", "ada@example.com")
    dispatch(Channel.EMAIL)
    took = {attempt.delivery_id: attempt.duration_ms for attempt in Attempt.objects.all()}
    assert took[late.id] >= 300
    assert took[prompt.id] < took[late.id]


def test_of_whom_enough_desks_wait_no_more_is_taken_up(tenant, stranger, quick_server, monkeypatch):
    account(tenant, quick_server)
    account(stranger, quick_server)
    ours, theirs = due(tenant, "ada@example.com"), due(stranger, "grace@example.com")
    urgent = due(tenant, "urgent@example.com", priority=Priority.URGENT)
    monkeypatch.setattr(desks, "SLOW_AFTER_S", 0.0)
    party = desks.Party(Priority.NORMAL, tenant.pk)
    with desks.in_hand(Channel.EMAIL, [party]):
        assert desks.waited_for(Channel.EMAIL) == set(), "one may be slow"
        with desks.in_hand(Channel.EMAIL, [party]):
            assert dispatch(Channel.EMAIL) == 2
            assert statuses([*ours, *theirs, *urgent]) == [Status.PENDING, Status.SENT, Status.SENT]
            assert dispatch(Channel.EMAIL) == 0
    assert dispatch(Channel.EMAIL) == 1
    assert statuses(ours) == [Status.SENT]


def test_who_has_nothing_left_in_a_slow_hand_is_not_made_to_wait(tenant, quick_server, monkeypatch):
    account(tenant, quick_server)
    due(tenant, "ada@example.com")
    monkeypatch.setattr(desks, "SLOW_AFTER_S", 0.0)
    party, other = desks.Party(Priority.NORMAL, tenant.pk), desks.Party(Priority.NORMAL, 0)
    with desks.in_hand(Channel.EMAIL, [party, other]) as one, desks.in_hand(Channel.EMAIL, [party, other]) as two:
        assert dispatch(Channel.EMAIL) == 0
        for hand in (one, two):
            hand.put_away([party])
        assert desks.waited_for(Channel.EMAIL) == {other}
        assert dispatch(Channel.EMAIL) == 1


def test_a_worker_told_to_stop_ends_what_is_under_way_and_gives_back_the_rest(tenant, slow_server, answer):
    account(tenant, slow_server)
    count = SmtpProvider.concurrency + 5
    deliveries = due(tenant, *["slow@example.com"] * count)
    with ThreadPoolExecutor(1) as pool:
        working = in_background(pool, lambda: dispatch(Channel.EMAIL))
        eventually(lambda: slow_server.peak == SmtpProvider.concurrency)
        desks.close()
        answer.set()
        working.result(30)
    rows = list(Delivery.objects.filter(pk__in=[one.pk for one in deliveries]))
    sent = [row for row in rows if row.status == Status.SENT]
    back = [row for row in rows if row.status == Status.PENDING]
    assert len(sent) == SmtpProvider.concurrency == len(slow_server.received)
    assert len(back) == 5
    assert {(row.attempt_count, row.retry_count, row.lease_until) for row in back} == {(0, 0, None)}
    assert {row.reason for row in back} == {"worker_stopped"}
