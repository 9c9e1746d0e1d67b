"""Dead letters sent again: one or a thousand, to the address they had or to a better one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.urls import reverse
from django.utils.timezone import now

from deliveries import bells
from deliveries.claims import claim_deliveries
from deliveries.models import Delivery
from deliveries.states import Status
from tenants import redis
from tenants.vocabulary import Channel, Scope
from tests.conftest import client_for
from tests.factories import DeliveryFactory, SuppressionFactory, TemplateFactory
from tests.staff import superuser_client


def failed(tenant, **values):
    return DeliveryFactory(tenant=tenant, status=Status.FAILED, reason="550", error="no such user", **values)


def test_many_at_once_and_only_what_failed(api, tenant, stranger):
    redis.client().flushdb()
    dead = [failed(tenant), failed(tenant, channel=Channel.SMS, address="+14155550100")]
    others = [DeliveryFactory(tenant=tenant), failed(stranger), failed(tenant, template_version_id=None)]
    ids = [str(one.pk) for one in [*dead, *others]] + [str(uuid4())]
    answer = api.post("/api/deliveries/retry", {"ids": ids})
    assert answer.status_code == 202
    assert answer.json()["replayed"] == sorted(str(one.pk) for one in dead)
    assert Delivery.objects.filter(status=Status.PENDING, reason="", error="").count() == 2
    assert redis.client().exists("bell:send:email", "bell:send:sms") == 2
    assert api.post("/api/deliveries/retry", {"ids": ids}).json() == {"replayed": []}


@pytest.mark.parametrize("body", [{}, {"ids": []}, {"ids": ["x"]}, {"ids": "x"}, {"ids": [str(uuid4())] * 1001}, []])
def test_a_wrong_list_is_refused(api, body):
    assert api.post("/api/deliveries/retry", body).status_code == 400


def test_it_takes_the_scope(tenant):
    assert client_for(tenant, Scope.DELIVERIES_READ).post("/api/deliveries/retry", {"ids": [str(uuid4())]}).status_code == 403


def test_to_a_corrected_address(api, tenant):
    dead = failed(tenant, address="ada@exmaple.com", explanation={"routedByRule": "7"})
    answer = api.post(f"/api/deliveries/{dead.pk}/retry", {"address": " ada@example.com"})
    assert answer.status_code == 202, answer.json()
    dead.refresh_from_db()
    assert (dead.status, dead.address) == (Status.PENDING, "ada@example.com")
    assert dead.explanation.pop("replayedAt").endswith("Z")
    assert dead.explanation == {"routedByRule": "7", "correctedFrom": "ada@exmaple.com"}


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        (Channel.EMAIL, "nonsense"),
        (Channel.EMAIL, "gone@example.com"),
        (Channel.EMAIL, "taken@example.com"),
        (Channel.SMS, "12"),
        (Channel.IN_APP, "someone"),
        (Channel.WEBHOOK, "ftp://example.com"),
        (Channel.CHAT, "\u0000"),
    ],
)
def test_an_address_that_cannot_be_is_refused_and_nothing_changes(api, tenant, channel, address):
    SuppressionFactory(tenant=tenant, channel=Channel.EMAIL, address="gone@example.com")
    DeliveryFactory(tenant=tenant, event_id="e", user_id="", channel=Channel.EMAIL, address="taken@example.com")
    dead = failed(tenant, event_id="e", user_id="", channel=channel, address="before")
    answer = api.post(f"/api/deliveries/{dead.pk}/retry", {"address": address})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "address"
    dead.refresh_from_db()
    assert (dead.status, dead.address, dead.explanation) == (Status.FAILED, "before", None)


def test_one_that_has_not_failed_keeps_its_address(api, tenant):
    sent = DeliveryFactory(tenant=tenant, address="ada@example.com")
    assert api.post(f"/api/deliveries/{sent.pk}/retry", {"address": "eve@example.com"}).status_code == 409
    sent.refresh_from_db()
    assert (sent.status, sent.address) == (Status.SENT, "ada@example.com")


def test_what_has_come_onto_the_suppression_list_since_is_not_sent(api, tenant, stranger):
    SuppressionFactory(tenant=tenant, channel=Channel.EMAIL, address="gone@example.com", reason="complaint")
    SuppressionFactory(tenant=tenant, channel=Channel.PUSH, address="dead")
    SuppressionFactory(tenant=stranger, channel=Channel.EMAIL, address="ada@example.com")
    gone = [failed(tenant, address="Gone@Example.com"), failed(tenant, channel=Channel.PUSH, address="dead")]
    good = [failed(tenant, address="ada@example.com"), failed(tenant, channel=Channel.PUSH, address="dead live")]
    answer = api.post(f"/api/deliveries/{gone[0].pk}/retry")
    assert (answer.status_code, "suppression list (complaint)" in answer.json()["detail"]) == (409, True)
    answer = api.post("/api/deliveries/retry", {"ids": [str(one.pk) for one in [*gone, *good]]})
    assert answer.json()["replayed"] == sorted(str(one.pk) for one in good)
    assert set(Delivery.objects.filter(status=Status.FAILED)) == set(gone)
    answer = api.post(f"/api/deliveries/{gone[0].pk}/retry", {"address": "eve@example.com"})
    assert answer.status_code == 202


def test_one_that_was_never_rendered_keeps_its_address(api, tenant):
    dead = failed(tenant, address="ada@exmaple.com", template_version_id=None)
    answer = api.post(f"/api/deliveries/{dead.pk}/retry", {"address": "ada@example.com"})
    assert (answer.status_code, "never rendered" in answer.json()["detail"]) == (409, True)
    dead.refresh_from_db()
    assert (dead.status, dead.address, dead.explanation) == (Status.FAILED, "ada@exmaple.com", None)


def test_what_was_canceled_in_its_last_attempt_can_be_sent_all_the_same(api, tenant):
    dead = failed(tenant, explanation={"cancelRequested": True})
    assert api.post(f"/api/deliveries/{dead.pk}/retry").status_code == 202
    dead.refresh_from_db()
    assert set(dead.explanation) == {"replayedAt"}


@pytest.mark.parametrize("written", ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00+00:00"])
def test_the_time_of_a_replay_is_read_back_however_it_is_written(tenant, written):
    DeliveryFactory(tenant=tenant, status=Status.PENDING, explanation={"replayedAt": written})
    (claimed,) = claim_deliveries(channel=Channel.EMAIL, limit=1, now=now() + timedelta(seconds=1))
    assert claimed.replayed_at == datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_staff_correct_the_address_in_the_question(tenant):
    root = superuser_client()
    bells.answer_send(Channel.EMAIL)
    dead = failed(tenant, address="ada@exmaple.com")
    page = reverse("admin:deliveries_delivery_send_again", args=[dead.pk])
    assert "To send it elsewhere" in root.get(page).content.decode()
    root.post(page, {"_form_submitted": "on", "address": "nonsense"})
    dead.refresh_from_db()
    assert dead.status == Status.FAILED
    root.post(page, {"_form_submitted": "on", "address": "ada@example.com"})
    dead.refresh_from_db()
    assert (dead.status, dead.address) == (Status.PENDING, "ada@example.com")


@pytest.mark.parametrize(
    ("to", "address"),
    [
        ({"userId": "ada", "email": "hers@example.com"}, "hers@example.com"),
        ([{"email": "one@example.com"}, {"email": "two@example.com", "locale": "de"}], "two@example.com"),
    ],
)
def test_what_was_never_rendered_is_rendered_then_and_goes_where_the_event_says(api, tenant, drain, to, address):
    tenant.sandbox = True
    tenant.save()
    answer = api.post("/api/events", {"eventType": "news", "to": to, "channels": ["email"]})
    assert answer.status_code == 202, answer.json()
    drain()
    dead = Delivery.objects.get(address=address)
    assert (dead.status, dead.reason) == (Status.FAILED, "no_template")
    TemplateFactory(tenant=tenant, channel=Channel.EMAIL, event_type="news", version__body="News", version__variables=[])
    redis.client().flushdb()
    assert api.post("/api/deliveries/retry", {"ids": [str(dead.pk)]}).json() == {"replayed": [str(dead.pk)]}
    assert redis.client().exists("bell:release")
    drain()
    dead.refresh_from_db()
    assert (dead.status, dead.body, dead.address, dead.is_held) == (Status.SENT, "News", address, False)
    assert dead.explanation["replayedAt"]
