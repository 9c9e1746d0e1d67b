"""Events, event types and rules in the admin."""

from __future__ import annotations

import html
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from deliveries.models import Delivery
from deliveries.states import Status
from notifications.models import Event, EventStatus, EventType, Rule
from tenants.vocabulary import Channel
from tests.factories import AttemptFactory, DeliveryFactory, EventFactory, EventTypeFactory, ReceiptFactory, RuleFactory
from tests.staff import staff_client, superuser_client

LIST = "/admin/notifications/event/"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def root(db):
    return superuser_client()


def listed(client, query: str = "") -> list[str]:
    response = client.get(f"{LIST}?{query}")
    assert response.status_code == 200, response
    return [row.event_id for row in response.context["cl"].result_list]


def page_of(event) -> str:
    return reverse("admin:notifications_event_change", args=[event.pk])


@pytest.mark.parametrize(
    ("query", "wanted", "unwanted"),
    [
        ("status__exact=4", {"status": EventStatus.FAILED}, {"status": EventStatus.PROCESSED}),
        ("event_type=order.paid", {"event_type": "order.paid"}, {"event_type": "order"}),
        ("created_at_from_0=2026-03-01&created_at_to_0=2026-03-01", {"created_at": NOON}, {}),
        ("sandbox__exact=1", {"sandbox": True}, {"sandbox": False}),
        ("q=wanted", {}, {}),
        ("q=want", {}, {}),
    ],
)
def test_filters_and_search(root, tenant, query, wanted, unwanted):
    EventFactory(tenant=tenant, event_id="wanted", **wanted)
    EventFactory(tenant=tenant, event_id="unwanted", **unwanted)
    assert listed(root, query) == ["wanted"]


def test_a_user_id_finds_the_events_that_made_deliveries_to_them(root, tenant, stranger):
    for one, event_id in ((tenant, "to-ada"), (stranger, "to-ada"), (tenant, "to-bob")):
        EventFactory(tenant=one, event_id=event_id)
    DeliveryFactory(tenant=tenant, event_id="to-ada", user_id="ada")
    DeliveryFactory(tenant=tenant, event_id="to-bob", user_id="bob")
    (row,) = root.get(f"{LIST}?q=ada").context["cl"].result_list
    assert (row.event_id, row.tenant) == ("to-ada", tenant)


def test_no_list_counts_or_skips(root, tenant):
    event = EventFactory(tenant=tenant)
    DeliveryFactory(tenant=tenant, event_id=event.event_id, user_id="ada")
    for query in ("", f"older={event.pk}", "status__exact=1", "q=ada", "q=evt", "event_type=account"):
        with CaptureQueriesContext(connection) as captured:
            listed(root, query)
        for sql in (one["sql"] for one in captured if '"notifications_event"' in one["sql"]):
            assert "LIMIT" in sql, sql
            assert not {"OFFSET", "COUNT", "DISTINCT"} & set(sql.upper().replace("(", " ").split()), sql


def test_an_event_is_shown_with_its_content_its_timeline_and_its_deliveries(root, tenant):
    event = EventFactory(tenant=tenant, event_id="evt_1", data={"order_id": 4711}, status=EventStatus.PROCESSED)
    sent = DeliveryFactory(tenant=tenant, event_id="evt_1", attempt_count=1)
    AttemptFactory(delivery=sent)
    DeliveryFactory(
        tenant=tenant,
        event_id="evt_1",
        channel=Channel.SMS,
        status=Status.SUPPRESSED,
        reason="opted_out",
        explanation={"why": "The user turned sms off."},
    )
    text = html.unescape(root.get(page_of(event)).content.decode())
    for shown in ('"order_id": 4711', "event.accepted", "delivery.sent by email: smtp", "delivery.suppressed by sms"):
        assert shown in text
    assert "Suppressed because the user turned sms off." in text
    assert reverse("admin:deliveries_delivery_change", args=[sent.pk]) in text


def test_the_page_of_an_event_costs_the_same_whatever_it_sent(root, tenant):
    event = EventFactory(tenant=tenant, event_id="evt_1")
    root.get(page_of(event))
    with CaptureQueriesContext(connection) as few:
        root.get(page_of(event))
    for n in range(20):
        delivery = DeliveryFactory(tenant=tenant, event_id="evt_1", user_id=f"u{n}")
        AttemptFactory(delivery=delivery)
        ReceiptFactory(delivery=delivery)
    with CaptureQueriesContext(connection) as many:
        root.get(page_of(event))
    assert len(many) <= len(few) + 2  # the attempts and the receipts, once there are deliveries


def cancel(client, event):
    return client.post(reverse("admin:notifications_event_cancel", args=[event.pk]), {"_form_submitted": "on"})


def test_an_event_is_canceled_with_what_it_has_not_sent(root, tenant):
    event = EventFactory(tenant=tenant, event_id="evt_1")
    waiting = DeliveryFactory(tenant=tenant, event_id="evt_1", status=Status.PENDING)
    sent = DeliveryFactory(tenant=tenant, event_id="evt_1", channel=Channel.SMS, status=Status.SENT)
    assert cancel(root, event)["Location"] == page_of(event)
    event.refresh_from_db()
    assert event.status == EventStatus.CANCELED
    assert dict(Delivery.objects.values_list("pk", "status")) == {waiting.pk: Status.CANCELED, sent.pk: Status.SENT}
    assert "Cancel this event?" not in root.get(page_of(event)).content.decode()


def test_only_staff_who_may_change_events_cancel_them(tenant):
    event = EventFactory(tenant=tenant)
    assert cancel(staff_client("notifications.view_event"), event).status_code == 403
    event.refresh_from_db()
    assert event.status == EventStatus.ACCEPTED


def test_an_event_is_never_edited(root, tenant):
    event = EventFactory(tenant=tenant, event_type="account")
    assert root.post(page_of(event), {"event_type": "forged"}).status_code == 403
    assert root.post(reverse("admin:notifications_event_delete", args=[event.pk]), {"post": "yes"}).status_code == 403
    assert list(Event.objects.values_list("event_type", flat=True)) == ["account"]


def rule_form(tenant, **values):
    form = {
        "tenant": tenant.pk,
        "name": "big",
        "event_type": "order.*",
        "condition": "payload.amount > 100",
        "recipients": "{}",
        "channels": [1, 4],
        "position": 0,
        "is_active": "on",
    }
    return form | values


def test_a_rule_is_made(root, tenant):
    response = root.post(reverse("admin:notifications_rule_add"), rule_form(tenant, recipients='{"topic": "staff"}'))
    assert response.status_code == 302, response.context["errors"]
    rule = Rule.objects.get()
    assert (rule.channels, rule.recipients, rule.condition) == ([1, 4], {"topic": "staff"}, "payload.amount > 100")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("condition", "payload.amount >"),
        ("condition", "secrets.key == 1"),
        ("event_type", "order *"),
        ("recipients", '{"everybody": true}'),
        ("recipients", '{"path": "payload."}'),
        ("recipients", "[1"),
        ("channels", []),
        ("channels", [9]),
        ("name", "a\x00b"),
    ],
)
def test_a_faulty_rule_is_refused_at_the_field(root, tenant, field, value):
    response = root.post(reverse("admin:notifications_rule_add"), rule_form(tenant, **{field: value}))
    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == [field]
    assert not Rule.objects.exists()


def test_a_rule_stays_with_its_tenant(root, tenant, stranger):
    rule = RuleFactory(tenant=tenant)
    form = rule_form(stranger, name="renamed", condition="")
    assert root.post(reverse("admin:notifications_rule_change", args=[rule.pk]), form).status_code == 302
    rule.refresh_from_db()
    assert (rule.tenant, rule.name) == (tenant, "renamed")


def test_an_event_type_is_made_once_under_a_dotted_name(root, tenant):
    form = {"tenant": tenant.pk, "name": "order.paid", "default_priority": 2, "default_channels": [1]}
    add = reverse("admin:notifications_eventtype_add")
    assert root.post(add, form | {"name": "order paid"}).status_code == 200
    assert root.post(add, form).status_code == 302
    assert root.post(add, form).status_code == 200
    (made,) = EventType.objects.all()
    assert (made.name, made.default_channels) == ("order.paid", [1])


def test_an_event_type_keeps_its_name(root, tenant):
    made = EventTypeFactory(tenant=tenant, name="order.paid", created_at=NOON - timedelta(days=1))
    form = {"name": "other", "category": "orders", "default_priority": 1}
    assert root.post(reverse("admin:notifications_eventtype_change", args=[made.pk]), form).status_code == 302
    made.refresh_from_db()
    assert (made.name, made.category, made.default_priority) == ("order.paid", "orders", 1)
