"""Everything the service holds about a user, in one document."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from deliveries.models import StatusEndpoint, StatusMessage
from deliveries.states import Status
from notifications.models import EventStatus
from preferences.export import PAGE
from preferences.services import subscribe
from tenants.vocabulary import Channel, Scope
from tests.conftest import client_for, user_client
from tests.factories import (
    AttemptFactory,
    DeliveryFactory,
    DeviceFactory,
    EventFactory,
    PreferenceFactory,
    ReceiptFactory,
    RecipientFactory,
    SuppressionFactory,
)

PLACE = "/api/recipients/ada/export"
LISTS = [
    "devices",
    "preferences",
    "subscriptions",
    "suppressions",
    "events",
    "digests",
    "deliveries",
    "inbox",
    "statusMessages",
]


def exported(client, place=PLACE):
    response = client.get(place)
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response.streaming
    return json.loads(b"".join(response.streaming_content))


def make_history(tenant, user_id="ada"):
    recipient = RecipientFactory(tenant=tenant, user_id=user_id, email=f"{user_id.capitalize()}@example.com", phone="")
    DeviceFactory(recipient=recipient, token=f"live-{user_id}")
    DeviceFactory(recipient=recipient, token=f"old-{user_id}", retired_at=now())
    PreferenceFactory(tenant=tenant, user_id=user_id, channel=Channel.SMS)
    subscribe(tenant=tenant, topic_key="news", user_id=user_id)
    SuppressionFactory(tenant=tenant, address=f"{user_id}@example.com", reason="bounce")
    SuppressionFactory(tenant=tenant, channel=Channel.PUSH, address=f"old-{user_id}", reason="unregistered")
    event = EventFactory(tenant=tenant, event_id=f"own-{user_id}", user_id=user_id, data={"name": user_id})
    mail = DeliveryFactory(tenant=tenant, event_id=event.event_id, user_id=user_id)
    AttemptFactory(delivery=mail, response=f"250 {user_id}")
    ReceiptFactory(delivery=mail, response=f"read by {user_id}")
    item = DeliveryFactory(
        tenant=tenant, event_id=event.event_id, user_id=user_id, channel=Channel.IN_APP, address="", sent_at=now()
    )
    endpoint = StatusEndpoint.objects.create(tenant=tenant, url="https://127.0.0.1:9/")
    StatusMessage.objects.create(
        tenant=tenant, endpoint=endpoint, delivery_id=mail.pk, status=Status.SENT, payload={"userId": user_id}
    )
    return mail, item


def test_the_export_has_all_that_is_known_of_the_user_and_nothing_of_others(api, tenant, stranger):
    for owner, user_id in ((tenant, "bob"), (stranger, "ada")):
        make_history(owner, user_id)
    mail, item = make_history(tenant)
    document = exported(api)
    assert list(document) == ["userId", "exportedAt", "recipient", *LISTS]
    assert document["userId"] == "ada"
    assert document["recipient"] == api.get("/api/recipients/ada").json()
    assert [(one["token"], one["retiredAt"] is None) for one in document["devices"]] == [("live-ada", True), ("old-ada", False)]
    assert document["preferences"] == api.get("/api/preferences?userId=ada").json()["results"]
    assert [one["topic"] for one in document["subscriptions"]] == ["news"]
    assert [one["address"] for one in document["suppressions"]] == ["ada@example.com", "old-ada"]
    assert [(one["eventId"], one["data"]) for one in document["events"]] == [("own-ada", {"name": "ada"})]
    assert document["deliveries"] == [api.get(f"/api/deliveries/{one.pk}").json() for one in (mail, item)]
    assert document["deliveries"][0]["attempts"][0]["response"] == "250 ada"
    assert document["deliveries"][0]["receipts"][0]["response"] == "read by ada"
    assert document["inbox"] == user_client(tenant, "ada").get("/api/inbox").json()["results"]
    assert [one["payload"] for one in document["statusMessages"]] == [{"userId": "ada"}]
    assert "bob" not in json.dumps(document)


def test_the_events_are_those_that_name_the_user_and_those_that_reached_the_user(api, tenant):
    EventFactory(tenant=tenant, event_id="waits", user_id="ada")
    EventFactory(tenant=tenant, event_id="canceled", user_id="ada", status=EventStatus.CANCELED)
    EventFactory(tenant=tenant, event_id="done", user_id="ada", status=EventStatus.PROCESSED)
    EventFactory(tenant=tenant, event_id="one", user_id="", to={"userId": "ada", "email": "a@example.com"})
    EventFactory(
        tenant=tenant,
        event_id="some",
        user_id="",
        to=[{"userId": "bob", "phone": "+14155550100"}, {"userId": "ada"}, {"email": "x@example.com"}],
    )
    EventFactory(tenant=tenant, event_id="topic", user_id="", to={"topic": "news"})
    EventFactory(tenant=tenant, event_id="rule", user_id="")
    EventFactory(tenant=tenant, event_id="elsewhere", user_id="", to={"topic": "ada"})
    for event_id in ("waits", "done", "one", "some", "topic", "rule"):
        for channel in (Channel.EMAIL, Channel.IN_APP):
            DeliveryFactory(tenant=tenant, event_id=event_id, user_id="ada", channel=channel)
    events = {event["eventId"]: event["to"] for event in exported(api)["events"]}
    assert events == {
        "waits": None,
        "canceled": None,
        "done": None,
        "one": {"userId": "ada", "email": "a@example.com"},
        "some": [{"userId": "ada"}],
        "topic": {"topic": "news"},
        "rule": None,
    }
    assert len(exported(api)["events"]) == len(events)


def test_a_user_without_a_recipient_is_exported_from_what_there_is(api, tenant):
    DeliveryFactory(tenant=tenant, user_id="ada")
    document = exported(api)
    assert document["recipient"] is None
    assert [name for name in LISTS if document[name]] == ["deliveries"]


def test_a_recipient_without_anything_has_empty_lists(api, tenant):
    RecipientFactory(tenant=tenant, user_id="ada")
    document = exported(api)
    assert [document[name] for name in LISTS] == [[]] * len(LISTS)


def test_nobody_and_another_tenants_user_are_not_there(api, stranger_api, tenant):
    make_history(tenant)
    assert stranger_api.get(PLACE).status_code == 404
    assert api.get("/api/recipients/nobody/export").status_code == 404
    assert api.get("/api/recipients/a%00b/export").status_code == 404


def test_the_export_needs_the_scope_of_recipients(tenant):
    RecipientFactory(tenant=tenant, user_id="ada")
    for client in (client_for(tenant, Scope.EVENTS_WRITE, Scope.DELIVERIES_READ), user_client(tenant, "ada")):
        assert client.get(PLACE).status_code == 403
    assert client_for(tenant, Scope.RECIPIENTS_WRITE).get(PLACE).status_code == 200


def test_no_statement_reads_more_than_a_page(api, tenant):
    count = PAGE * 2 + 1
    for _ in range(count):
        AttemptFactory(delivery=DeliveryFactory(tenant=tenant, user_id="ada"))
    response = api.get(PLACE)
    seen = []
    with CaptureQueriesContext(connection) as captured:
        document = json.loads(b"".join(response.streaming_content))
        seen += [query["sql"] for query in captured if 'FROM "deliveries_delivery"' in query["sql"]]
    assert len({delivery["id"] for delivery in document["deliveries"]}) == len(document["deliveries"]) == count
    assert all(f"LIMIT {PAGE}" in sql for sql in seen)
    assert len(seen) <= 2 * 3 + 1  # for the events and for the deliveries, three pages each; and the inbox


@pytest.mark.parametrize("user_id", ["ada/export", "ada"])
def test_a_user_id_may_end_like_the_path_of_an_export(api, user_id):
    place = f"/api/recipients/{user_id.replace('/', '%2F')}"
    assert api.put(place, {"email": "a@example.com"}).status_code == 201
    assert exported(api, f"{place}/export")["userId"] == user_id
    assert api.patch(place, {"locale": "de"}).json()["locale"] == "de"
    assert api.delete(place).status_code == 204
    assert api.get(f"{place}/export").status_code == 404
