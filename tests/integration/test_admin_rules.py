"""Trying a rule on its page in the admin."""

from __future__ import annotations

import html
from uuid import uuid4

import pytest
from django.urls import reverse

from deliveries.models import Delivery
from notifications.models import Event
from preferences.models import Recipient
from preferences.services import subscribe
from tenants.vocabulary import Channel
from tests.factories import EventTypeFactory, RuleFactory
from tests.staff import staff_client, superuser_client

BAD = "<script>alert(1)</script>"


@pytest.fixture
def viewer(db):
    return staff_client("notifications.view_rule")


def place(rule) -> str:
    return reverse("admin:notifications_rule_try_it", args=[rule.pk])


def tried(client, rule, **event):
    given = {"event_type": "order.shipped", "payload": "{}", "user_id": "", "priority": "", "metadata": ""} | event
    page = client.post(place(rule), {f"try-{name}": value for name, value in given.items()})
    assert page.status_code == 200
    return page


def errors_of(page) -> list[str]:
    return list(page.context["try_form"].errors)


def test_the_rules_page_has_the_form_with_a_fitting_event_type(viewer, tenant):
    rule = RuleFactory(tenant=tenant, event_type="order.*")
    url = reverse("admin:notifications_rule_change", args=[rule.pk])
    page = viewer.get(url)
    assert page.context["try_form"]["event_type"].value() == "order.example"
    assert f'action="{place(rule)}"' in page.content.decode()
    assert 'name="try-payload"' in page.content.decode()
    EventTypeFactory(tenant=tenant, name="order.paid")
    assert viewer.get(url).context["try_form"]["event_type"].value() == "order.paid"
    assert "try-payload" not in superuser_client().get(reverse("admin:notifications_rule_add")).content.decode()


def test_who_may_view_the_rule_may_try_it(viewer, tenant):
    rule = RuleFactory(
        tenant=tenant,
        condition="payload.amount > 100",
        recipients={"path": "payload.who"},
        channels=[Channel.EMAIL, Channel.IN_APP],
    )
    text = html.unescape(tried(viewer, rule, payload='{"amount": 120, "who": ["ada", "bob"]}').content.decode())
    for shown in ("The rule matches.", "payload.amount > 100", "named by the rule's path", "email, in_app", "ada", "bob"):
        assert shown in text
    assert '"amount": 120' in text  # the form keeps what was given
    assert "The condition is false." in tried(viewer, rule, payload='{"amount": 1}').content.decode()
    assert [model.objects.count() for model in (Event, Delivery, Recipient)] == [0, 0, 0]


def test_who_may_not_view_it_may_not(client, tenant):
    rule = RuleFactory(tenant=tenant)
    assert staff_client("notifications.view_event").post(place(rule), {}).status_code == 403
    assert client.post(place(rule), {})["Location"].startswith(reverse("admin:login"))


@pytest.mark.parametrize("rule_id", [uuid4(), "no-id"])
def test_a_rule_that_is_not_there(viewer, rule_id):
    assert viewer.get(reverse("admin:notifications_rule_try_it", args=[rule_id])).status_code == 404


def test_the_page_by_itself_asks(viewer, tenant):
    page = viewer.get(place(RuleFactory(tenant=tenant)))
    assert page.status_code == 200
    assert "trial" not in page.context
    assert errors_of(page) == []


def test_faults_and_empty_topics_are_told(viewer, tenant):
    broken = RuleFactory(tenant=tenant, condition="payload.amount > 1", is_active=False)
    text = html.unescape(tried(viewer, broken).content.decode())
    assert "The condition cannot be asked of this event, so the rule is passed over." in text
    assert "The rule is not active" in text
    topic = RuleFactory(tenant=tenant, recipients={"topic": "news"})
    assert "There is no topic news." in tried(viewer, topic).content.decode()
    subscribe(tenant=tenant, topic_key="news", user_id="ada")
    assert "topic news, subscribers: 1" in tried(viewer, topic).content.decode()


def test_what_others_wrote_is_escaped(viewer, tenant):
    rule = RuleFactory(
        tenant=tenant,
        name=BAD,
        condition=f"payload.a != '{BAD}' || payload.gone",
        recipients={"userIds": [BAD]},
    )
    for page in (tried(viewer, rule, payload='{"a": 1}'), tried(viewer, rule, payload=f'{{"{BAD}": 1}}', user_id=BAD)):
        assert BAD not in page.content.decode()
        assert html.escape(BAD) in page.content.decode()


def test_many_recipients_are_counted(viewer, tenant):
    rule = RuleFactory(tenant=tenant, recipients={"userIds": [f"u{number}" for number in range(130)]})
    assert "100 listed, of 130 people in all." in tried(viewer, rule).content.decode()


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"payload": "{"}, ["payload"]),
        ({"payload": "[]"}, ["payload"]),
        ({"payload": ""}, ["payload"]),
        ({"payload": '{}, "userId": "ada"'}, ["payload"]),
        ({"payload": '{"a": "\\u0000"}'}, ["payload"]),
        ({"metadata": "1"}, ["metadata"]),
        ({"event_type": "a b"}, ["event_type"]),
        ({"user_id": "a\x7f"}, ["user_id"]),
        ({"priority": "soon"}, ["priority"]),
        ({"payload": '{"a": "' + "x" * 600_000 + '"}'}, ["__all__"]),
    ],
)
def test_an_event_that_could_not_be_posted_is_refused_by_its_field(viewer, tenant, given, fields):
    page = tried(viewer, RuleFactory(tenant=tenant), **given)
    assert errors_of(page) == fields
    assert "trial" not in page.context


def test_priority_and_metadata_are_asked_for(viewer, tenant):
    rule = RuleFactory(
        tenant=tenant, condition="event.priority == 'high' && event.metadata.a == 1", recipients={"userIds": ["ada"]}
    )
    page = tried(viewer, rule, priority="high", metadata='{"a": 1}', user_id="eve")
    assert page.context["trial"].matches
    assert [one[:2] for one in page.context["recipients"]] == [("eve", "named by the event")]
