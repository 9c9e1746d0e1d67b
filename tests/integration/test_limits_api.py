"""Limits over HTTP."""

from __future__ import annotations

import pytest

from notifications import services
from notifications.models import Limit
from tenants.vocabulary import Channel, Scope
from tests.conftest import client_for
from tests.factories import LimitFactory
from tests.integration.test_recipients_bulk import at_once

LIMIT = {"name": "Marketing", "count": 3, "windowSeconds": 86_400}


def faulty(response) -> list[str]:
    assert response.status_code == 400, response.content
    return [error["field"] for error in response.json()["errors"]]


def test_a_limit_is_made_read_changed_and_deleted(api, tenant):
    given = LIMIT | {"eventType": "news.*", "category": "marketing", "channel": "email", "per": ["recipient", "eventType"]}
    made = api.post("/api/limits", given | {"excess": "defer", "isActive": False}, format="json")
    assert made.status_code == 201, made.content
    shown = made.json()
    assert shown == given | {
        "id": shown["id"],
        "excess": "defer",
        "isActive": False,
        "createdAt": shown["createdAt"],
        "updatedAt": shown["updatedAt"],
    }
    stored = Limit.objects.get()
    assert (stored.tenant, stored.channel, stored.window_s) == (tenant, Channel.EMAIL, 86_400)
    place = f"/api/limits/{shown['id']}"
    assert api.get(place).json() == shown
    assert api.get("/api/limits").json()["results"] == [shown]
    changed = api.patch(place, {"channel": "*", "count": 4, "per": []}, format="json")
    assert changed.status_code == 200
    assert (changed.json()["channel"], changed.json()["count"], changed.json()["per"]) == ("*", 4, [])
    assert api.delete(place).status_code == 204
    assert api.get(place).status_code == 404


def test_what_is_left_out_has_its_default(api):
    shown = api.post("/api/limits", LIMIT, format="json").json()
    wanted = {"eventType": "*", "category": "", "channel": "*", "per": [], "excess": "suppress", "isActive": True}
    assert {name: shown[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 201),
        ("eventType", "order shipped"),
        ("eventType", "order.*\n"),
        ("eventType", ""),
        ("category", 5),
        ("channel", "pigeon"),
        ("channel", None),
        ("per", ["tenant"]),
        ("per", ["recipient", "recipient"]),
        ("per", "recipient"),
        ("count", 0),
        ("count", 100_001),
        ("count", "3"),
        ("count", True),
        ("windowSeconds", 0),
        ("windowSeconds", 31 * 86_400 + 1),
        ("windowSeconds", 1.5),
        ("excess", "drop"),
        ("isActive", "yes"),
        ("window", 60),
    ],
)
def test_a_bad_value_is_named(api, tenant, field, value):
    named = faulty(api.post("/api/limits", LIMIT | {field: value}, format="json"))
    assert [name.partition("[")[0].partition(".")[0] for name in named] == [field]
    limit = LimitFactory(tenant=tenant)
    assert len(faulty(api.patch(f"/api/limits/{limit.pk}", {field: value}, format="json"))) == 1


@pytest.mark.parametrize("field", ["name", "count", "windowSeconds"])
def test_what_must_be_given(api, field):
    assert faulty(api.post("/api/limits", {name: value for name, value in LIMIT.items() if name != field}, format="json")) == [
        field
    ]


def test_anothers_limit_is_not_there(stranger_api, tenant):
    place = f"/api/limits/{LimitFactory(tenant=tenant).pk}"
    assert stranger_api.get(place).status_code == 404
    assert stranger_api.patch(place, {"count": 9}, format="json").status_code == 404
    assert stranger_api.delete(place).status_code == 404
    assert stranger_api.get("/api/limits").json()["results"] == []
    assert Limit.objects.get().count == 1


def test_it_takes_the_scope(tenant):
    other = client_for(tenant, Scope.EVENTS_WRITE, Scope.DELIVERIES_READ)
    assert other.get("/api/limits").status_code == 403
    assert other.post("/api/limits", LIMIT, format="json").status_code == 403
    assert client_for(tenant, Scope.RULES_WRITE).post("/api/limits", LIMIT, format="json").status_code == 201


def test_the_list_is_paged(api, tenant):
    LimitFactory.create_batch(3, tenant=tenant)
    first = api.get("/api/limits?limit=2").json()
    assert len(first["results"]) == 2
    assert len(api.get(first["next"]).json()["results"]) == 1
    assert faulty(api.get("/api/limits?cursor=nonsense")) == ["cursor"]


@pytest.mark.django_db(transaction=True)
def test_there_are_so_many_and_no_more_even_at_once(tenant, stranger_api, monkeypatch):
    monkeypatch.setattr(services, "MOST_LIMITS", 2)
    clients = [client_for(tenant, Scope.RULES_WRITE) for _ in range(5)]
    answers = at_once(*[lambda one=one: one.post("/api/limits", LIMIT, format="json") for one in clients])
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409, 409]
    assert stranger_api.post("/api/limits", LIMIT, format="json").status_code == 201
    limit = Limit.objects.for_tenant(tenant).first()
    assert clients[0].patch(f"/api/limits/{limit.pk}", {"isActive": False}, format="json").status_code == 200
    refused = clients[0].post("/api/limits", LIMIT, format="json")
    assert (refused.status_code, refused.json()["detail"]) == (409, "A tenant has at most 2 limits.")
