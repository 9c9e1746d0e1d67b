"""Digests and their schedules over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.utils.timezone import now

from deliveries import bells
from deliveries.models import Delivery
from deliveries.states import Status
from notifications import services
from notifications.models import Digest, DigestSchedule
from tenants.vocabulary import Channel, Scope
from tests.conftest import client_for
from tests.factories import DigestFactory, DigestScheduleFactory, PreferenceFactory, RecipientFactory, TemplateFactory
from tests.integration.test_recipients_bulk import at_once

SCHEDULE = {"name": "Every morning"}
LIST = "{% for item in items %}{{ item.data.userName }} {% endfor %}"


def faulty(response) -> list[str]:
    assert response.status_code == 400, response.content
    return [error["field"] for error in response.json()["errors"]]


def ids(response) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()["results"]]


class TestSchedules:
    def test_one_is_made_read_changed_and_deleted(self, api, tenant):
        given = SCHEDULE | {
            "eventType": "comment.*",
            "category": "social",
            "channel": "push",
            "cadence": "weekly",
            "at": "17:30",
            "weekday": "fri",
            "windowSeconds": 60,
            "slides": True,
            "longestSeconds": 30,  # of no use to a weekly one, and so of no harm
            "template": "digest.weekly",
            "mostItems": 5,
            "position": -3,
            "isActive": False,
        }
        made = api.post("/api/digest-schedules", given, format="json")
        assert made.status_code == 201, made.content
        shown = made.json()
        assert shown == given | {name: shown[name] for name in ("id", "createdAt", "updatedAt")}
        stored = DigestSchedule.objects.get()
        assert (stored.tenant, stored.channel, stored.weekday, stored.window_s) == (tenant, Channel.PUSH, 4, 60)
        place = f"/api/digest-schedules/{shown['id']}"
        assert api.get(place).json() == shown
        assert api.get("/api/digest-schedules").json()["results"] == [shown]
        assert api.patch(place, {"weekday": "mon", "channel": "*"}, format="json").json() == shown | {
            "weekday": "mon",
            "channel": "*",
            "updatedAt": DigestSchedule.objects.get().updated_at.isoformat().replace("+00:00", "Z"),
        }
        assert api.delete(place).status_code == 204
        assert api.get(place).status_code == 404

    def test_what_is_left_out_has_its_default(self, api):
        shown = api.post("/api/digest-schedules", SCHEDULE, format="json").json()
        wanted = {"eventType": "*", "channel": "*", "cadence": "daily", "at": "09:00", "template": "digest", "mostItems": 20}
        assert {name: shown[name] for name in wanted} == wanted

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", ""),
            ("name", None),
            ("eventType", "?"),
            ("channel", 1),
            ("cadence", "yearly"),
            ("at", "24:00"),
            ("at", "9:00"),
            ("at", "09:00:30"),
            ("weekday", "monday"),
            ("weekday", 1),
            ("windowSeconds", 9),
            ("windowSeconds", 31 * 86_400 + 1),
            ("windowSeconds", "600"),
            ("slides", 1),
            ("longestSeconds", 9),
            ("longestSeconds", 31 * 86_400 + 1),
            ("template", "*"),
            ("template", ""),
            ("mostItems", 0),
            ("mostItems", 101),
            ("position", 2**31),
            ("isActive", None),
            ("every", "day"),
        ],
    )
    def test_a_bad_value_is_named(self, api, tenant, field, value):
        assert faulty(api.post("/api/digest-schedules", SCHEDULE | {field: value}, format="json")) == [field]
        schedule = DigestScheduleFactory(tenant=tenant)
        assert faulty(api.patch(f"/api/digest-schedules/{schedule.pk}", {field: value}, format="json")) == [field]

    def test_a_sliding_window_lasts_as_long_as_the_window(self, api):
        window = SCHEDULE | {"cadence": "window", "windowSeconds": 600, "slides": True}
        assert faulty(api.post("/api/digest-schedules", window | {"longestSeconds": 599}, format="json")) == ["longestSeconds"]
        made = api.post("/api/digest-schedules", window | {"longestSeconds": 600}, format="json")
        assert made.status_code == 201
        place = f"/api/digest-schedules/{made.json()['id']}"
        assert faulty(api.patch(place, {"windowSeconds": 601}, format="json")) == ["longestSeconds"]
        assert api.patch(place, {"windowSeconds": 601, "slides": False}, format="json").status_code == 200
        assert faulty(api.patch(place, {"slides": True}, format="json")) == ["longestSeconds"]

    def test_anothers_is_not_there(self, stranger_api, tenant):
        place = f"/api/digest-schedules/{DigestScheduleFactory(tenant=tenant).pk}"
        assert stranger_api.get(place).status_code == 404
        assert stranger_api.patch(place, {"position": 9}, format="json").status_code == 404
        assert stranger_api.delete(place).status_code == 404
        assert stranger_api.get("/api/digest-schedules").json()["results"] == []
        assert DigestSchedule.objects.get().position == 0

    def test_it_takes_the_scope(self, tenant):
        assert client_for(tenant, Scope.DELIVERIES_READ).get("/api/digest-schedules").status_code == 403
        assert client_for(tenant, Scope.RULES_WRITE).get("/api/digest-schedules").status_code == 200

    @pytest.mark.django_db(transaction=True)
    def test_there_are_so_many_and_no_more_even_at_once(self, tenant, monkeypatch):
        monkeypatch.setattr(services, "MOST_SCHEDULES", 2)
        clients = [client_for(tenant, Scope.RULES_WRITE) for _ in range(5)]
        answers = at_once(*[lambda one=one: one.post("/api/digest-schedules", SCHEDULE, format="json") for one in clients])
        assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409, 409]
        assert answers[-1].json().get("detail", "A tenant has at most 2 digest schedules.").endswith("2 digest schedules.")


@pytest.fixture
def ada(tenant):
    TemplateFactory(tenant=tenant)
    TemplateFactory(tenant=tenant, event_type="digest", version__body=LIST, version__variables=[{"name": "items"}])
    PreferenceFactory(tenant=tenant, user_id="ada", delivery="digest")
    return RecipientFactory(tenant=tenant, user_id="ada")


def post(api, name="Ada", **event):
    body = {"eventType": "account", "userId": "ada", "channels": ["in_app"], "data": {"userName": name}} | event
    response = api.post("/api/events", body, format="json")
    assert response.status_code == 202, response.json()
    return response.json()["eventId"]


class TestDigests:
    def test_an_open_one_says_what_it_holds(self, api, ada, drain):
        first, second = post(api, "a"), post(api, "b")
        drain()
        digest = Digest.objects.get()
        shown = api.get(f"/api/digests/{digest.pk}").json()
        assert shown == {
            "id": str(digest.pk),
            "userId": "ada",
            "address": None,
            "channel": "in_app",
            "digestKey": "",
            "scheduleId": None,
            "template": "digest",
            "sandbox": False,
            "openedAt": shown["openedAt"],
            "dueAt": shown["dueAt"],
            "closedAt": None,
            "finishedAt": None,
            "itemCount": 2,
            "sentCount": 0,
            "eventId": None,
            "error": None,
            "items": shown["items"],
        }
        assert [item["eventId"] for item in shown["items"]] == [first, second]
        assert {item["deliveryId"] for item in shown["items"]} == {
            str(one) for one in Delivery.objects.values_list("id", flat=True)
        }
        (listed,) = api.get("/api/digests").json()["results"]
        assert listed == {name: value for name, value in shown.items() if name != "items"}

    def test_a_canceled_item_is_not_shown(self, api, ada, drain):
        kept, canceled = post(api, "a"), post(api, "b")
        drain()
        api.delete(f"/api/events/{canceled}")
        assert [item["eventId"] for item in api.get(f"/api/digests/{Digest.objects.get().pk}").json()["items"]] == [kept]

    def test_closing_sends_it_now(self, api, ada, drain):
        items = [post(api, "a"), post(api, "b")]
        drain()
        digest = Digest.objects.get()
        closed = api.post(f"/api/digests/{digest.pk}/close")
        assert closed.status_code == 202, closed.content
        assert datetime.fromisoformat(closed.json()["dueAt"]) <= now()
        drain()
        (message,) = Delivery.objects.filter(event_type="digest")
        assert (message.status, message.body) == (Status.SENT, "a b ")
        shown = api.get(f"/api/digests/{digest.pk}").json()
        assert (shown["itemCount"], shown["sentCount"], shown["eventId"]) == (2, 2, message.event_id)
        assert [item["eventId"] for item in shown["items"]] == items
        again = api.post(f"/api/digests/{digest.pk}/close")
        assert (again.status_code, again.json()["detail"]) == (409, "The digest is closed already.")

    def test_closing_rings(self, api, tenant, monkeypatch):
        rung = []
        monkeypatch.setattr(bells, "ring_digests", lambda: rung.append(1))
        digest = DigestFactory(tenant=tenant)
        assert api.post(f"/api/digests/{digest.pk}/close").status_code == 202
        assert rung == [1]

    def test_an_item_that_comes_after_closing_does_not_put_it_off(self, api, tenant, ada, drain):
        DigestScheduleFactory(tenant=tenant, cadence="window", window_s=600, slides=True, longest_s=3600)
        post(api, "a")
        drain()
        digest = Digest.objects.get()
        api.post(f"/api/digests/{digest.pk}/close")
        due = Digest.objects.get().due_at
        post(api, "b")
        from notifications import tasks

        tasks.enrich()
        assert Digest.objects.get(pk=digest.pk).due_at == due
        drain()
        assert Delivery.objects.get(event_type="digest").body == "a b "

    @pytest.mark.parametrize(
        ("query", "wanted"),
        [
            ("", {"ada", "bob", "cy"}),
            ("userId=ada", {"ada"}),
            ("channel=sms", {"bob"}),
            ("open=true", {"ada", "bob"}),
            ("open=false", {"cy"}),
            ("userId=ada&open=false", set()),
        ],
    )
    def test_filters(self, api, tenant, stranger, query, wanted):
        DigestFactory(tenant=tenant, user_id="ada")
        DigestFactory(tenant=tenant, user_id="bob", channel=Channel.SMS)
        DigestFactory(tenant=tenant, user_id="cy", closed_at=now(), finished_at=now(), item_count=3)
        DigestFactory(tenant=stranger, user_id="ada")
        found = api.get(f"/api/digests?{query}").json()["results"]
        assert {digest["userId"] for digest in found} == wanted

    @pytest.mark.parametrize(("query", "field"), [("channel=x", "channel"), ("open=1", "open"), ("since=1", "since")])
    def test_a_bad_filter_is_named(self, api, query, field):
        assert faulty(api.get(f"/api/digests?{query}")) == [field]

    def test_a_page_costs_the_same_statements_whatever_is_on_it(self, api, tenant, django_assert_num_queries):
        def statements(wanted: int) -> None:
            with django_assert_num_queries(3):
                assert len(ids(api.get("/api/digests"))) == wanted

        api.get("/api/digests")
        DigestFactory(tenant=tenant)
        statements(1)
        DigestFactory.create_batch(9, tenant=tenant)
        statements(10)

    def test_anothers_digest_is_not_there(self, stranger_api, tenant):
        digest = DigestFactory(tenant=tenant)
        assert stranger_api.get(f"/api/digests/{digest.pk}").status_code == 404
        assert stranger_api.post(f"/api/digests/{digest.pk}/close").status_code == 404
        assert stranger_api.get("/api/digests").json()["results"] == []
        assert Digest.objects.get().due_at == digest.due_at

    def test_scopes(self, tenant):
        digest = DigestFactory(tenant=tenant)
        reader = client_for(tenant, Scope.DELIVERIES_READ)
        assert reader.get("/api/digests").status_code == reader.get(f"/api/digests/{digest.pk}").status_code == 200
        assert reader.post(f"/api/digests/{digest.pk}/close").status_code == 403
        writer = client_for(tenant, Scope.DELIVERIES_WRITE)
        assert writer.get("/api/digests").status_code == 403
        assert writer.post(f"/api/digests/{digest.pk}/close").status_code == 202

    def test_one_that_is_not_there(self, api):
        assert api.get(f"/api/digests/{uuid4()}").status_code == 404


def test_held_deliveries_are_shown_and_found(api, ada, drain, tenant):
    held = post(api, "a")
    canceled = post(api, "b")
    drain(datetime(2031, 7, 1, 12, tzinfo=UTC))
    api.delete(f"/api/events/{canceled}")
    (one,) = api.get("/api/deliveries?held=true").json()["results"]
    assert (one["eventId"], one["held"], one["reason"], one["status"]) == (held, True, "digest", "pending")
    assert datetime.fromisoformat(one["nextAttemptAt"]) == datetime(2031, 7, 2, 9, tzinfo=UTC)
    (other,) = api.get("/api/deliveries?held=false").json()["results"]
    assert (other["eventId"], other["held"]) == (canceled, False)
    drain(datetime(2031, 7, 1, 12, tzinfo=UTC) + timedelta(days=1))
    gone = api.get(f"/api/deliveries/{one['id']}").json()
    assert (gone["held"], gone["status"]) == (False, "digested")
    assert [past["reason"] for past in gone["explanation"]["heldFor"]] == ["digest"]
