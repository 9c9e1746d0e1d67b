"""Several accounts on one channel, on real connections: who is asked, who next, who is left alone."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.utils.timezone import now

from deliveries import breaker, claims
from deliveries import dispatch as dispatching
from deliveries.breaker import Circuit, Open, Tally
from deliveries.claims import claim_deliveries
from deliveries.dispatch import dispatch
from deliveries.metrics import ATTEMPTS
from deliveries.models import Attempt, AttemptOutcome, Delivery, RetrySchedule
from deliveries.providers.kept import forget_providers
from deliveries.replay import replay
from deliveries.states import Status
from tenants import redis
from tenants.models import ProviderAccount
from tenants.vocabulary import Channel, Priority
from tests.doubles.smtp import SmtpDouble
from tests.doubles.webhook import WebhookDouble
from tests.factories import DeliveryFactory


@pytest.fixture(autouse=True)
def fresh(db):
    redis.client().flushdb()
    yield
    forget_providers()


@pytest.fixture
def first_server():
    with SmtpDouble() as double:
        yield double


@pytest.fixture
def second_server():
    with SmtpDouble() as double:
        yield double


def account(tenant, server, name, priority):
    credentials = {"host": server.host, "port": server.port, "security": "none"}
    return ProviderAccount.objects.create(
        tenant=tenant, channel=Channel.EMAIL, kind="smtp", name=name, priority=priority, credentials=credentials
    )


@pytest.fixture
def first(tenant, first_server):
    return account(tenant, first_server, "first", 0)


@pytest.fixture
def second(tenant, second_server):
    return account(tenant, second_server, "second", 1)


def due(tenant, count=1, **values):
    return [DeliveryFactory(tenant=tenant, status=Status.PENDING, address=f"u{n}@example.com", **values) for n in range(count)]


def attempts(delivery):
    return [(one.number, one.provider_account_id, AttemptOutcome(one.outcome)) for one in delivery.attempts.all()]


def open_circuit(account):
    circuit = Circuit(Channel.EMAIL, "smtp", str(account.pk))
    breaker.report({circuit: Tally(failed=breaker.FAILURES)})
    return circuit


def test_after_a_transient_failure_the_next_account_is_asked_at_once(tenant, first, second, first_server, second_server):
    first_server.behave("", mail="451 4.3.2 not now")
    (delivery,) = due(tenant)
    dispatch(Channel.EMAIL)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.provider_account_id, delivery.attempt_count) == (Status.SENT, second.pk, 2)
    assert attempts(delivery) == [(1, first.pk, AttemptOutcome.TRANSIENT), (2, second.pk, AttemptOutcome.SENT)]
    assert len(second_server.received) == 1


def test_a_message_that_may_have_gone_out_is_not_given_to_another(tenant, first, second, first_server, second_server):
    first_server.behave("u0@example.com", hang_up_at="data")
    (delivery,) = due(tenant)
    dispatch(Channel.EMAIL)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.retry_count) == (Status.PENDING, 1)
    assert attempts(delivery) == [(1, first.pk, AttemptOutcome.AMBIGUOUS)]
    assert second_server.received == []


def test_a_permanent_failure_is_final_with_the_first(tenant, first, second, first_server, second_server):
    first_server.behave("u0@example.com", rcpt="550 5.1.1 no such user")
    (delivery,) = due(tenant)
    dispatch(Channel.EMAIL)
    delivery.refresh_from_db()
    assert delivery.status == Status.FAILED
    assert second_server.received == []


def test_an_open_circuit_is_passed_over_and_the_attempt_says_so(tenant, first, second, first_server):
    open_circuit(first)
    (delivery,) = due(tenant)
    dispatch(Channel.EMAIL)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.provider_account_id) == (Status.SENT, second.pk)
    assert delivery.attempts.get().detail == {"passedOver": ["first"]}
    assert first_server.connections == 0


def test_with_every_circuit_open_a_delivery_waits_uncharged(tenant, first, first_server):
    open_circuit(first)
    (delivery,) = due(tenant)
    dispatch(Channel.EMAIL)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.reason) == (Status.PENDING, "circuit_open")
    assert (delivery.attempt_count, delivery.retry_count, delivery.attempts.count()) == (0, 0, 0)
    assert delivery.next_attempt_at > delivery.created_at
    assert first_server.connections == 0


def test_one_message_probes_and_its_success_lets_the_others_follow(tenant, first, first_server):
    circuit = open_circuit(first)
    redis.client().hset(circuit.key, "open_until", 1)
    due(tenant, 5)
    dispatch(Channel.EMAIL)
    assert len(first_server.received) == 1
    assert Delivery.objects.filter(status=Status.PENDING, reason="circuit_open", attempt_count=0).count() == 4
    Delivery.objects.filter(status=Status.PENDING).update(next_attempt_at="2026-01-01T00:00Z")
    dispatch(Channel.EMAIL)
    assert len(first_server.received) == 5
    assert breaker.open_circuits() == {}


def test_a_server_that_refuses_every_connection_opens_the_circuit_and_the_rest_is_not_begun(tenant):
    with SmtpDouble() as server:
        port = server.port
    gone = ProviderAccount.objects.create(
        tenant=tenant,
        channel=Channel.EMAIL,
        kind="smtp",
        name="gone",
        credentials={"host": "127.0.0.1", "port": port, "security": "none"},
    )
    due(tenant, 60)
    dispatch(Channel.EMAIL)
    assert list(breaker.open_circuits()) == [Circuit(Channel.EMAIL, "smtp", str(gone.pk))]
    tried = Attempt.objects.count()
    assert breaker.FAILURES <= tried < 40
    assert Delivery.objects.filter(reason="provider_failing", retry_count=0).count() == 60 - tried


def test_full_mailboxes_say_nothing_against_the_account(tenant, first, first_server):
    for number in range(20):
        first_server.behave(f"u{number}@example.com", rcpt="452 4.2.2 mailbox full")
    due(tenant, 20)
    dispatch(Channel.EMAIL)
    assert Attempt.objects.filter(outcome=AttemptOutcome.TRANSIENT).count() == 20
    assert breaker.open_circuits() == {}


def test_one_recipients_broken_server_is_left_alone_and_the_others_are_served(tenant, settings):
    settings.DEBUG = True
    with WebhookDouble() as broken, WebhookDouble() as sound:
        broken.behave(status=500)
        for server in [broken] * 10 + [sound] * 10:
            DeliveryFactory(tenant=tenant, status=Status.PENDING, channel=Channel.WEBHOOK, address=f"{server.url}/hook")
        dispatch(Channel.WEBHOOK)
        assert len(sound.received) == 10
        (circuit,) = breaker.open_circuits()
        assert circuit.account.endswith(f":{broken.port}")
        DeliveryFactory(tenant=tenant, status=Status.PENDING, channel=Channel.WEBHOOK, address=f"{sound.url}/hook")
        dispatch(Channel.WEBHOOK)
        assert len(sound.received) == 11
        assert len(broken.requests) == 10


def test_a_provider_in_haste_does_not_use_up_retries(tenant, first, first_server):
    first_server.behave("", mail="421 4.7.0 slow down")
    (delivery,) = due(tenant)
    dispatch(Channel.EMAIL)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.retry_count, delivery.attempt_count) == (Status.PENDING, 0, 1)
    assert attempts(delivery) == [(1, first.pk, AttemptOutcome.THROTTLED)]


@pytest.mark.parametrize(
    ("of_tenant", "of_channel", "wait_s"),
    [(False, False, 10), (False, True, 20), (True, False, 30), (True, True, 40)],
)
def test_the_most_specific_schedule_counts(tenant, stranger, first, first_server, of_tenant, of_channel, wait_s):
    RetrySchedule.objects.create(delays_s=[10])
    RetrySchedule.objects.create(tenant=stranger, channel=Channel.EMAIL, delays_s=[99])
    RetrySchedule.objects.create(tenant=tenant, channel=Channel.SMS, delays_s=[99])
    if of_channel:
        RetrySchedule.objects.create(channel=Channel.EMAIL, delays_s=[20])
    if of_tenant:
        RetrySchedule.objects.create(tenant=tenant, delays_s=[30])
    if of_tenant and of_channel:
        RetrySchedule.objects.create(tenant=tenant, channel=Channel.EMAIL, delays_s=[40])
    first_server.behave("", mail="451 4.3.2 not now")
    (delivery,) = due(tenant)
    dispatch(Channel.EMAIL)
    delivery.refresh_from_db()
    waits = (delivery.next_attempt_at - delivery.attempts.get().started_at).total_seconds()
    assert wait_s <= waits <= wait_s * 1.2 + 2


def test_a_schedule_without_waits_is_one_attempt(tenant, first, first_server):
    RetrySchedule.objects.create(tenant=tenant, delays_s=[])
    first_server.behave("", mail="451 4.3.2 not now")
    (delivery,) = due(tenant)
    dispatch(Channel.EMAIL)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.reason) == (Status.FAILED, "retries_exhausted")


def test_a_replayed_dead_letter_has_its_retries_again(tenant, first, first_server):
    first_server.behave("", mail="451 4.3.2 not now")
    (delivery,) = due(tenant)
    Delivery.objects.update(retry_count=5, attempt_count=5)
    dispatch(Channel.EMAIL)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.reason, delivery.attempt_count) == (Status.FAILED, "retries_exhausted", 6)
    assert replay(tenant_id=tenant.pk, ids=[delivery.pk]).ready == {delivery.pk: Channel.EMAIL}
    dispatch(Channel.EMAIL)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.retry_count, delivery.attempt_count) == (Status.PENDING, 1, 7)


def test_a_dead_letter_of_long_ago_has_its_time_again(tenant, first, first_server):
    first_server.behave("", rcpt="451 4.3.0 later", times=1)
    old = DeliveryFactory(
        tenant=tenant, status=Status.FAILED, address="ada@example.com", created_at=now() - timedelta(days=4), subject="Hello"
    )
    assert replay(tenant_id=tenant.pk, ids=[old.pk])
    dispatch(Channel.EMAIL)
    old.refresh_from_db()
    assert (old.status, old.reason) == (Status.PENDING, "451")


def test_a_delivery_whose_workers_die_works_alone_and_is_set_aside_at_last(tenant, first, first_server):
    suspect, sound = due(tenant, 2)
    lapsed = {"status": Status.SENDING, "lease_until": "2026-01-01T00:00Z", "attempt_count": 2}
    Delivery.objects.filter(pk=suspect.pk).update(**lapsed, interruption_count=1)
    dispatch(Channel.EMAIL)
    assert len(first_server.received) == 1, "the suspect and the sound one were sent together"
    while dispatch(Channel.EMAIL):
        pass
    assert len(first_server.received) == 2
    suspect.refresh_from_db()
    assert suspect.status == Status.SENT
    assert [one.code for one in suspect.attempts.all()][:1] == ["interrupted"]

    Delivery.objects.filter(pk=sound.pk).update(**lapsed, interruption_count=5)
    dispatch(Channel.EMAIL)
    sound.refresh_from_db()
    assert (sound.status, sound.reason) == (Status.FAILED, "interrupted")
    assert len(first_server.received) == 2


def test_the_admin_shows_open_circuits_and_keeps_schedules(tenant, first, second, client: Client):
    client.force_login(get_user_model().objects.create_superuser("root"))
    open_circuit(first)
    page = client.get("/admin/tenants/provideraccount/").content.decode()
    shown = re.findall(r"field-circuit.*?>\s*(open|closed)\s*<", page, re.DOTALL)
    assert sorted(shown) == ["closed", "open"]
    answer = client.post(
        "/admin/deliveries/retryschedule/add/", {"tenant": tenant.pk, "channel": Channel.EMAIL.value, "delays_s": "5,10"}
    )
    assert answer.status_code == 302, answer.context["errors"]
    again = client.post(
        "/admin/deliveries/retryschedule/add/", {"tenant": tenant.pk, "channel": Channel.EMAIL.value, "delays_s": "7"}
    )
    assert "There is a schedule for this tenant and channel." in again.content.decode()
    wrong = client.post("/admin/deliveries/retryschedule/add/", {"tenant": tenant.pk, "delays_s": "0"})
    assert wrong.status_code == 200
    assert list(RetrySchedule.objects.values_list("delays_s", flat=True)) == [[5, 10]]


def test_open_circuits_are_counted_in_the_metrics(first, api):
    assert isinstance(breaker.ask([circuit := open_circuit(first)])[circuit], Open)
    assert 'notifications_circuits_open{channel="email",provider="smtp"} 1.0' in api.get("/api/metrics").content.decode()


def test_tenants_take_turns_and_the_urgent_go_first(tenant, stranger):
    flood = [DeliveryFactory(tenant=tenant, status=Status.PENDING, address=f"f{n}@example.com") for n in range(40)]
    theirs = [DeliveryFactory(tenant=stranger, status=Status.PENDING, address=f"s{n}@example.com") for n in range(3)]
    urgent = DeliveryFactory(tenant=tenant, status=Status.PENDING, priority=Priority.URGENT, address="u@example.com")
    later = DeliveryFactory(tenant=stranger, status=Status.PENDING, next_attempt_at=now() + timedelta(hours=1))
    claimed = claim_deliveries(channel=Channel.EMAIL, limit=10, now=now())
    ids = {one.id for one in claimed}
    assert len(ids) == 10
    assert ids >= {urgent.pk, *(one.pk for one in theirs)}
    rest = claim_deliveries(channel=Channel.EMAIL, limit=100, now=now())
    assert ids | {one.id for one in rest} == {one.pk for one in [*flood, *theirs, urgent]}
    assert later.pk not in {one.id for one in rest}
    assert claim_deliveries(channel=Channel.EMAIL, limit=10, now=now()) == []
    assert claim_deliveries(channel=Channel.SMS, limit=10, now=now()) == []


def test_a_claim_reads_no_more_than_it_takes(tenant, stranger):
    """However many wait, and however many retries lie in the future."""
    moment = now()
    many = [
        Delivery(
            tenant=of,
            event_id=f"e{number}",
            event_type="account",
            channel=Channel.EMAIL,
            address="a@example.com",
            accepted_at=moment,
            next_attempt_at=moment + timedelta(hours=1 if of is tenant else 0),
        )
        for of in (tenant, stranger)
        for number in range(3000)
    ]
    Delivery.objects.bulk_create(many)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE deliveries_delivery")
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + claims._WAITING, {"channel": 1, "limit": 10, "now": moment})
        plan = str(cursor.fetchone()[0])
    assert "delivery_due" in plan
    assert "Seq Scan" not in plan
    read = [float(rows) for rows in re.findall(r"'Actual Rows': ([\d.]+)", plan)]
    assert max(read) <= 20


def test_a_lost_attempt_has_its_own_time_and_shows(tenant, first, caplog):
    (delivery,) = due(tenant)
    taken_up = now() - timedelta(minutes=5)
    Delivery.objects.update(next_attempt_at=taken_up)
    assert claim_deliveries(channel=Channel.EMAIL, limit=1, now=taken_up)
    counter = ATTEMPTS.labels("email", "", "ambiguous")
    before = counter._value.get()
    dispatch(Channel.EMAIL)
    lost, _ = delivery.attempts.order_by("number")
    assert (lost.code, lost.started_at) == ("interrupted", taken_up)
    assert counter._value.get() == before + 1
    assert "attempts_interrupted" in caplog.text
    assert str(delivery.pk) in caplog.text


def test_a_lost_attempt_is_written_down_though_the_next_worker_dies_as_it_takes_up(tenant, first, monkeypatch):
    (delivery,) = due(tenant)
    claim_deliveries(channel=Channel.EMAIL, limit=1, now=now())
    Delivery.objects.update(lease_until=now())

    def die(**_):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(dispatching, "create_attempts", die)
        with pytest.raises(SystemExit):
            dispatch(Channel.EMAIL)
    dispatch(Channel.EMAIL)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempt_count, delivery.interruption_count) == (Status.SENT, 2, 1)
    assert [(one.number, one.code) for one in delivery.attempts.order_by("number")] == [(1, "interrupted"), (2, "250")]
