"""Intake over HTTP: what is taken, what is refused, and that nobody sees another's events."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.db import connection
from django.utils.timezone import now

from notifications.models import Event, EventStatus
from tenants.vocabulary import Priority, Scope
from tests.conftest import client_for
from tests.factories import EventTypeFactory

EVENT = {"eventId": "evt_1", "eventType": "account", "userId": "user_1", "channels": ["in_app"], "data": {"userName": "Ada"}}


def test_an_event_is_stored_before_the_answer(api, tenant):
    response = api.post("/api/events", EVENT)
    assert (response.status_code, response.json()) == (202, {"success": True, "eventId": "evt_1", "status": "accepted"})
    event = Event.objects.get()
    assert (event.tenant, event.event_id, event.data, event.status) == (
        tenant,
        "evt_1",
        {"userName": "Ada"},
        EventStatus.ACCEPTED,
    )


def test_without_an_id_one_is_made_up(api):
    response = api.post("/api/events", {"eventType": "account", "userId": "u"})
    assert Event.objects.get().event_id == response.json()["eventId"]


def test_the_same_again_is_a_duplicate(api):
    api.post("/api/events", EVENT)
    response = api.post("/api/events", dict(reversed(EVENT.items())))
    assert (response.status_code, response.json()["duplicate"]) == (200, True)
    assert Event.objects.count() == 1


def test_other_content_under_the_same_id_is_a_conflict(api):
    api.post("/api/events", EVENT)
    response = api.post("/api/events", EVENT | {"data": {"userName": "Eve"}})
    assert response.status_code == 409
    assert response["Content-Type"] == "application/problem+json"
    assert Event.objects.get().data == {"userName": "Ada"}


def test_an_id_is_the_tenants_own(api, stranger_api):
    api.post("/api/events", EVENT)
    assert stranger_api.post("/api/events", EVENT | {"data": {}}).status_code == 202
    assert stranger_api.get("/api/events/evt_1").json()["data"] == {}


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_are_one_event(api):
    def post(_):
        try:
            return api.post("/api/events", EVENT).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(post, range(20)))
    assert sorted(statuses) == [200] * 19 + [202]
    assert Event.objects.count() == 1


def test_keys_inside_data_are_the_clients_own(api):
    data = {"snake_case": 1, "camelCase": 2, "Ünïcode": {"a_b": [1, {"c_d": None}]}}
    api.post("/api/events", EVENT | {"data": data, "metadata": data})
    answer = api.get("/api/events/evt_1").json()
    assert (answer["data"], answer["metadata"]) == (data, data)


def test_the_event_type_gives_the_priority_an_event_does_not_name(api, tenant):
    EventTypeFactory(tenant=tenant, name="account", default_priority=Priority.HIGH)
    api.post("/api/events", EVENT)
    api.post("/api/events", EVENT | {"eventId": "2", "priority": "low"})
    api.post("/api/events", EVENT | {"eventId": "3", "eventType": "other"})
    assert dict(Event.objects.values_list("event_id", "priority")) == {
        "evt_1": Priority.HIGH,
        "2": Priority.LOW,
        "3": Priority.NORMAL,
    }


def test_the_short_envelope(api):
    response = api.post("/api/events", {"event_type": "order.shipped", "event_id": "o1", "payload": {"n": 1}})
    assert response.status_code == 202
    assert Event.objects.get().data == {"n": 1}


def test_a_faulty_event_is_a_problem_naming_the_fields(api):
    response = api.post("/api/events", {"eventType": "", "colour": "red"})
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert {error["field"] for error in response.json()["errors"]} == {"eventType", "colour"}
    assert not Event.objects.exists()


def test_a_body_over_the_limit_is_413(api):
    response = api.post("/api/events", EVENT | {"data": {"text": "x" * 600_000}})
    assert response.status_code == 413
    assert not Event.objects.exists()


def test_bulk_takes_the_good_and_names_the_bad(api):
    api.post("/api/events", EVENT)
    events = [
        EVENT,
        EVENT | {"data": {}},
        {"eventType": "account", "userId": "u2", "eventId": "evt_2"},
        {"eventType": "account", "userId": 5},
        {"eventType": "account", "userId": "u2", "eventId": "evt_2"},
    ]
    response = api.post("/api/events/bulk", {"events": events})
    answer = response.json()
    assert response.status_code == 202
    assert (answer["success"], answer["accepted"], answer["duplicates"], answer["rejected"]) == (False, 1, 2, 2)
    assert [(error["index"], error["field"], error["code"]) for error in answer["errors"]] == [
        (1, "eventId", "conflict"),
        (3, "userId", "type"),
    ]
    assert Event.objects.count() == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "events"),
        ({"events": []}, "events"),
        ({"events": {}}, "events"),
        ({"events": [1] * 1001}, "events"),
        ({"event": []}, "event"),
    ],
)
def test_a_bulk_that_is_none_is_refused_whole(api, body, field):
    response = api.post("/api/events/bulk", body)
    assert response.status_code == 400
    assert field in {error["field"] for error in response.json()["errors"]}


def test_bulk_costs_the_same_statements_for_one_as_for_many(api, django_assert_num_queries):
    def post(count, start):
        api.post("/api/events/bulk", {"events": [{"eventType": "a", "userId": f"u{start + n}"} for n in range(count)]})

    post(1, 0)
    with django_assert_num_queries(2):
        post(1, 10)
    with django_assert_num_queries(2):
        post(300, 100)


def test_who_may_post(api, tenant, client):
    reader = client_for(tenant, Scope.DELIVERIES_READ)
    assert client.post("/api/events", EVENT, "application/json").status_code == 401
    assert reader.post("/api/events", EVENT).status_code == 403
    assert client_for(tenant, Scope.EVENTS_WRITE).post("/api/events", EVENT).status_code == 202
    assert client.post("/api/events", EVENT, "application/json", HTTP_X_API_KEY="nk_wrong").status_code == 401


def test_a_sandbox_key_marks_its_events(tenant):
    client_for(tenant, Scope.EVENTS_WRITE, sandbox=True).post("/api/events", EVENT)
    assert Event.objects.get().sandbox is True


def test_an_event_is_shown_with_its_timeline(api):
    api.post("/api/events", EVENT)
    answer = api.get("/api/events/evt_1").json()
    assert (answer["status"], answer["channels"], answer["priority"]) == ("accepted", ["in_app"], "normal")
    assert [entry["type"] for entry in answer["timeline"]] == ["event.accepted"]
    assert answer["deliveries"] == []


def test_an_event_canceled_before_its_time_never_fell_due(api):
    api.post("/api/events", {**EVENT, "scheduledAt": (now() + timedelta(days=1)).isoformat()})
    types = [entry["type"] for entry in api.get("/api/events/evt_1").json()["timeline"]]
    assert types == ["event.accepted", "event.due"], "it says when it will"
    api.delete("/api/events/evt_1")
    types = [entry["type"] for entry in api.get("/api/events/evt_1").json()["timeline"]]
    assert types == ["event.accepted", "event.canceled"]


def test_anothers_event_is_not_there(api, stranger_api):
    api.post("/api/events", EVENT)
    assert stranger_api.get("/api/events/evt_1").status_code == 404
    assert stranger_api.delete("/api/events/evt_1").status_code == 404
    assert Event.objects.get().status == EventStatus.ACCEPTED


def test_a_waiting_event_is_canceled(api):
    api.post("/api/events", EVENT | {"scheduledAt": "2027-01-01T00:00:00Z"})
    response = api.delete("/api/events/evt_1")
    assert (response.status_code, response.json()["status"]) == (200, "canceled")
    assert api.delete("/api/events/evt_1").json()["status"] == "canceled"


def test_an_unknown_address_is_a_problem_document(api):
    response = api.get("/api/nothing/here")
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")


def test_while_developing_too(client, settings):
    settings.DEBUG = True
    response = client.post("/api/nothing/here")
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("event_id", ["order/7", "bulk", "a/b/c", "ü/1", "bulk/x"])
def test_an_event_of_any_name_can_be_read_and_canceled(api, event_id):
    assert api.post("/api/events", {"eventType": "account", "userId": "u", "eventId": event_id}).status_code == 202
    path = f"/api/events/{quote(event_id, safe='')}"
    assert api.get(path).json()["eventId"] == event_id
    assert api.delete(path).status_code == 200
    assert api.get("/api/events/bulk/none").status_code == 404


@pytest.mark.parametrize("user_id", ["team/7", "bulk"])
def test_a_recipient_of_any_name_can_be_kept(api, user_id):
    path = f"/api/recipients/{quote(user_id, safe='')}"
    assert api.put(path, {"email": "a@example.com"}).status_code == 201
    assert api.get(path).json()["userId"] == user_id
    assert api.delete(path).status_code == 204
