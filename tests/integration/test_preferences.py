"""Preferences over HTTP: by API key for anyone, by user token for oneself."""

import uuid

import pytest

from preferences.choices import LONGEST_LADDER
from preferences.models import Preference
from tenants.vocabulary import Scope
from tests.conftest import client_for, user_client
from tests.factories import EventTypeFactory, PreferenceFactory, RecipientFactory

RUNG = {"userId": "a", "channel": "email", "eventType": "order.shipped"}


def levels(response):
    body = response.json()
    return body["level"], body.get("enabled", body.get("outcome"))


def test_a_preference_is_set_changed_listed_and_removed(api):
    created = api.post("/api/preferences", RUNG | {"enabled": False, "quietHoursStart": "22:00", "quietHoursEnd": "07:00"})
    assert created.status_code == 201
    preference = created.json()
    assert preference == RUNG | {
        "id": preference["id"],
        "category": None,
        "enabled": False,
        "quietHoursStart": "22:00",
        "quietHoursEnd": "07:00",
        "quietHoursDays": None,
        "delivery": "immediate",
        "source": None,
        "createdAt": preference["createdAt"],
        "updatedAt": preference["updatedAt"],
    }
    changed = api.patch(f"/api/preferences/{preference['id']}", {"enabled": True, "delivery": "digest"})
    assert changed.status_code == 200
    assert changed.json() == preference | {"enabled": True, "delivery": "digest", "updatedAt": changed.json()["updatedAt"]}
    assert api.get("/api/preferences?userId=a").json()["results"] == [changed.json()]
    assert api.delete(f"/api/preferences/{preference['id']}").status_code == 204
    assert api.delete(f"/api/preferences/{preference['id']}").status_code == 404
    assert api.get("/api/preferences?userId=a").json()["results"] == []


@pytest.mark.parametrize(
    "rung",
    [
        {"userId": "a", "channel": "email", "eventType": "order.shipped"},
        {"userId": "a", "channel": "*", "eventType": "order.shipped"},
        {"userId": "a", "channel": "push", "eventType": "*"},
        {"userId": "a", "channel": "*", "eventType": "*", "category": "orders"},
        {"userId": "a", "channel": "*", "eventType": "*"},
        {"channel": "*", "eventType": "*"},
    ],
)
def test_the_same_rung_again_is_changed_and_keeps_what_is_not_named(api, rung):
    first = api.post("/api/preferences", rung | {"quietHoursStart": "22:00", "quietHoursEnd": "07:00"})
    again = api.post("/api/preferences", rung | {"enabled": False})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert {name: again.json()[name] for name in rung} == rung
    assert (again.json()["enabled"], again.json()["quietHoursStart"]) == (False, "22:00")
    assert Preference.objects.count() == 1


def test_what_is_left_out_is_any_and_what_was_read_can_be_written_back(api):
    created = api.post("/api/preferences", {"userId": "a"}).json()
    assert (created["channel"], created["eventType"], created["enabled"]) == ("*", "*", True)
    again = api.post("/api/preferences", created)
    assert again.status_code == 200
    assert again.json() | {"updatedAt": None} == created | {"updatedAt": None}


BAD = [
    ({"channel": "pigeon"}, "channel"),
    ({"channel": None}, "channel"),
    ({"channel": 1}, "channel"),
    ({"channel": ["email"]}, "channel"),
    ({"eventType": "two words"}, "eventType"),
    ({"eventType": ""}, "eventType"),
    ({"eventType": "x" * 201}, "eventType"),
    ({"eventType": 5}, "eventType"),
    ({"eventType": "order.shipped", "category": "orders"}, "category"),
    ({"category": "x" * 101}, "category"),
    ({"userId": "x" * 256}, "userId"),
    ({"userId": "a\nb"}, "userId"),
    ({"userId": 5}, "userId"),
    ({"enabled": "yes"}, "enabled"),
    ({"enabled": None}, "enabled"),
    ({"quietHoursStart": "25:00", "quietHoursEnd": "07:00"}, "quietHoursStart"),
    ({"quietHoursStart": "22:60", "quietHoursEnd": "07:00"}, "quietHoursStart"),
    ({"quietHoursStart": "22:00:00", "quietHoursEnd": "07:00"}, "quietHoursStart"),
    ({"quietHoursStart": "22:00", "quietHoursEnd": "7"}, "quietHoursEnd"),
    ({"quietHoursStart": 2200, "quietHoursEnd": "07:00"}, "quietHoursStart"),
    ({"quietHoursStart": "22:00"}, "quietHoursEnd"),
    ({"quietHoursEnd": "22:00"}, "quietHoursEnd"),
    ({"quietHoursStart": "22:00", "quietHoursEnd": None}, "quietHoursEnd"),
    ({"quietHoursStart": "22:00", "quietHoursEnd": "22:00"}, "quietHoursEnd"),
    ({"quietHoursDays": ["mon"]}, "quietHoursDays"),
    ({"quietHoursDays": ["mon"], "quietHoursStart": None, "quietHoursEnd": None}, "quietHoursDays"),
    ({"quietHoursStart": "22:00", "quietHoursEnd": "07:00", "quietHoursDays": ["monday"]}, "quietHoursDays[0]"),
    ({"quietHoursStart": "22:00", "quietHoursEnd": "07:00", "quietHoursDays": ["mon", "mon"]}, "quietHoursDays"),
    ({"quietHoursStart": "22:00", "quietHoursEnd": "07:00", "quietHoursDays": "mon"}, "quietHoursDays"),
    ({"quietHoursStart": "22:00", "quietHoursEnd": "07:00", "quietHoursDays": 1}, "quietHoursDays"),
    ({"quietHoursStart": "22:00", "quietHoursEnd": "22:00", "quietHoursDays": None}, "quietHoursEnd"),
    ({"delivery": "weekly"}, "delivery"),
    ({"delivery": None}, "delivery"),
    ({"colour": "red"}, "colour"),
    ({"category": "a\x00"}, "category"),
]


@pytest.mark.parametrize(("body", "field"), BAD)
def test_bad_input_is_refused_with_its_fields_name(api, body, field):
    response = api.post("/api/preferences", body)
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert not Preference.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"quietHoursStart": None}, "quietHoursEnd"),
        ({"quietHoursEnd": None}, "quietHoursEnd"),
        ({"quietHoursStart": "07:00"}, "quietHoursEnd"),
        ({"quietHoursStart": "25:00"}, "quietHoursStart"),
        ({"quietHoursDays": ["tue", "tue"]}, "quietHoursDays"),
        ({"quietHoursStart": None, "quietHoursEnd": None, "quietHoursDays": ["tue"]}, "quietHoursDays"),
        ({"channel": "sms"}, "channel"),
        ({"userId": "b"}, "userId"),
        ({"enabled": 1}, "enabled"),
    ],
)
def test_a_bad_change_is_refused(api, body, field):
    created = api.post("/api/preferences", RUNG | {"quietHoursStart": "22:00", "quietHoursEnd": "07:00"}).json()
    response = api.patch(f"/api/preferences/{created['id']}", body)
    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (400, [field])
    assert api.get("/api/preferences?userId=a").json()["results"] == [created]


def test_quiet_hours_are_taken_away_and_moved(api):
    path = f"/api/preferences/{api.post('/api/preferences', RUNG).json()['id']}"
    assert api.patch(path, {"quietHoursStart": "22:00", "quietHoursEnd": "07:00"}).json()["quietHoursEnd"] == "07:00"
    assert api.patch(path, {"quietHoursEnd": "08:30"}).json()["quietHoursEnd"] == "08:30"
    assert api.patch(path, {"quietHoursStart": None, "quietHoursEnd": None}).json()["quietHoursStart"] is None
    assert api.patch(path, {}).status_code == 200


@pytest.mark.parametrize("preference_id", ["x", "%00", "1" * 36, str(uuid.UUID(int=0))])
def test_an_id_that_is_none_is_not_found(api, preference_id):
    assert api.patch(f"/api/preferences/{preference_id}", {}).status_code == 404
    assert api.delete(f"/api/preferences/{preference_id}").status_code == 404


def test_a_ladder_has_an_end(api, tenant):
    Preference.objects.bulk_create(
        [Preference(tenant=tenant, user_id="a", event_type=f"type.{number}") for number in range(LONGEST_LADDER)]
    )
    full = api.post("/api/preferences", {"userId": "a", "eventType": "one.more"})
    assert (full.status_code, full["Content-Type"]) == (409, "application/problem+json")
    assert api.post("/api/preferences", {"userId": "a", "eventType": "type.0"}).status_code == 200
    assert api.post("/api/preferences", {"userId": "b", "eventType": "one.more"}).status_code == 201
    assert Preference.objects.filter(user_id="a").count() == LONGEST_LADDER


def test_without_a_user_an_api_key_reads_and_sets_the_tenants_default(api, tenant):
    default = api.post("/api/preferences", {"channel": "sms", "enabled": False}).json()
    assert default["userId"] is None
    PreferenceFactory(tenant=tenant, user_id="a")
    assert api.get("/api/preferences").json()["results"] == [default]
    assert api.get("/api/preferences?userId=").json()["results"] == [default]
    assert levels(api.get("/api/preferences/sms/note?userId=b")) == ("tenant.channel", False)
    assert levels(api.get("/api/preferences/sms/note")) == ("tenant.channel", False)


def test_the_effective_preference_follows_the_ladder(api, tenant):
    EventTypeFactory(tenant=tenant, name="order.shipped", category="orders")
    EventTypeFactory(tenant=tenant, name="newsletter", category="marketing", default_enabled=False)
    EventTypeFactory(tenant=tenant, name="security.login", required=True)
    api.post("/api/preferences", {"userId": "a", "category": "orders", "enabled": False, "delivery": "digest"})
    by_category = api.get("/api/preferences/email/order.shipped?userId=a").json()
    assert by_category == by_category | {
        "userId": "a",
        "channel": "email",
        "eventType": "order.shipped",
        "category": "orders",
        "enabled": False,
        "delivery": "digest",
        "level": "user.category",
        "rule": str(Preference.objects.get().pk),
        "why": "The user turned the category orders by any channel off.",
    }
    assert levels(api.get("/api/preferences/email/newsletter?userId=a")) == ("event_type.default", False)
    assert levels(api.get("/api/preferences/email/undeclared?userId=a")) == ("default", True)
    api.post("/api/preferences", {"userId": "a", "enabled": False})
    assert levels(api.get("/api/preferences/email/undeclared?userId=a")) == ("user.any", False)
    assert levels(api.get("/api/preferences/*/*?userId=a")) == ("user.any", False)
    assert levels(api.get("/api/preferences/email/security.login?userId=a")) == ("event_type.required", True)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("pigeon/x", "channel"),
        ("%00/x", "channel"),
        ("email/two%20words", "eventType"),
        ("email/%00", "eventType"),
        ("email/x?userId=%00", "userId"),
    ],
)
def test_the_effective_preference_of_what_cannot_be_is_refused(api, path, field):
    response = api.get(f"/api/preferences/{path}")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, field)


def test_the_explanation_shows_every_step_and_the_one_that_decides(api, tenant):
    EventTypeFactory(tenant=tenant, name="order.shipped", category="orders")
    api.post("/api/preferences", {"channel": "email", "enabled": True})
    off = api.post("/api/preferences", RUNG | {"enabled": False, "quietHoursStart": "22:00", "quietHoursEnd": "07:00"}).json()
    asked = {"userId": "a", "eventType": "order.shipped", "channel": "email"}
    response = api.get("/api/preferences/explain", asked)
    explanation = response.json()
    assert response.status_code == 200
    assert explanation == explanation | asked | {
        "outcome": "suppressed",
        "level": "user.channel_type",
        "rule": off["id"],
        "why": "The user turned order.shipped by email off.",
        "quietHoursStart": "22:00",
        "quietHoursEnd": "07:00",
        "quietHoursDays": None,
        "delivery": "immediate",
    }
    assert len(explanation["ladder"]) == 15
    assert [step for step in explanation["ladder"] if step["decides"]] == [
        {"level": "user.channel_type", "rule": off["id"], "enabled": False, "decides": True}
    ]
    assert {step["level"]: step["enabled"] for step in explanation["ladder"] if step["rule"]} == {
        "user.channel_type": False,
        "tenant.channel": True,
    }
    api.delete(f"/api/preferences/{off['id']}")
    assert levels(api.get("/api/preferences/explain", asked)) == ("tenant.channel", "allowed")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("channel=email", "eventType"),
        ("eventType=x", "channel"),
        ("eventType=x&channel=pigeon", "channel"),
        ("eventType=x%20y&channel=email", "eventType"),
        ("eventType=x&channel=email&userId=%00", "userId"),
    ],
)
def test_an_explanation_of_what_cannot_be_is_refused(api, query, field):
    response = api.get(f"/api/preferences/explain?{query}")
    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (400, [field])


def test_a_user_reaches_its_own_preferences(tenant):
    me = user_client(tenant, "a")
    created = me.post("/api/preferences", {"channel": "email", "enabled": False})
    assert (created.status_code, created.json()["userId"]) == (201, "a")
    path = f"/api/preferences/{created.json()['id']}"
    assert me.post("/api/preferences", {"userId": "a", "channel": "email"}).status_code == 200
    assert me.get("/api/preferences").json()["results"] == me.get("/api/preferences?userId=a").json()["results"] != []
    assert levels(me.get("/api/preferences/email/x")) == ("user.channel", False)
    assert levels(me.get("/api/preferences/explain?eventType=x&channel=email")) == ("user.channel", "suppressed")
    assert me.patch(path, {"enabled": True}).json()["enabled"] is True
    assert me.delete(path).status_code == 204


def test_a_user_reaches_nobody_elses(api, tenant):
    me = user_client(tenant, "a")
    theirs, default = (api.post("/api/preferences", body).json() for body in ({"userId": "b"}, {}))
    assert me.get("/api/preferences?userId=b").status_code == 403
    assert me.get("/api/preferences/email/x?userId=b").status_code == 403
    assert me.get("/api/preferences/explain?eventType=x&channel=email&userId=b").status_code == 403
    assert me.post("/api/preferences", {"userId": "b", "enabled": False}).status_code == 403
    for preference in (theirs, default):
        assert me.patch(f"/api/preferences/{preference['id']}", {"enabled": False}).status_code == 404
        assert me.delete(f"/api/preferences/{preference['id']}").status_code == 404
    assert me.get("/api/preferences").json()["results"] == []
    assert list(Preference.objects.values_list("user_id", "enabled").order_by("user_id")) == [("", True), ("b", True)]


def test_another_tenants_preferences_are_neither_seen_nor_touched(api, stranger, stranger_api):
    theirs = stranger_api.post("/api/preferences", RUNG | {"enabled": False}).json()
    stranger_api.post("/api/preferences", {"enabled": False})
    assert api.get("/api/preferences?userId=a").json()["results"] == []
    assert api.get("/api/preferences").json()["results"] == []
    assert api.patch(f"/api/preferences/{theirs['id']}", {"enabled": True}).status_code == 404
    assert api.delete(f"/api/preferences/{theirs['id']}").status_code == 404
    assert levels(api.get("/api/preferences/email/order.shipped?userId=a")) == ("default", True)
    assert api.post("/api/preferences", RUNG).status_code == 201
    assert levels(user_client(stranger, "a").get("/api/preferences/email/order.shipped")) == ("user.channel_type", False)


def test_preferences_need_their_scope(tenant):
    for client in (client_for(tenant, Scope.RECIPIENTS_WRITE), client_for(tenant, Scope.EVENTS_WRITE)):
        assert client.get("/api/preferences").status_code == 403
        assert client.post("/api/preferences", RUNG).status_code == 403
        assert client.get("/api/preferences/explain?eventType=x&channel=email").status_code == 403
    assert client_for(tenant, Scope.PREFERENCES_WRITE).post("/api/preferences", RUNG).status_code == 201


def test_a_user_needs_no_recipient_to_have_preferences(tenant, api):
    RecipientFactory(tenant=tenant, user_id="other")
    assert api.post("/api/preferences", RUNG | {"enabled": False}).status_code == 201
    assert levels(api.get("/api/preferences/email/order.shipped?userId=a")) == ("user.channel_type", False)
