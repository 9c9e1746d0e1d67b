"""Events that no stage could digest: listed, read, given back."""

from __future__ import annotations

import pytest

from deliveries.models import Delivery
from deliveries.states import Status
from notifications import filter as filtering
from notifications.models import Event, EventStatus
from tenants.vocabulary import Channel, Scope
from tests.conftest import client_for
from tests.factories import EventFactory, TemplateFactory
from tests.staff import superuser_client


@pytest.fixture
def dead(api, drain, tenant, monkeypatch):
    """An event at which the filter stumbled, and a sound one beside it. The fault is mended."""
    TemplateFactory(tenant=tenant, channel=Channel.IN_APP, version__body="hello")
    decide = filtering.decide

    def stumbles(chunk, now):
        if any(work.event_type == "bad" for work in chunk.works):
            raise ZeroDivisionError("a bug")
        return decide(chunk, now=now)

    monkeypatch.setattr(filtering, "decide", stumbles)
    for event_type in ("bad", "account"):
        event = {"eventId": f"of/{event_type}", "eventType": event_type, "userId": "u", "channels": ["in_app"]}
        assert api.post("/api/events", event).status_code == 202
    drain()
    monkeypatch.setattr(filtering, "decide", decide)
    return "of/bad"


def test_a_dead_letter_is_listed_with_its_reason(api, dead):
    (found,) = api.get("/api/events?status=failed").json()["results"]
    assert (found["eventId"], found["status"], found["reason"]) == (dead, "failed", "poison")
    assert "a bug" in found["error"]
    assert "data" not in found
    assert [one["eventId"] for one in api.get("/api/events").json()["results"]] == ["of/account", "of/bad"]


def test_given_back_it_goes_on_and_nothing_is_doubled(api, drain, dead):
    TemplateFactory(tenant=Event.objects.get(event_id=dead).tenant, channel=Channel.IN_APP, event_type="bad")
    again = api.post("/api/events/retry", {"eventIds": [dead, "of/account", "none", dead]})
    assert (again.status_code, again.json()) == (202, {"replayed": [dead]})
    drain()
    assert Event.objects.get(event_id=dead).status == EventStatus.PROCESSED
    assert Delivery.objects.filter(event_id=dead).count() == Delivery.objects.filter(event_id="of/account").count() == 1
    assert api.post("/api/events/retry", {"eventIds": [dead]}).json() == {"replayed": []}


@pytest.mark.parametrize(
    "body", [{}, {"eventIds": []}, {"eventIds": "x"}, {"eventIds": [1] * 1001}, {"eventIds": ["\u0000"]}, []]
)
def test_a_wrong_body_is_refused(api, body):
    assert api.post("/api/events/retry", body).status_code == 400


@pytest.mark.parametrize("query", ["status=nonsense", "from=yesterday", "unknown=1", "status=failed&status=failed", "cursor=x"])
def test_a_wrong_query_is_refused(api, query):
    assert api.get(f"/api/events?{query}").status_code == 400


def test_a_stranger_finds_and_moves_nothing(stranger_api, tenant, dead):
    assert stranger_api.get("/api/events").json()["results"] == []
    assert stranger_api.post("/api/events/retry", {"eventIds": [dead]}).json() == {"replayed": []}
    assert client_for(tenant, Scope.RULES_WRITE).get("/api/events").status_code == 403
    assert client_for(tenant, Scope.DELIVERIES_READ).post("/api/events/retry", {"eventIds": [dead]}).status_code == 403


def test_an_event_may_be_called_retry(api):
    api.post("/api/events", {"eventId": "retry", "eventType": "account", "userId": "u"})
    assert api.get("/api/events/retry").json()["eventId"] == "retry"


def test_staff_give_them_back_from_the_list(drain, tenant):
    failed = [EventFactory(tenant=tenant, status=EventStatus.FAILED, reason="poison") for _ in range(3)]
    sound = EventFactory(tenant=tenant, status=EventStatus.PROCESSED)
    selected = [str(event.pk) for event in [*failed, sound]]
    client = superuser_client()
    page = "/admin/notifications/event/"
    client.post(page, {"action": "process_again_selected", "_selected_action": selected})
    assert Event.objects.filter(status=EventStatus.ACCEPTED).count() == 3
    sound.refresh_from_db()
    assert sound.status == EventStatus.PROCESSED
    assert Delivery.objects.filter(status=Status.SENT).count() == 0
