"""A user that is erased is erased from events and deliveries; what they were and what became of them stays."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.urls import reverse
from django.utils.timezone import now

from deliveries import dispatch as dispatching
from deliveries import erasure as deliveries_erasure
from deliveries.accounts import ConfiguredProvider
from deliveries.claims import claim_deliveries
from deliveries.erasure import _BATCH_OF_USER, _OF_NOBODY_ELSE
from deliveries.handover import Attempted, Handed
from deliveries.models import Attempt, Delivery, Receipt, ReceiptKind, StatusEndpoint, StatusMessage
from deliveries.providers.messages import Failed, Failure, Sent
from deliveries.providers.smtp import SmtpProvider
from deliveries.receipts.services import NewReceipt, apply_receipts
from deliveries.states import Status
from notifications import erasure as events_erasure
from notifications.claims import claim_events
from notifications.enrich import expand
from notifications.filter import decide
from notifications.models import Event, EventStatus
from notifications.route import write
from preferences.models import Suppression
from preferences.services import erase_user, subscribe
from tenants.vocabulary import Channel
from tests.factories import AttemptFactory, DeliveryFactory, EventFactory, ReceiptFactory, RecipientFactory, TemplateFactory
from tests.integration.test_recipients_bulk import at_once
from tests.staff import superuser_client

PLACE = "/api/recipients/zoe"
SECRETS = ("zoe", "Zoe", "secret", "Lovelace", "token-1")


def traces() -> str:
    """All that events, deliveries, attempts, receipts and status messages say."""
    rows = []
    with connection.cursor() as cursor:
        for table in (
            "notifications_event",
            "deliveries_delivery",
            "deliveries_attempt",
            "deliveries_receipt",
            "deliveries_statusmessage",
            "preferences_recipient",
        ):
            cursor.execute(f"SELECT to_jsonb(t) - 'content_hash' FROM {table} t")
            rows += [str(row[0]) for row in cursor.fetchall()]
    return "\n".join(rows)


def has_no_trace() -> bool:
    return not [secret for secret in SECRETS if secret in traces()]


def mail_of(tenant, **values) -> Delivery:
    return DeliveryFactory(
        tenant=tenant,
        **{
            "user_id": "zoe",
            "address": "zoe@example.com",
            "body": "Hello Zoe",
            "subject": "secret",
            "html": "<p>secret</p>",
            "data": {"name": "secret"},
            "error": "no zoe",
            "explanation": {"correctedFrom": "zoe@old.example.com", "rule": None, "level": "default"},
            **values,
        },
    )


KEPT = ("id", "event_id", "event_type", "channel", "status", "reason", "provider", "attempt_count", "created_at", "sent_at")


def test_the_history_keeps_what_happened_and_forgets_to_whom(api, tenant):
    sent = mail_of(tenant, provider="smtp", provider_message_id="<secret@mail>", sent_at=now(), attempt_count=1)
    bounced = mail_of(tenant, status=Status.BOUNCED, reason="5.1.1", channel=Channel.PUSH, address="token-1 token-2")
    attempt = AttemptFactory(
        delivery=bounced, code="5.1.1", response="no Zoe", detail={"token-1": "gone", "passedOver": ["Postmark"]}
    )
    receipt = ReceiptFactory(delivery=bounced, kind=ReceiptKind.BOUNCED, code="5.1.1", response="no Zoe")
    before = Delivery.objects.order_by("id").values(*KEPT)
    before, stats = list(before), api.get("/api/deliveries/stats").json()
    assert api.delete(PLACE).status_code == 204
    assert has_no_trace()
    assert list(Delivery.objects.order_by("id").values(*KEPT)) == before
    assert api.get("/api/deliveries/stats").json() == stats
    for delivery in (sent, bounced):
        shown = api.get(f"/api/deliveries/{delivery.pk}").json()
        assert (shown["userId"], shown["address"], shown["data"], shown["error"]) == (None, f"erased:{delivery.pk}", None, None)
        assert (shown["subject"], shown["body"], shown["html"], shown["providerMessageId"]) == ("", "", "", None)
        assert shown["explanation"].keys() == {"rule", "level", "erasedAt"}
    attempt.refresh_from_db()
    receipt.refresh_from_db()
    assert (attempt.code, attempt.response, attempt.detail) == ("5.1.1", "", {"passedOver": ["Postmark"]})
    assert (receipt.code, receipt.response) == ("5.1.1", "")


def test_two_who_are_erased_from_one_event_stay_two(api, tenant):
    people = ("zoe", "bob", "eve")
    for user_id in people:
        for channel in (Channel.EMAIL, Channel.IN_APP):
            address = "" if channel is Channel.IN_APP else "shared@example.com"
            mail_of(tenant, event_id="evt", user_id=user_id, channel=channel, address=address)
    mail_of(tenant, event_id="evt", user_id="", address="shared@example.com")
    for user_id in people:
        assert api.delete(f"/api/recipients/{user_id}").status_code == 204
    assert Delivery.objects.filter(user_id="").count() == 7
    assert [one.address for one in Delivery.objects.all() if not one.is_erased] == ["shared@example.com"]


def test_an_erasure_can_be_repeated_and_touches_nobody_else(api, stranger_api, tenant, stranger):
    theirs, bobs = mail_of(stranger), mail_of(tenant, user_id="bob")
    EventFactory(tenant=stranger, user_id="zoe")
    mail_of(tenant)
    assert [api.delete(PLACE).status_code for _ in range(3)] == [204, 404, 404]
    for other in (theirs, bobs):
        other.refresh_from_db()
        assert (other.subject, other.address, other.explanation["level"]) == ("secret", "zoe@example.com", "default")
    assert Event.objects.get().user_id == "zoe"
    assert stranger_api.delete(PLACE).status_code == 204


def test_nobody_is_not_erased_from_those_without_a_user_id(tenant):
    inline = mail_of(tenant, user_id="")
    assert not erase_user(tenant=tenant, user_id="")
    inline.refresh_from_db()
    assert inline.subject == "secret"


def test_a_long_history_is_erased_batch_by_batch(api, tenant, monkeypatch):
    monkeypatch.setattr(deliveries_erasure, "BATCH", 2)
    monkeypatch.setattr(events_erasure, "BATCH", 2)
    for number in range(5):
        EventFactory(tenant=tenant, event_id=f"own{number}", user_id="zoe", data={"name": "secret"})
        event_of(tenant, event_id=f"done{number}", status=EventStatus.PROCESSED)
        mail_of(tenant, event_id=f"done{number}")
        EventFactory(tenant=tenant, event_id=f"to{number}", user_id="", to={"userId": "zoe"}, data={"name": "secret"})
        mail_of(tenant, event_id=f"own{number}")
    assert api.delete(PLACE).status_code == 204
    assert has_no_trace()


# What waits, and what is on its way.


def test_what_waits_is_canceled_and_said_so_without_a_name(api, tenant):
    StatusEndpoint.objects.create(tenant=tenant, url="https://127.0.0.1:9/", statuses=[Status.CANCELED.value])
    waiting = mail_of(tenant, status=Status.PENDING)
    assert api.delete(PLACE).status_code == 204
    waiting.refresh_from_db()
    assert (waiting.status, waiting.reason) == (Status.CANCELED, "erased")
    assert claim_deliveries(channel=Channel.EMAIL, limit=10, now=now()) == []
    payload = StatusMessage.objects.get().payload
    assert (payload["userId"], payload["status"], payload["reason"]) == (None, "canceled", "erased")


def in_hand(tenant):
    """A delivery that a worker has claimed."""
    mail_of(tenant, status=Status.PENDING, error="", explanation=None)
    (claimed,) = claim_deliveries(channel=Channel.EMAIL, limit=10, now=now())
    return claimed


def refused(claimed, **values) -> Handed:
    """What a provider said of it, with the address in its words."""
    said = Failed(
        failure=Failure.PERMANENT,
        code="550",
        message="no Zoe",
        response="no Zoe here",
        detail={"token-1": "gone"},
        dead_addresses=("zoe@example.com",),
    )
    smtp = ConfiguredProvider(provider=SmtpProvider.from_credentials({"host": "127.0.0.1"}))
    attempt = Attempted(number=1, provider=smtp, outcome=replace(said, **values), started_at=now(), duration_ms=1)
    return Handed(claimed, attempts=[attempt])


def settle(*handed: Handed) -> None:
    """As at the end of a claim."""
    results = dispatching._judge_all(Channel.EMAIL, handed, now())
    dispatching._settle(Channel.EMAIL, handed, results, now() + timedelta(minutes=1))


def test_what_is_being_sent_is_recorded_without_the_providers_words(api, tenant):
    claimed = in_hand(tenant)
    assert api.delete(PLACE).status_code == 204
    settle(refused(claimed))
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.reason, delivery.provider, delivery.error) == (Status.FAILED, "550", "smtp", "")
    assert [(one.code, one.response, one.detail) for one in Attempt.objects.all()] == [("550", "", None)]
    assert not Suppression.objects.exists()
    assert has_no_trace()


def test_the_providers_name_for_what_is_being_sent_is_not_kept(api, tenant):
    claimed = in_hand(tenant)
    assert api.delete(PLACE).status_code == 204
    handed = refused(claimed)
    handed.attempts[0] = replace(handed.attempts[0], outcome=Sent(message_id="<secret>", response="zoe@example.com is fine"))
    settle(handed)
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.provider_message_id) == (Status.SENT, None)
    assert has_no_trace()


def test_who_lost_the_lease_leaves_no_words_either(api, tenant):
    claimed = in_hand(tenant)
    assert api.delete(PLACE).status_code == 204
    Delivery.objects.update(lease_until=None, status=Status.CANCELED)
    settle(refused(claimed))
    assert Delivery.objects.get().status == Status.CANCELED
    assert [(one.code, one.response, one.detail) for one in Attempt.objects.all()] == [("550", "", None)]
    assert has_no_trace()


def test_what_is_being_sent_is_not_tried_again(api, tenant, drain):
    claimed = in_hand(tenant)
    assert api.delete(PLACE).status_code == 204
    settle(refused(claimed, failure=Failure.TRANSIENT, dead_addresses=()))
    Delivery.objects.update(next_attempt_at=now())
    drain()
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.is_erased) == (Status.CANCELED, True)
    assert Attempt.objects.count() == 1
    assert has_no_trace()


def test_of_two_in_hand_only_the_erased_one_loses_its_words(api, tenant):
    mail_of(tenant, user_id="bob", status=Status.PENDING, error="", explanation=None, address="bob@example.com")
    mail_of(tenant, status=Status.PENDING, error="", explanation=None)
    claimed = claim_deliveries(channel=Channel.EMAIL, limit=10, now=now())
    assert api.delete(PLACE).status_code == 204
    settle(*(refused(one, detail={"passed": one.user_id}, dead_addresses=(one.address,)) for one in claimed))
    attempt = Attempt.objects.get(delivery__user_id="bob")
    assert (attempt.response, attempt.detail) == ("no Zoe here", {"passed": "bob"})
    assert Delivery.objects.get(user_id="bob").error == "no Zoe"
    assert [one.address for one in Suppression.objects.all()] == ["bob@example.com"]
    erased = Attempt.objects.get(delivery__user_id="")
    assert (erased.response, erased.detail, erased.delivery.error) == ("", None, "")


def test_a_receipt_that_comes_later_counts_and_says_nothing(api, tenant):
    delivery = mail_of(tenant, error="")
    api.delete(PLACE)
    apply_receipts(
        receipts=[
            NewReceipt(
                tenant_id=tenant.pk,
                channel=Channel.EMAIL,
                delivery_id=delivery.pk,
                kind=ReceiptKind.BOUNCED,
                code="5.1.1",
                text="no Zoe Lovelace",
                is_lasting=True,
            )
        ]
    )
    delivery.refresh_from_db()
    assert (delivery.status, delivery.reason, delivery.error) == (Status.BOUNCED, "5.1.1", "")
    assert Receipt.objects.get().response == ""
    assert not Suppression.objects.exists()


@pytest.mark.parametrize("body", [{}, {"address": "new@example.com"}])
def test_an_erased_dead_letter_is_not_sent_again(api, tenant, body):
    dead = mail_of(tenant, status=Status.FAILED, reason="550")
    api.delete(PLACE)
    refused = api.post(f"/api/deliveries/{dead.pk}/retry", body)
    assert refused.status_code == 409
    assert "erased" in refused.json()["detail"]
    assert api.post("/api/deliveries/retry", {"ids": [str(dead.pk)]}).json() == {"replayed": []}
    dead.refresh_from_db()
    assert (dead.status, dead.address) == (Status.FAILED, f"erased:{dead.pk}")


# Events.


def event_of(tenant, **values) -> Event:
    return EventFactory(tenant=tenant, **{"user_id": "zoe", "data": {"name": "secret"}, "metadata": {"who": "Zoe"}, **values})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (EventStatus.ACCEPTED, EventStatus.CANCELED),
        (EventStatus.FAILED, EventStatus.CANCELED),
        (EventStatus.PROCESSED, EventStatus.PROCESSED),
        (EventStatus.EXPIRED, EventStatus.EXPIRED),
        (EventStatus.CANCELED, EventStatus.CANCELED),
    ],
)
@pytest.mark.parametrize("audience", [None, {"userId": "zoe", "email": "a@b.co"}, [{"userId": "zoe"}, {"userId": "zoe"}]])
def test_an_event_for_the_user_alone_is_emptied_and_ended(api, tenant, drain, before, after, audience):
    event = event_of(tenant, status=before, user_id="" if audience else "zoe", to=audience, error="no Zoe")
    if before is EventStatus.PROCESSED:
        mail_of(tenant, event_id=event.event_id)
    assert api.delete(PLACE).status_code == 204
    event.refresh_from_db()
    assert (event.status, event.reason, event.user_id, event.to) == (after, "erased", "", None)
    assert (event.data, event.metadata, event.error) == ({}, {}, "")
    assert has_no_trace()
    assert api.post("/api/events/retry", {"eventIds": [event.event_id]}).json() == {"replayed": []}
    drain()
    assert not Delivery.objects.exclude(address__startswith="erased:").exists()


def test_an_event_that_came_to_nothing_is_found_too(api, tenant, drain):
    tenant.default_channels = []
    tenant.save()
    post = {"eventType": "account", "data": {"name": "secret"}}
    assert api.post("/api/events", {**post, "userId": "zoe"}).status_code == 202
    assert api.post("/api/events", {**post, "userId": "bob", "data": {}}).status_code == 202
    drain()
    assert [(one.status, one.reason) for one in Event.objects.all()] == [(EventStatus.PROCESSED, "no_channels")] * 2
    (shown,) = json.loads(b"".join(api.get(f"{PLACE}/export").streaming_content))["events"]
    assert shown["data"] == {"name": "secret"}
    assert api.delete(PLACE).status_code == 204
    assert sorted((one.user_id, one.status, one.reason) for one in Event.objects.all()) == [
        ("", EventStatus.PROCESSED, "erased"),
        ("bob", EventStatus.PROCESSED, "no_channels"),
    ]
    assert has_no_trace()
    assert api.delete(PLACE).status_code == 404


def test_an_event_that_was_erased_is_still_known_by_its_id(api, tenant, drain):
    body = {"eventId": "evt", "eventType": "account", "userId": "zoe", "data": {"name": "secret"}}
    assert api.post("/api/events", body).status_code == 202
    api.delete(PLACE)
    again = api.post("/api/events", body)
    assert (again.status_code, again.json()["duplicate"], again.json()["status"]) == (200, True, "canceled")
    drain()
    assert not Delivery.objects.exists()


def test_of_an_event_for_several_only_the_users_own_entry_goes(api, tenant, drain):
    TemplateFactory(tenant=tenant, version__body="Hello", version__variables=[])
    others = [{"userId": "bob"}, {"userId": "eve"}]
    event = event_of(tenant, user_id="", to=[others[0], {"userId": "zoe", "locale": "de"}, others[1]], data={"price": 5})
    assert api.delete(PLACE).status_code == 204
    event.refresh_from_db()
    assert (event.status, event.to, event.data) == (EventStatus.ACCEPTED, [others[0], {}, others[1]], {"price": 5})
    drain()
    assert set(Delivery.objects.values_list("user_id", flat=True)) == {"bob", "eve"}
    for user_id in ("bob", "eve"):
        assert api.delete(f"/api/recipients/{user_id}").status_code == 204
    event.refresh_from_db()
    assert (event.to, event.data, event.reason) == (None, {}, "erased")


def test_what_a_worker_has_in_hand_comes_to_nothing_for_the_user(api, tenant, drain):
    TemplateFactory(tenant=tenant, version__body="Hello", version__variables=[])
    event_of(tenant, event_id="own")
    event_of(tenant, event_id="some", user_id="", to=[{"userId": "zoe"}, {"userId": "bob"}], data={}, metadata={})
    claim = claim_events(now=now())
    chunk, _ = expand(claim, claim.events)
    chunk = decide(chunk, now=now())
    assert api.delete(PLACE).status_code == 204
    write(chunk, now=now())
    assert not Delivery.objects.exists()
    drain()
    assert [(one.event_id, one.user_id) for one in Delivery.objects.all()] == [("some", "bob")]
    assert has_no_trace()


def test_who_rules_named_goes_from_what_is_still_to_come(api, tenant):
    plan = [
        {"channels": [4], "recipients": [{"userId": "bob"}, {"userId": "zoe"}], "rule": "r"},
        {"channels": [4], "topic": "news", "rule": "s"},
    ]
    event = event_of(tenant, user_id="", plan=plan, cursor=1, data={"price": 5}, metadata={})
    assert api.delete(PLACE).status_code == 204
    event.refresh_from_db()
    assert event.plan == [plan[0] | {"recipients": [{"userId": "bob"}, {}]}, plan[1]]
    assert (event.status, event.cursor, event.data) == (EventStatus.ACCEPTED, 1, {"price": 5})


def test_an_event_that_rules_led_to_the_user_alone_is_emptied(api, tenant):
    alone = event_of(tenant, event_id="alone", user_id="", status=EventStatus.PROCESSED)
    shared = event_of(tenant, event_id="shared", user_id="", status=EventStatus.PROCESSED)
    topic = event_of(tenant, event_id="topic", user_id="", to={"topic": "news"}, status=EventStatus.PROCESSED)
    for event in (alone, shared, topic):
        mail_of(tenant, event_id=event.event_id)
    mail_of(tenant, event_id="shared", user_id="bob")
    assert api.delete(PLACE).status_code == 204
    assert [(one.data, one.reason) for one in Event.objects.order_by("event_id")] == [
        ({}, "erased"),
        ({"name": "secret"}, ""),
        ({"name": "secret"}, ""),
    ]
    assert api.delete("/api/recipients/bob").status_code == 204
    shared.refresh_from_db()
    assert (shared.data, shared.metadata) == ({}, {})


def test_everything_an_event_left_is_gone_after_its_whole_life(api, tenant, drain):
    for channel in (Channel.IN_APP, Channel.EMAIL):
        TemplateFactory(tenant=tenant, channel=channel)
    api.put(PLACE, {"email": "zoe@example.com", "pushTokens": ["token-1"]})
    subscribe(tenant=tenant, topic_key="news", user_id="zoe")
    post = {"eventType": "account", "channels": ["email", "in_app", "push"], "data": {"userName": "Lovelace"}}
    tenant.sandbox = True
    tenant.save()
    assert api.post("/api/events", {**post, "userId": "zoe"}).status_code == 202
    assert api.post("/api/events", {**post, "to": {"topic": "news"}, "data": {"userName": "all"}}).status_code == 202
    drain()
    assert {one.status for one in Delivery.objects.all()} == {Status.SENT, Status.FAILED}
    assert Delivery.objects.count() == 6
    assert api.delete(PLACE).status_code == 204
    assert has_no_trace()
    assert api.get(f"{PLACE}/export").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_staff_erase_the_history_as_the_api_does(tenant):
    recipient = RecipientFactory(tenant=tenant, user_id="zoe")
    event_of(tenant, event_id="own")
    mail_of(tenant, event_id="own")
    page = reverse("admin:preferences_recipient_delete", args=[recipient.pk])
    assert superuser_client().post(page, {"post": "yes"}).status_code == 302
    assert has_no_trace()


@pytest.mark.django_db(transaction=True)
def test_two_of_one_event_erased_at_once_wait_for_each_other(tenant):
    people = ("zoe", "Zoe", "secret")
    for number in range(40):
        event_of(tenant, event_id=f"to{number}", user_id="", to=[{"userId": one} for one in people], metadata={})
        event_of(tenant, event_id=f"rule{number}", user_id="", metadata={})
        for user_id in people:
            mail_of(tenant, event_id=f"rule{number}", user_id=user_id)
    at_once(*[lambda user_id=user_id: erase_user(tenant=tenant, user_id=user_id) for user_id in people * 2])
    assert not Delivery.objects.exclude(user_id="").exists()
    assert all(event.to is None for event in Event.objects.all())


@pytest.mark.django_db(transaction=True)
def test_what_is_recorded_while_the_user_is_being_erased_leaves_no_words(tenant):
    for number in range(40):
        mail_of(tenant, event_id=f"evt{number}", status=Status.PENDING, error="", explanation=None)
    claimed = claim_deliveries(channel=Channel.EMAIL, limit=40, now=now())

    def record():
        for one in claimed:
            settle(refused(one, dead_addresses=()))

    at_once(record, lambda: erase_user(tenant=tenant, user_id="zoe"))
    assert Attempt.objects.count() == 40
    assert has_no_trace()


# Found through indexes, however long the tables are.


def plan_of(statement, parameters) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {statement}", parameters)
        return "\n".join(row[0] for row in cursor.fetchall())


def test_the_deliveries_of_a_user_are_found_through_an_index(tenant):
    Delivery.objects.bulk_create(
        DeliveryFactory.build(tenant=tenant, user_id=f"u{number}", event_id=f"evt{number}") for number in range(300)
    )
    AttemptFactory(delivery=Delivery.objects.all()[0])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE deliveries_delivery")
    assert "delivery_by_user" in plan_of(_BATCH_OF_USER, [tenant.pk, "zoe", 500])
    assert "delivery_once" in plan_of(_OF_NOBODY_ELSE, [["a", "b"], tenant.pk, "zoe"])
    ids = [one.pk for one in Delivery.objects.all()[:3]]
    plan = plan_of(deliveries_erasure._FORGET, deliveries_erasure._parameters(tenant, "zoe", ids))
    assert "Seq Scan on deliveries_delivery" not in plan
    for statement, index in (
        (deliveries_erasure._FORGET_ANSWERS, "deliveries_attempt_delivery_id"),
        (deliveries_erasure._FORGET_REPORTS, "receipt_once"),
    ):
        assert index in plan_of(statement, [ids])


def test_the_events_of_a_user_are_found_through_indexes(tenant):
    for number in range(300):
        event_of(tenant, user_id=f"u{number}")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE notifications_event")
    listed = {"user_ids": json.dumps(["zoe"]), "planned": json.dumps([{"recipients": [{"userId": "zoe"}]}])}
    parameters = events_erasure._parameters() | {"tenant_id": tenant.pk, "user_id": "zoe", "limit": 500} | listed
    plan = plan_of(events_erasure._FORGET_OWN, parameters)
    assert plan.count("event_by_user") == 2
    assert "Seq Scan on notifications_event" not in plan
    plan = plan_of(events_erasure._FIND_LISTED, parameters)
    assert "event_by_audience" in plan
    assert "event_with_plan" in plan
