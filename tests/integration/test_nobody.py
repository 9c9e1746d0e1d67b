"""Events that come to no delivery say why."""

from __future__ import annotations

import pytest
from django.urls import reverse

from deliveries.models import Delivery
from notifications import leases
from notifications.models import Event, EventStatus
from preferences.services import subscribe
from tenants.vocabulary import Channel
from tests.factories import RuleFactory, TemplateFactory, TopicFactory
from tests.staff import superuser_client


@pytest.fixture(autouse=True)
def words(tenant):
    TemplateFactory(tenant=tenant, channel=Channel.IN_APP, event_type="order", version__body="x", version__variables=[])


def reason_of(api, drain, **event) -> str:
    assert api.post("/api/events", {"eventType": "order", **event}).status_code == 202
    drain()
    stored = Event.objects.get()
    assert stored.status == EventStatus.PROCESSED
    assert bool(stored.reason) is not Delivery.objects.exists()
    return stored.reason


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ([], "no_rule_matched"),
        ([{"event_type": "invoice.*", "recipients": {"userIds": ["ada"]}}], "no_rule_matched"),
        ([{"condition": "payload.n > 1", "recipients": {"userIds": ["ada"]}}], "no_rule_matched"),
        ([{"condition": "payload.gone > 1", "recipients": {"userIds": ["ada"]}}], "no_rule_matched"),
        ([{"is_active": False, "recipients": {"userIds": ["ada"]}}], "no_rule_matched"),
        ([{}], "no_recipients"),
        ([{"recipients": {"path": "payload.gone"}}], "no_recipients"),
        ([{"recipients": {"path": "payload.nobody"}}], "no_recipients"),
        ([{"recipients": {"topic": "nowhere"}}], "no_recipients"),
        ([{"recipients": {"topic": "empty"}}, {}, {"recipients": {"topic": "nowhere"}}], "no_recipients"),
        ([{"recipients": {"topic": "nowhere"}}, {"recipients": {"userIds": ["ada"]}}], ""),
        ([{"recipients": {"userIds": ["ada"]}}, {"recipients": {"topic": "empty"}}], ""),
        ([{"recipients": {"topic": "full"}}, {"recipients": {"topic": "empty"}}, {"recipients": {"topic": "nowhere"}}], ""),
        ([{"recipients": {"topic": "empty"}}, {"recipients": {"topic": "full"}}, {"recipients": {"topic": "nowhere"}}], ""),
        ([{"channels": [], "recipients": {"userIds": ["ada"]}}], "no_channels"),
        ([{}, {"recipients": {"path": "payload.gone"}}, {"recipients": {"userIds": ["ada"]}}], ""),
    ],
)
def test_an_event_that_names_nobody(api, drain, tenant, rules, reason):
    TopicFactory(tenant=tenant, key="empty")
    subscribe(tenant=tenant, topic_key="full", user_id="bob")
    for rule in rules:
        RuleFactory(tenant=tenant, **{"event_type": "order", **rule})
    assert reason_of(api, drain, data={"n": 1, "nobody": []}) == reason


def test_a_full_page_before_those_who_name_nobody(api, drain, tenant):
    for recipients in ({"userIds": [f"u{number}" for number in range(500)]}, {}, {"topic": "nowhere"}):
        RuleFactory(tenant=tenant, event_type="order", recipients=recipients)
    assert reason_of(api, drain) == ""
    assert Delivery.objects.count() == 500


def test_an_event_for_a_topic_without_subscribers(api, drain, tenant):
    TopicFactory(tenant=tenant, key="empty")
    assert reason_of(api, drain, to={"topic": "empty"}, channels=["in_app"]) == "no_recipients"


def test_an_event_for_somebody_on_no_channel(api, drain, tenant):
    tenant.default_channels = []
    tenant.save()
    assert reason_of(api, drain, userId="ada") == "no_channels"


def test_the_reason_is_shown(api, drain):
    api.post("/api/events", {"eventType": "order", "eventId": "e1"})
    drain()
    event = api.get("/api/events/e1").json()
    assert (event["status"], event["reason"], event["deliveries"]) == ("processed", "no_rule_matched", [])
    assert event["timeline"][-1]["detail"] == "no_rule_matched"
    assert [one["reason"] for one in api.get("/api/events").json()["results"]] == ["no_rule_matched"]
    page = superuser_client().get(reverse("admin:notifications_event_change", args=[event["id"]]))
    assert "no rule matched" in page.content.decode()


def test_a_replayed_event_finds_its_rule(api, drain, tenant):
    api.post("/api/events", {"eventType": "order", "eventId": "e1"})
    Event.objects.update(status=EventStatus.FAILED, reason=leases.POISON)
    RuleFactory(tenant=tenant, event_type="order", recipients={"userIds": ["ada"]})
    assert api.post("/api/events/retry", {"eventIds": ["e1"]}).json() == {"replayed": ["e1"]}
    drain()
    assert Event.objects.get().reason == ""
    assert Delivery.objects.count() == 1
