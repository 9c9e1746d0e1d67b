"""Heartbeats over HTTP and in the admin."""

from __future__ import annotations

import pytest
from django.db import IntegrityError
from django.urls import reverse
from django.utils.timezone import now

from notifications.heartbeats import services
from notifications.models import Heartbeat, HeartbeatKey
from tenants.vocabulary import Scope
from tests.conftest import client_for
from tests.factories import HeartbeatFactory
from tests.staff import superuser_client

NEW = {"name": "backups", "eventType": "backup.*", "key": "payload.machine", "everySeconds": 3600}


@pytest.fixture
def heartbeat(tenant) -> Heartbeat:
    return HeartbeatFactory(tenant=tenant)


def fields(response) -> dict[str, str]:
    assert response.status_code == 400, response.content
    return {error["field"]: error["code"] for error in response.json()["errors"]}


def test_one_is_made_read_changed_and_deleted(api):
    made = api.post("/api/heartbeats", NEW)
    assert made.status_code == 201
    body = made.json()
    assert {name: body[name] for name in NEW} == NEW
    assert (body["graceSeconds"], body["isActive"]) == (0, True)
    assert (body["missedEventType"], body["recoveredEventType"]) == ("heartbeat.missed", "heartbeat.recovered")
    place = f"/api/heartbeats/{body['id']}"
    changed = api.patch(place, {"everySeconds": 60, "missedEventType": "backup.gone", "isActive": False})
    assert changed.status_code == 200
    assert api.get(place).json() == changed.json()
    assert changed.json()["everySeconds"] == 60
    assert [one["id"] for one in api.get("/api/heartbeats").json()["results"]] == [body["id"]]
    assert api.delete(place).status_code == 204
    assert api.get(place).status_code == 404


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": ""}, "name"),
        ({"eventType": "no spaces"}, "eventType"),
        ({"key": "payload."}, "key"),
        ({"key": "other.thing"}, "key"),
        ({"key": "p" * 2001}, "key"),
        ({"everySeconds": 59}, "everySeconds"),
        ({"everySeconds": 367 * 86400}, "everySeconds"),
        ({"everySeconds": "600"}, "everySeconds"),
        ({"everySeconds": True}, "everySeconds"),
        ({"graceSeconds": -1}, "graceSeconds"),
        ({"missedEventType": "order.*"}, "missedEventType"),
        ({"recoveredEventType": ""}, "recoveredEventType"),
        ({"isActive": "perhaps"}, "isActive"),
        ({"every": 60}, "every"),
    ],
)
def test_what_is_wrong_is_named(api, heartbeat, wrong, field):
    assert field in fields(api.post("/api/heartbeats", NEW | wrong))
    assert field in fields(api.patch(f"/api/heartbeats/{heartbeat.pk}", wrong))


def test_a_name_is_taken_once_in_a_tenant(api, stranger_api, heartbeat):
    assert api.post("/api/heartbeats", NEW).status_code == 201
    assert api.post("/api/heartbeats", NEW).status_code == 409
    assert api.patch(f"/api/heartbeats/{heartbeat.pk}", {"name": "backups"}).status_code == 409
    assert stranger_api.post("/api/heartbeats", NEW).status_code == 201


def test_there_is_an_end_to_heartbeats(api, tenant, monkeypatch):
    monkeypatch.setattr(services, "MOST_HEARTBEATS", 1)
    assert api.post("/api/heartbeats", NEW).status_code == 201
    assert api.post("/api/heartbeats", NEW | {"name": "more"}).status_code == 409
    form = {"tenant": tenant.pk, "name": "more", "event_type": "a", "every_s": 60, "grace_s": 0}
    form |= {"missed_event_type": "a", "recovered_event_type": "b", **no_keys()}
    assert superuser_client().post(reverse("admin:notifications_heartbeat_add"), form).status_code == 200
    assert Heartbeat.objects.count() == 1


def test_without_a_key_it_expects_one_thing_from_the_start(api):
    made = api.post("/api/heartbeats", {name: NEW[name] for name in ("name", "eventType", "everySeconds")}).json()
    (key,) = api.get(f"/api/heartbeats/{made['id']}/keys").json()["results"]
    assert (key["key"], key["lastSeenAt"], key["isMissing"]) == ("", None, False)


def test_keys_are_declared_listed_and_retired(api, heartbeat):
    place = f"/api/heartbeats/{heartbeat.pk}/keys"
    assert api.put(f"{place}/rack%2F7").status_code == 201
    again = api.put(f"{place}/rack%2F7")
    assert (again.status_code, again.json()["key"], again.json()["lastSeenAt"]) == (200, "rack/7", None)
    assert api.put(f"{place}/m2").status_code == 201
    HeartbeatKey.objects.filter(key="m2").update(is_missing=True, missing_since=now())

    def listed(query: str = "") -> list[str]:
        return [key["key"] for key in api.get(place + query).json()["results"]]

    assert listed() == ["m2", "rack/7"]
    assert (listed("?missing=true"), listed("?missing=false")) == (["m2"], ["rack/7"])
    assert "missing" in fields(api.get(f"{place}?missing=perhaps"))
    assert len(api.get(f"{place}?limit=1").json()["results"]) == 1
    assert api.delete(f"{place}/m2").status_code == 204
    assert api.delete(f"{place}/m2").status_code == 404
    assert listed() == ["rack/7"]


def test_a_key_that_cannot_be_one_is_refused(api, heartbeat, monkeypatch):
    place = f"/api/heartbeats/{heartbeat.pk}/keys"
    assert fields(api.put(f"{place}/{'k' * 256}")) == {"key": "invalid"}
    assert fields(api.put(f"{place}/a%00b")) == {"key": "invalid"}
    monkeypatch.setattr(services, "MOST_KEYS", 1)
    assert api.put(f"{place}/m1").status_code == 201
    assert api.put(f"{place}/m2").status_code == 409
    assert api.put(f"{place}/m1").status_code == 200


def test_a_heartbeat_without_key_takes_none_by_name(api, tenant):
    whole = HeartbeatFactory(tenant=tenant, key="")
    assert api.put(f"/api/heartbeats/{whole.pk}/keys/m1").status_code == 409


def test_another_tenants_are_not_there(stranger_api, heartbeat):
    services.declare_key(heartbeat, "m1")
    place = f"/api/heartbeats/{heartbeat.pk}"
    assert stranger_api.get("/api/heartbeats").json()["results"] == []
    for answer in (
        stranger_api.get(place),
        stranger_api.patch(place, {"name": "mine"}),
        stranger_api.delete(place),
        stranger_api.get(f"{place}/keys"),
        stranger_api.put(f"{place}/keys/m2"),
        stranger_api.delete(f"{place}/keys/m1"),
    ):
        assert answer.status_code == 404
    assert list(heartbeat.keys.values_list("key", flat=True)) == ["m1"]


def test_it_takes_the_scope_for_rules(tenant, heartbeat):
    client = client_for(tenant, Scope.EVENTS_WRITE)
    place = f"/api/heartbeats/{heartbeat.pk}"
    for answer in (client.get("/api/heartbeats"), client.post("/api/heartbeats", NEW), client.get(f"{place}/keys")):
        assert answer.status_code == 403
    assert client_for(tenant, Scope.RULES_WRITE).put(f"{place}/keys/m1").status_code == 201


def no_keys() -> dict[str, str]:
    return {"keys-TOTAL_FORMS": "0", "keys-INITIAL_FORMS": "0"}


def test_in_the_admin_it_is_saved_as_by_the_api(tenant):
    root = superuser_client()
    form = {"tenant": tenant.pk, "name": "nightly", "event_type": "backup.*", "key": "payload.", "every_s": 5, "grace_s": 0}
    form |= {"missed_event_type": "a.b", "recovered_event_type": "a *", "is_active": "on", **no_keys()}
    refused = root.post(reverse("admin:notifications_heartbeat_add"), form)
    assert set(refused.context["adminform"].form.errors) == {"key", "every_s", "recovered_event_type"}
    form |= {"key": "", "every_s": 60, "recovered_event_type": "a.c"}
    assert root.post(reverse("admin:notifications_heartbeat_add"), form).status_code == 302
    heartbeat = Heartbeat.objects.get()
    assert heartbeat.keys.get().key == ""
    Heartbeat.objects.update(is_watching=True)
    form |= {"key": "payload.machine"}
    assert root.post(reverse("admin:notifications_heartbeat_change", args=[heartbeat.pk]), form).status_code == 302
    heartbeat.refresh_from_db()
    assert (heartbeat.is_watching, heartbeat.keys.count()) == (False, 0)


def test_the_admin_shows_the_missing_keys_first_and_not_all(heartbeat):
    HeartbeatKey.objects.bulk_create(
        HeartbeatKey(tenant=heartbeat.tenant, heartbeat=heartbeat, key=f"m{n:03}", due_at=now(), is_missing=n == 140)
        for n in range(150)
    )
    page = superuser_client().get(reverse("admin:notifications_heartbeat_change", args=[heartbeat.pk])).content.decode()
    assert "m140" in page
    assert "m098" in page
    assert "m099" not in page
    assert page.index("m140") < page.index("m000")


def test_a_key_is_once_in_a_heartbeat(heartbeat):
    services.declare_key(heartbeat, "m1")
    with pytest.raises(IntegrityError):
        HeartbeatKey.objects.create(tenant=heartbeat.tenant, heartbeat=heartbeat, key="m1", due_at=now())
