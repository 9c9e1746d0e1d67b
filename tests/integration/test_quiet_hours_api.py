"""Quiet hours over HTTP: on preferences, of a user as a whole, of the tenant; and what an explanation says of them."""

import datetime as dt

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from deliveries.models import Delivery
from preferences.models import Preference, Recipient
from preferences.quiet_hours import DAYS
from preferences.views import preferences as preferences_views
from preferences.views import quiet_hours as quiet_hours_views
from tenants.models import Tenant
from tenants.vocabulary import Scope
from tests.conftest import client_for, user_client
from tests.factories import EventTypeFactory, PreferenceFactory, RecipientFactory, TemplateFactory

HOURS = {"quietHoursStart": "22:00", "quietHoursEnd": "07:00"}
RUNG = {"userId": "a", "channel": "email", "eventType": "order.shipped"}
NIGHT = {"start": "22:00", "end": "07:00", "days": list(DAYS)}
WEEKEND = {"start": "00:00", "end": "00:00", "days": ["sat", "sun"]}
PATH = "/api/quiet-hours"


@pytest.fixture
def at(monkeypatch):
    """As if it were then, a Wednesday in 2026, in UTC."""

    def stop(clock):
        moment = dt.datetime.combine(dt.date(2026, 7, 1), dt.time.fromisoformat(clock), dt.UTC)
        for views in (preferences_views, quiet_hours_views):
            monkeypatch.setattr(views, "now", lambda: moment)

    stop("12:00")
    return stop


def days(response):
    body = response.json()
    return body["quietHoursStart"], body["quietHoursDays"]


def faults(response):
    return response.status_code, [error["field"] for error in response.json()["errors"]]


def test_the_days_of_a_preference_are_set_changed_and_go_with_its_hours(api):
    created = api.post("/api/preferences", RUNG | HOURS | {"quietHoursDays": ["fri", "mon"]})
    assert (created.status_code, days(created)) == (201, ("22:00", ["mon", "fri"]))
    path = f"/api/preferences/{created.json()['id']}"
    assert days(api.patch(path, {"quietHoursDays": ["sun"]})) == ("22:00", ["sun"])
    assert api.get("/api/preferences?userId=a").json()["results"][0]["quietHoursDays"] == ["sun"]
    assert days(api.patch(path, {"quietHoursDays": None})) == ("22:00", None)
    assert days(api.post("/api/preferences", RUNG | {"quietHoursDays": ["tue"]})) == ("22:00", ["tue"])
    assert days(api.patch(path, {"quietHoursStart": None, "quietHoursEnd": None})) == (None, None)


def test_a_preference_on_no_day_is_free_of_quiet_hours_and_needs_no_times(api):
    created = api.post("/api/preferences", RUNG | {"quietHoursDays": []})
    assert (created.status_code, days(created)) == (201, (None, []))
    path = f"/api/preferences/{created.json()['id']}"
    assert days(api.post("/api/preferences", created.json())) == (None, [])
    assert days(api.patch(path, HOURS)) == ("22:00", [])
    assert days(api.get("/api/preferences/email/order.shipped?userId=a")) == (None, [])
    assert days(api.patch(path, {"quietHoursDays": None})) == ("22:00", None)


def test_a_whole_day_may_be_quiet_but_not_every_day(api):
    whole = RUNG | {"quietHoursStart": "00:00", "quietHoursEnd": "00:00"}
    created = api.post("/api/preferences", whole | {"quietHoursDays": ["sat", "sun"]})
    assert days(created) == ("00:00", ["sat", "sun"])
    path = f"/api/preferences/{created.json()['id']}"
    assert faults(api.patch(path, {"quietHoursDays": None})) == (400, ["quietHoursEnd"])
    assert faults(api.patch(path, {"quietHoursDays": list(DAYS)})) == (400, ["quietHoursEnd"])
    assert Preference.objects.get().quiet_hours_days == 0b1100000


def test_what_holds_for_a_user_has_the_days_of_the_deciding_preference(api):
    api.post("/api/preferences", RUNG | HOURS | {"quietHoursDays": ["mon"]})
    assert days(api.get("/api/preferences/email/order.shipped?userId=a")) == ("22:00", ["mon"])
    assert days(api.get("/api/preferences/explain", RUNG)) == ("22:00", ["mon"])
    assert days(api.get("/api/preferences/sms/order.shipped?userId=a")) == (None, None)


@pytest.mark.parametrize("values", [{"quiet_hours_days": 1}, {"quiet_hours_days": -1}, {"quiet_hours_days": 128}])
def test_the_database_takes_no_days_without_hours_or_beyond_the_week(tenant, values):
    hours = {} if values["quiet_hours_days"] == 1 else {"quiet_hours_start": "22:00", "quiet_hours_end": "07:00"}
    with pytest.raises(IntegrityError, match="preference_quiet_hours_days"), transaction.atomic():
        PreferenceFactory(tenant=tenant, **hours, **values)


def test_a_users_quiet_hours_are_set_read_and_taken_away(api, at):
    RecipientFactory(tenant=Tenant.objects.get(slug="acme"), user_id="a", timezone="Europe/Vienna")
    nothing = {"userId": "a", "quietHours": [], "timezone": "Europe/Vienna", "level": None, "quietUntil": None}
    assert api.get(f"{PATH}?userId=a").json() == nothing
    given = {"quietHours": [{"start": "22:00", "end": "07:00"}, WEEKEND]}
    holding = nothing | {"quietHours": [NIGHT, WEEKEND], "level": "user.quiet_hours"}
    stored = api.put(f"{PATH}?userId=a", given)
    assert (stored.status_code, stored.json()) == (200, holding)
    at("20:30")  # half past ten in Vienna
    assert api.get(f"{PATH}?userId=a").json() == holding | {"quietUntil": "2026-07-02T05:00:00Z"}
    assert api.put(f"{PATH}?userId=a", api.get(f"{PATH}?userId=a").json()).status_code == 200
    assert api.get("/api/recipients/a").json()["quietHours"] == [NIGHT, WEEKEND]
    assert api.delete(f"{PATH}?userId=a").status_code == 204
    assert api.get(f"{PATH}?userId=a").json() == nothing
    for none in ([], None):
        api.put(f"{PATH}?userId=a", given)
        assert api.put(f"{PATH}?userId=a", {"quietHours": none}).json() == nothing


def test_an_unknown_user_is_made_known_by_a_put_alone(api, tenant):
    assert api.get(f"{PATH}?userId=new").status_code == 200
    assert api.delete(f"{PATH}?userId=new").status_code == 204
    assert not Recipient.objects.exists()
    assert api.put(f"{PATH}?userId=new", {"quietHours": [NIGHT]}).status_code == 200
    assert Recipient.objects.values_list("tenant", "user_id", "quiet_hours").get() == (tenant.pk, "new", [NIGHT])


@pytest.mark.parametrize("query", ["", "?userId="])
def test_without_a_user_they_are_the_tenants_for_everybody_who_has_none(api, tenant, at, query):
    Tenant.objects.update(timezone="Asia/Tokyo")
    everybodys = {"quietHours": [NIGHT], "timezone": "Asia/Tokyo", "level": "tenant.quiet_hours"}
    assert api.put(f"{PATH}{query}", {"quietHours": [NIGHT]}).json() == everybodys | {"userId": None, "quietUntil": None}
    at("14:00")  # eleven in the evening in Tokyo
    until = {"quietUntil": "2026-07-01T22:00:00Z"}
    assert api.get(f"{PATH}{query}").json() == everybodys | until | {"userId": None}
    assert api.get(f"{PATH}?userId=anybody").json() == everybodys | until | {"userId": "anybody"}
    assert user_client(tenant, "b").get(PATH).json() == everybodys | until | {"userId": "b"}
    own = api.put(f"{PATH}?userId=a", {"quietHours": [WEEKEND]}).json()
    assert (own["level"], own["quietHours"], own["quietUntil"]) == ("user.quiet_hours", [WEEKEND], None)
    assert api.delete(f"{PATH}{query}").status_code == 204
    assert api.get(f"{PATH}{query}").json()["level"] is None
    assert api.get(f"{PATH}?userId=a").json()["level"] == "user.quiet_hours"


@pytest.mark.parametrize(
    ("windows", "field"),
    [
        ([{"start": "25:00", "end": "07:00"}], "quietHours[0].start"),
        ([NIGHT, {"start": "22:00"}], "quietHours[1].end"),
        ([{"start": 22, "end": "07:00"}], "quietHours[0].start"),
        ([{"start": "22:00", "end": "07:00", "days": []}], "quietHours[0].days"),
        ([{"start": "22:00", "end": "07:00", "days": ["Mon"]}], "quietHours[0].days[0]"),
        ([{"start": "22:00", "end": "07:00", "days": [["mon"]]}], "quietHours[0].days[0]"),
        ([{"start": "22:00", "end": "07:00", "days": ["mon", "tue", "mon"]}], "quietHours[0].days"),
        ([{"start": "22:00", "end": "07:00", "colour": 1}], "quietHours[0].colour"),
        ([{"start": "09:00", "end": "09:00"}], "quietHours"),
        ([NIGHT] * 15, "quietHours"),
        ([None], "quietHours[0]"),
        ({}, "quietHours"),
    ],
)
@pytest.mark.parametrize("query", ["", "?userId=a"])
def test_windows_that_cannot_be_are_refused_with_their_fields_name(api, query, windows, field):
    assert faults(api.put(f"{PATH}{query}", {"quietHours": windows})) == (400, [field])
    assert api.get(f"{PATH}{query}").json()["quietHours"] == []
    assert not Recipient.objects.exists()


@pytest.mark.parametrize("body", [{}, [], {"quietHours": [], "zone": "UTC"}])
def test_a_body_that_says_something_else_is_refused(api, body):
    assert api.put(f"{PATH}?userId=a", body).status_code == 400


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_a_user_id_that_cannot_be_is_refused(api, method):
    body = {"quietHours": [NIGHT]} if method == "put" else None
    assert faults(getattr(api, method)(f"{PATH}?userId=a%0Ab", body)) == (400, ["userId"])


def test_a_user_of_a_token_that_no_recipient_can_be_sets_none(tenant):
    assert faults(user_client(tenant, "a\nb").put(PATH, {"quietHours": [NIGHT]})) == (400, ["userId"])
    assert user_client(tenant, "a\nb").get(PATH).status_code == 200


def test_as_many_windows_as_there_may_be_and_overlapping_ones(api):
    stored = api.put(f"{PATH}?userId=a", {"quietHours": [NIGHT] * 7 + [WEEKEND] * 7})
    assert (stored.status_code, len(stored.json()["quietHours"])) == (200, 14)


def test_a_user_token_reaches_its_own_alone(api, tenant):
    me = user_client(tenant, "a")
    assert me.put(PATH, {"quietHours": [NIGHT]}).json()["userId"] == "a"
    assert me.put(f"{PATH}?userId=a", {"quietHours": [WEEKEND]}).json()["quietHours"] == [WEEKEND]
    api.put(f"{PATH}?userId=b", {"quietHours": [NIGHT]})
    assert me.get(f"{PATH}?userId=b").status_code == 403
    assert me.put(f"{PATH}?userId=b", {"quietHours": []}).status_code == 403
    assert me.delete(f"{PATH}?userId=b").status_code == 403
    assert api.get(f"{PATH}?userId=b").json()["quietHours"] == [NIGHT]
    assert me.delete(PATH).status_code == 204
    assert me.get(PATH).json()["level"] is None
    assert api.get(PATH).json()["level"] is None


def test_quiet_hours_need_the_scope_of_preferences(tenant):
    wrong, right = client_for(tenant, Scope.RECIPIENTS_WRITE, Scope.EVENTS_WRITE), client_for(tenant, Scope.PREFERENCES_WRITE)
    for user in ("", "?userId=a"):
        assert wrong.get(f"{PATH}{user}").status_code == 403
        assert wrong.put(f"{PATH}{user}", {"quietHours": [NIGHT]}).status_code == 403
        assert wrong.delete(f"{PATH}{user}").status_code == 403
        assert right.put(f"{PATH}{user}", {"quietHours": [NIGHT]}).status_code == 200


def test_another_tenants_quiet_hours_are_neither_seen_nor_touched(api, stranger_api, stranger):
    for query in ("", "?userId=a"):
        stranger_api.put(f"{PATH}{query}", {"quietHours": [WEEKEND]})
        assert (api.get(f"{PATH}{query}").json()["quietHours"], api.get(f"{PATH}{query}").json()["level"]) == ([], None)
        api.put(f"{PATH}{query}", {"quietHours": [NIGHT]})
        assert stranger_api.get(f"{PATH}{query}").json()["quietHours"] == [WEEKEND]
        assert api.delete(f"{PATH}{query}").status_code == 204
        assert stranger_api.get(f"{PATH}{query}").json()["quietHours"] == [WEEKEND]
    assert user_client(stranger, "a").get(PATH).json()["quietHours"] == [WEEKEND]


def explained(api, event_type="order.shipped"):
    body = api.get("/api/preferences/explain", {"userId": "a", "eventType": event_type, "channel": "email"}).json()
    return body["quiet"]["level"], body["quiet"]["quietHours"], body["quiet"]["quietUntil"]


def test_an_explanation_says_which_quiet_hours_hold_and_until_when(api, tenant, at):
    EventTypeFactory(tenant=tenant, name="security.login", required=True)
    at("23:00")
    assert explained(api) == (None, [], None)
    api.put(PATH, {"quietHours": [{"start": "21:00", "end": "08:00"}]})
    assert explained(api) == ("tenant.quiet_hours", [NIGHT | {"start": "21:00", "end": "08:00"}], "2026-07-02T08:00:00Z")
    api.put(f"{PATH}?userId=a", {"quietHours": [NIGHT]})
    assert explained(api) == ("user.quiet_hours", [NIGHT], "2026-07-02T07:00:00Z")
    own = api.post("/api/preferences", RUNG | {"delivery": "digest"}).json()
    assert explained(api) == ("user.quiet_hours", [NIGHT], "2026-07-02T07:00:00Z")
    api.patch(
        f"/api/preferences/{own['id']}", {"quietHoursStart": "12:00", "quietHoursEnd": "13:00", "quietHoursDays": ["mon"]}
    )
    assert explained(api) == ("user.channel_type", [{"start": "12:00", "end": "13:00", "days": ["mon"]}], None)
    api.patch(f"/api/preferences/{own['id']}", {"quietHoursDays": []})
    assert explained(api) == ("user.channel_type", [], None)
    assert explained(api, "security.login") == ("event_type.required", [], None)
    assert api.get("/api/preferences/explain", RUNG).json()["delivery"] == "digest"


def test_an_explanation_is_in_the_recipients_time_zone_else_the_tenants(api, tenant, at):
    Tenant.objects.update(timezone="Asia/Tokyo")
    asked = {"userId": "a", "eventType": "x", "channel": "email"}
    assert api.get("/api/preferences/explain", asked).json()["quiet"]["timezone"] == "Asia/Tokyo"
    RecipientFactory(tenant=tenant, user_id="a", timezone="Europe/Vienna")
    assert api.get("/api/preferences/explain", asked).json()["quiet"]["timezone"] == "Europe/Vienna"


def test_an_explanation_writes_nothing_and_costs_the_same_whatever_rungs_there_are(api, tenant, at):
    api.put(PATH, {"quietHours": [NIGHT]})
    costs = []
    for rungs in ([], [RUNG, {"userId": "a"}, {"channel": "email"}, {}]):
        for rung in rungs:
            api.post("/api/preferences", rung | HOURS)
        with CaptureQueriesContext(connection) as captured:
            explained(api)
        assert not [query for query in captured if not query["sql"].lstrip().startswith("SELECT")]
        costs.append(len(captured))
    assert costs[0] == costs[1] <= 5


def test_what_was_set_over_http_holds_messages_back(api, tenant, drain):
    night = dt.datetime(2031, 7, 1, 21, 30, tzinfo=dt.UTC)
    TemplateFactory(tenant=tenant)
    for user_id in ("a", "b", "free"):
        api.put(f"/api/recipients/{user_id}", {"timezone": "Europe/Vienna"})
    api.put(PATH, {"quietHours": [NIGHT | {"end": "08:00"}]})
    user_client(tenant, "a").put(PATH, {"quietHours": [NIGHT]})
    user_client(tenant, "free").post("/api/preferences", {"quietHoursDays": []})
    recipients = [{"userId": user_id} for user_id in ("a", "b", "free")]
    event = {"eventType": "account", "to": recipients, "channels": ["in_app"], "data": {"userName": "Ada"}}
    assert api.post("/api/events", event).status_code == 202
    drain(night)
    found = {one.user_id: (one.reason, one.is_held and one.next_attempt_at) for one in Delivery.objects.all()}
    assert found == {
        "a": ("quiet_hours", dt.datetime(2031, 7, 2, 5, tzinfo=dt.UTC)),
        "b": ("quiet_hours", dt.datetime(2031, 7, 2, 6, tzinfo=dt.UTC)),
        "free": ("", False),
    }
