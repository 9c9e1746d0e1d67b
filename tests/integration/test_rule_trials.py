"""Asking rules of an event: what is answered is what would happen, and nothing happens."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from deliveries.models import Delivery
from notifications.models import Event, Rule
from preferences.models import Recipient
from preferences.services import subscribe
from tenants.vocabulary import Channel, Scope
from tests.conftest import client_for
from tests.factories import EventTypeFactory, RuleFactory, TopicFactory

EVENT = {"eventType": "order.shipped", "data": {"amount": 120, "customer": {"id": "ada"}, "watchers": ["bob", "cy"]}}
NEW = {"name": "n", "eventType": "order.*", "channels": ["email", "in_app"], "recipients": {"path": "payload.customer.id"}}
SLOW = "payload.a.map(x, payload.a).size() > 0"


def tried(api, rule: Rule, **event):
    answer = api.post(f"/api/rules/{rule.pk}/test", {"event": EVENT | event})
    assert answer.status_code == 200, answer.json()
    return answer.json()


def explained(api, **event):
    answer = api.post("/api/rules/explain", {"event": EVENT | event})
    assert answer.status_code == 200, answer.json()
    return answer.json()


def named(answer, field: str) -> list[tuple[str, str]]:
    return [(one["field"], one["code"]) for one in answer[field]]


def test_a_rule_that_matches_says_whom_it_names_and_how(api, tenant):
    rule = RuleFactory(
        tenant=tenant,
        condition="payload.amount > 100",
        recipients={"path": "payload.watchers + [payload.customer.id]"},
        channels=[Channel.EMAIL, Channel.IN_APP],
    )
    shared = {"from": "path", "channels": ["email", "in_app"]}
    assert tried(api, rule) == {
        "matches": True,
        "because": "matched",
        "pattern": {"matches": True},
        "condition": {"result": True},
        "recipients": [{"userId": user_id, **shared} for user_id in ("bob", "cy", "ada")],
        "recipientCount": 3,
        "channels": ["email", "in_app"],
        "problems": [],
    }


@pytest.mark.parametrize(
    ("rule", "event", "because", "condition", "problems"),
    [
        ({"event_type": "invoice.*"}, {}, "other_type", None, []),
        ({"condition": "payload.amount > 1000"}, {}, "condition_false", False, []),
        ({"condition": "payload.amount > 100"}, {}, "matched", True, []),
        ({"condition": "payload.coupon == 'A'"}, {}, "condition_failed", None, [("condition", "failed")]),
        ({"condition": "payload.amount"}, {}, "condition_failed", None, [("condition", "failed")]),
        ({"recipients": {"path": "payload.gone"}}, {}, "recipients_failed", True, [("recipients", "failed")]),
        ({"recipients": {}}, {}, "no_recipients", True, [("recipients", "no_recipients")]),
        ({"recipients": {"topic": "nowhere"}}, {}, "matched", True, [("recipients", "unknown_topic")]),
        ({"recipients": {"topic": "empty"}}, {}, "matched", True, [("recipients", "no_subscribers")]),
        ({"is_active": False}, {}, "matched", True, [("isActive", "inactive")]),
        ({}, {"userId": "ada", "channels": ["sms"]}, "not_asked", None, [("event", "not_asked")]),
        ({}, {"expiresAt": "2020-01-01T00:00:00Z"}, "matched", True, [("event.expiresAt", "expired")]),
    ],
)
def test_why_a_rule_does_what_it_does(api, tenant, rule, event, because, condition, problems):
    TopicFactory(tenant=tenant, key="empty")
    answer = tried(api, RuleFactory(tenant=tenant, **{"recipients": {"userIds": ["ada"]}, **rule}), **event)
    assert (answer["because"], answer["condition"]["result"]) == (because, condition)
    assert answer["matches"] is (condition is True)
    assert answer["pattern"]["matches"] is (because != "other_type")
    assert named(answer, "problems") == problems
    assert bool(answer["recipients"]) is (answer["matches"] and because == "matched")
    assert ("error" in answer["condition"]) is (because == "condition_failed")


def test_a_fault_is_told_in_the_words_of_the_log(api, tenant):
    answer = tried(api, RuleFactory(tenant=tenant, condition="payload.amount"))
    assert answer["condition"]["error"] == "the condition gave int, not true or false"


def test_the_recipient_that_the_event_names_stands(api, tenant):
    rule = RuleFactory(tenant=tenant, recipients={"path": "payload.watchers"}, channels=[Channel.SMS])
    assert tried(api, rule, userId="eve")["recipients"] == [{"userId": "eve", "from": "event", "channels": ["sms"]}]
    inline = {"email": "a@example.com", "locale": "de"}
    assert tried(api, rule, to=inline)["recipients"] == [{**inline, "from": "event", "channels": ["sms"]}]
    assert tried(api, rule, channels=["push"])["channels"] == ["push"]


def test_a_topic_is_counted_and_not_listed(api, tenant, stranger):
    for owner, users in ((tenant, "abc"), (stranger, "xyz12")):
        for user_id in users:
            subscribe(tenant=owner, topic_key="news", user_id=user_id)
    answer = tried(api, RuleFactory(tenant=tenant, recipients={"topic": "news"}))
    assert answer["recipients"] == [{"topic": "news", "subscribers": 3, "from": "topic", "channels": ["in_app"]}]
    assert (answer["recipientCount"], answer["problems"]) == (3, [])


def test_many_recipients_are_counted_and_the_first_listed(api, tenant):
    users = [f"u{number}" for number in range(150)]
    answer = tried(api, RuleFactory(tenant=tenant, recipients={"userIds": [*users, "u0"]}))
    assert [one["userId"] for one in answer["recipients"]] == users[:100]
    assert answer["recipientCount"] == 150


def test_the_types_own_priority_is_what_the_rule_sees(api, tenant):
    EventTypeFactory(tenant=tenant, name="order.shipped", default_priority=0)
    rule = RuleFactory(tenant=tenant, condition="event.priority == 'urgent'", recipients={"userIds": ["ada"]})
    assert tried(api, rule)["matches"] is True
    assert tried(api, rule, priority="low")["matches"] is False
    assert tried(api, rule, metadata={"a": 1})["matches"] is True


def test_data_is_what_postgresql_would_give_back(api, tenant):
    rule = RuleFactory(tenant=tenant, condition="size(payload.amount) == 0")
    fault = tried(api, rule, data={"amount": 1e2})["condition"]["error"]
    assert fault == tried(api, rule, data={"amount": 100})["condition"]["error"]


def test_a_rule_that_is_not_saved_is_tried_and_not_saved(api, tenant):
    answer = api.post("/api/rules/test", {"rule": NEW | {"condition": "payload.amount > 100"}, "event": EVENT}).json()
    assert answer["recipients"] == [{"userId": "ada", "from": "path", "channels": ["email", "in_app"]}]
    assert not Rule.objects.exists()


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["rule", "event"]),
        ({"rule": NEW, "event": EVENT, "extra": 1}, ["extra"]),
        ({"rule": [], "event": EVENT}, ["rule"]),
        ({"rule": NEW, "event": []}, ["event"]),
        ({"rule": NEW, "event": {}}, ["event.eventType"]),
        ({"rule": NEW | {"condition": "payload.a +"}, "event": EVENT}, ["rule.condition"]),
        ({"rule": NEW | {"condition": "order.a > 1"}, "event": EVENT}, ["rule.condition"]),
        ({"rule": NEW | {"recipients": {"path": "1 +"}}, "event": EVENT}, ["rule.recipients"]),
        ({"rule": NEW | {"eventType": "a b"}, "event": EVENT}, ["rule.eventType"]),
        ({"rule": NEW | {"nmae": "x"}, "event": EVENT}, ["rule.nmae"]),
        ({"rule": NEW | {"channels": ["fax"]}, "event": EVENT | {"priority": "x"}}, ["rule.channels[0]", "event.priority"]),
        ({"rule": NEW, "event": EVENT | {"data": 1}}, ["event.data"]),
        ({"rule": NEW, "event": EVENT | {"data": {"a": "\x00"}}}, ["event.data.a"]),
        ({"rule": NEW, "event": EVENT | {"to": [{"email": "no"}]}}, ["event.to[0].email"]),
    ],
)
def test_what_is_wrong_is_named(api, body, fields):
    answer = api.post("/api/rules/test", body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert [error["field"] for error in answer.json()["errors"]] == fields


@pytest.mark.parametrize("place", ["/api/rules/test", "/api/rules/explain", "/api/rules/{id}/test"])
def test_what_is_no_body_or_too_large(api, tenant, place):
    place = place.format(id=RuleFactory(tenant=tenant).pk)
    assert api.post(place, data=b"[]", content_type="application/json").status_code == 400
    assert api.post(place, data=b"{", content_type="application/json").status_code == 400
    assert api.post(place, data=b"", content_type="application/json").json()["errors"][-1]["field"] == "event"
    large = {"event": EVENT | {"data": {"a": "x" * 600_000}}, "rule": NEW}
    assert api.post(place, large).status_code == 413


def test_another_tenants_rule_is_not_there(stranger_api, tenant, stranger):
    rule = RuleFactory(tenant=tenant)
    assert stranger_api.post(f"/api/rules/{rule.pk}/test", {"event": EVENT}).status_code == 404
    assert stranger_api.post(f"/api/rules/{uuid4()}/test", {"event": EVENT}).status_code == 404
    RuleFactory(tenant=stranger, name="own")
    assert [one["name"] for one in explained(stranger_api)["rules"]] == ["own"]


def test_it_takes_the_scope_of_rules(tenant):
    poor, fit = client_for(tenant, Scope.EVENTS_WRITE), client_for(tenant, Scope.RULES_WRITE)
    for place in ("/api/rules/test", "/api/rules/explain", f"/api/rules/{RuleFactory(tenant=tenant).pk}/test"):
        assert poor.post(place, {"event": EVENT}).status_code == 403
        assert fit.post(place, {"event": EVENT, "rule": NEW}).status_code in {200, 400}


def test_nothing_is_left_behind(api, tenant):
    rule = RuleFactory(tenant=tenant, recipients={"path": "payload.customer.id"})
    explained(api)  # the first use of a key is noted on it
    with CaptureQueriesContext(connection) as captured:
        tried(api, rule)
        explained(api)
        api.post("/api/rules/test", {"rule": NEW, "event": EVENT})
    verbs = {one["sql"].split()[0] for one in captured}
    assert verbs <= {"SELECT"}
    assert [model.objects.count() for model in (Event, Delivery, Recipient, Rule)] == [0, 0, 0, 1]


def test_explain_costs_the_same_statements_whatever_there_is(api, tenant):
    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            explained(api)
        return len(captured)

    RuleFactory(tenant=tenant, recipients={"topic": "one"})
    statements()  # the first use of a key is noted on it
    few = statements()
    for number in range(20):
        RuleFactory(tenant=tenant, recipients={"topic": f"t{number}"})
        RuleFactory(tenant=tenant, recipients={"userIds": [f"u{number}"]})
    assert statements() == few


def test_all_rules_in_turn_and_what_it_comes_to(api, tenant):
    last = RuleFactory(tenant=tenant, name="last", position=9, recipients={"path": "payload.watchers"}, channels=[Channel.SMS])
    RuleFactory(tenant=tenant, name="other", event_type="invoice.*")
    RuleFactory(tenant=tenant, name="small", condition="payload.amount < 100", position=1)
    RuleFactory(tenant=tenant, name="broken", condition="payload.coupon > 1", position=2)
    RuleFactory(tenant=tenant, name="off", is_active=False)
    first = RuleFactory(tenant=tenant, name="first", position=-1, recipients={"userIds": ["bob"]})
    answer = explained(api)
    assert [(one["name"], one["because"], one["matches"]) for one in answer["rules"]] == [
        ("first", "matched", True),
        ("other", "other_type", False),
        ("small", "condition_false", False),
        ("broken", "condition_failed", False),
        ("last", "matched", True),
    ]
    assert answer["recipients"] == [
        {"userId": "bob", "from": "userIds", "channels": ["in_app"], "rule": str(first.pk)},
        {"userId": "bob", "from": "path", "channels": ["sms"], "rule": str(last.pk)},
        {"userId": "cy", "from": "path", "channels": ["sms"], "rule": str(last.pk)},
    ]
    assert (answer["recipientCount"], answer["channels"], answer["reason"]) == (2, ["in_app", "sms"], "")
    whole = explained(api, userId="ada", channels=["push"])
    assert {one["because"] for one in whole["rules"]} == {"not_asked"}
    assert named(whole, "problems") == [("event", "not_asked")]
    assert whole["recipients"] == [{"userId": "ada", "from": "event", "channels": ["push"]}]


def test_somebody_named_who_is_also_subscribed_counts_once(api, tenant):
    for user_id in ("ada", "bob"):
        subscribe(tenant=tenant, topic_key="news", user_id=user_id)
        subscribe(tenant=tenant, topic_key="staff", user_id=user_id)
    for recipients in ({"topic": "news"}, {"topic": "staff"}, {"path": "payload.customer.id"}, {"userIds": ["zoe"]}):
        RuleFactory(tenant=tenant, recipients=recipients)
    assert explained(api)["recipientCount"] == 3


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"userId": "eve"},
        {"channels": ["push", "sms"]},
        {"userId": "eve", "channels": ["chat"]},
        {"to": [{"userId": "eve"}, {"userId": "ada"}, {"userId": "eve"}]},
        {"to": {"topic": "news"}},
        {"eventType": "invoice.paid"},
        {"eventType": "nothing"},
        {"eventType": "nothing", "userId": "eve"},
        {"data": {}},
        {"priority": "urgent"},
    ],
)
def test_what_is_explained_is_what_happens(api, drain, tenant, event):
    subscribe(tenant=tenant, topic_key="news", user_id="sub")
    for rule in (
        {"condition": "payload.amount > 100", "recipients": {"path": "payload.customer.id"}},
        {"condition": "payload.coupon == 1", "recipients": {"userIds": ["never"]}},
        {"recipients": {"path": "payload.watchers"}, "channels": [Channel.SMS]},
        {"condition": "event.priority == 'urgent'", "recipients": {"topic": "news"}},
        {"event_type": "invoice.*", "recipients": {"topic": "nowhere"}},
    ):
        RuleFactory(tenant=tenant, **rule)
    answer = explained(api, **event)
    assert api.post("/api/events", EVENT | event).status_code == 202
    drain()
    told = {
        (user_id, channel, one.get("rule", ""))
        for one in answer["recipients"]
        for user_id in (["sub"] if one.get("topic") == "news" else [one["userId"]] if "userId" in one else [])
        for channel in one["channels"]
    }
    made = {
        (one.user_id, str(Channel(one.channel).label), (one.explanation or {}).get("routedByRule", ""))
        for one in Delivery.objects.all()
    }
    assert made == told
    assert len({user_id for user_id, _, _ in made}) == answer["recipientCount"]
    assert {channel for _, channel, _ in made} == set(answer["channels"])
    assert Event.objects.get().reason == answer["reason"]


def test_a_hostile_expression_is_ended_and_the_other_rules_are_heard(api, tenant):
    RuleFactory(tenant=tenant, name="hostile", condition=SLOW, position=-1)
    RuleFactory(tenant=tenant, name="sound", recipients={"userIds": ["ada"]})
    answer = explained(api, data={"a": list(range(4000))})
    hostile, sound = answer["rules"]
    assert (hostile["because"], sound["because"]) == ("condition_failed", "matched")
    assert "CPU time" in hostile["condition"]["error"] or "memory" in hostile["condition"]["error"]
    trial = {"rule": NEW | {"condition": SLOW}, "event": EVENT | {"data": {"a": list(range(4000))}}}
    tries = [api.post("/api/rules/test", trial).json()["condition"]["error"] for _ in range(6)]
    assert tries[-1].startswith("left out for a minute")
