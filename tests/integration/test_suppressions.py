import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from preferences.models import Suppression
from preferences.selectors import suppressed
from preferences.services import NewSuppression, add_suppressions
from tenants.vocabulary import Channel, Scope
from tests.conftest import client_for, user_client
from tests.factories import SuppressionFactory


def test_an_address_is_suppressed_listed_and_lifted(api, tenant):
    created = api.post(
        "/api/suppressions",
        {"channel": "email", "address": "Bad@Example.com", "reason": "complaint", "detail": "wrote to us"},
    )
    assert created.status_code == 201
    suppression = created.json()
    assert suppression == {
        "id": suppression["id"],
        "channel": "email",
        "address": "bad@example.com",
        "reason": "complaint",
        "detail": "wrote to us",
        "createdAt": suppression["createdAt"],
        "expiresAt": None,
    }
    assert suppressed([(tenant.pk, Channel.EMAIL, "BAD@example.com")]) != {}
    assert api.get("/api/suppressions").json()["results"] == [suppression]
    assert api.delete(f"/api/suppressions/{suppression['id']}").status_code == 204
    assert api.delete(f"/api/suppressions/{suppression['id']}").status_code == 404
    assert suppressed([(tenant.pk, Channel.EMAIL, "bad@example.com")]) == {}


@pytest.mark.parametrize(
    ("channel", "address", "stored"),
    [
        ("sms", "+1 (415) 555-0100", "+14155550100"),
        ("push", "AbC:123", "AbC:123"),
        ("in_app", "user 1", "user 1"),
        ("chat", "-100123", "-100123"),
        ("webhook", "https://Example.com/x", "https://Example.com/x"),
    ],
)
def test_every_channels_addresses_are_kept_in_their_normal_form(api, channel, address, stored):
    assert api.post("/api/suppressions", {"channel": channel, "address": address}).json()["address"] == stored
    lifted = api.delete("/api/suppressions?" + f"channel={channel}&address={stored.replace('+', '%2B')}")
    assert lifted.status_code == 204
    assert not Suppression.objects.exists()


def test_an_address_entered_again_is_changed_and_keeps_the_later_end(api):
    def post(**more):
        return api.post("/api/suppressions", {"channel": "email", "address": "a@b.co", **more})

    soon, later = ((timezone.now() + timedelta(days=days)).replace(microsecond=0) for days in (1, 2))
    assert post(expiresAt=later.isoformat()).status_code == 201
    again = post(expiresAt=soon.isoformat(), reason="bounce", detail="again")
    assert again.status_code == 200
    assert (again.json()["reason"], again.json()["detail"]) == ("bounce", "again")
    assert datetime.fromisoformat(again.json()["expiresAt"]) == later
    assert post().json()["expiresAt"] is None
    assert post(expiresAt=later.isoformat()).json()["expiresAt"] is None
    assert Suppression.objects.count() == 1


def test_of_two_entries_for_one_address_the_later_counts(tenant):
    stored = add_suppressions(
        suppressions=[
            NewSuppression(tenant_id=tenant.pk, channel=Channel.EMAIL, address="A@b.co", reason="bounce"),
            NewSuppression(tenant_id=tenant.pk, channel=Channel.EMAIL, address="a@B.co", reason="complaint"),
        ]
    )
    assert list(stored.values()) == [True]
    assert Suppression.objects.get().reason == "complaint"


def test_the_list_is_narrowed_by_channel_address_and_reason(api, tenant, stranger):
    for address, channel, reason in (("a@b.co", 1, "bounce"), ("c@d.ef", 1, "manual"), ("+14155550100", 2, "bounce")):
        SuppressionFactory(tenant=tenant, address=address, channel=channel, reason=reason)
    SuppressionFactory(tenant=stranger, address="a@b.co", reason="bounce")

    def found(**query):
        return {entry["address"] for entry in api.get("/api/suppressions", query).json()["results"]}

    assert found() == {"a@b.co", "c@d.ef", "+14155550100"}
    assert found(channel="email") == {"a@b.co", "c@d.ef"}
    assert found(reason="bounce") == {"a@b.co", "+14155550100"}
    assert found(channel="email", address="A@B.co") == {"a@b.co"}
    assert found(channel="sms", address="a@b.co") == set()


BAD = [
    ({"address": "a@b.co"}, "channel"),
    ({"channel": "email"}, "address"),
    ({"channel": "pigeon", "address": "a@b.co"}, "channel"),
    ({"channel": "email", "address": "nobody"}, "address"),
    ({"channel": "email", "address": ""}, "address"),
    ({"channel": "email", "address": 5}, "address"),
    ({"channel": "sms", "address": "a@b.co"}, "address"),
    ({"channel": "email", "address": "a@b.co", "reason": "whim"}, "reason"),
    ({"channel": "email", "address": "a@b.co", "expiresAt": "tomorrow"}, "expiresAt"),
    ({"channel": "email", "address": "a@b.co", "expiresAt": "2001-01-01T00:00:00Z"}, "expiresAt"),
    ({"channel": "email", "address": "a@b.co", "expiresAt": "0001-01-01T00:00:00+14:00"}, "expiresAt"),
    ({"channel": "email", "address": "a@b.co", "expiresAt": 5}, "expiresAt"),
    ({"channel": "email", "address": "a@b.co", "detail": "x" * 1001}, "detail"),
    ({"channel": "email", "address": "a@b.co", "other": 1}, "other"),
]


@pytest.mark.parametrize(("body", "field"), BAD)
def test_bad_input_is_refused_with_its_fields_name(api, body, field):
    response = api.post("/api/suppressions", body)
    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (400, [field])
    assert not Suppression.objects.exists()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("channel=email", "address"),
        ("address=a@b.co", "channel"),
        ("channel=pigeon&address=a", "channel"),
        ("channel=email&address=%00", "address"),
    ],
)
def test_lifting_needs_a_channel_and_an_address(api, tenant, query, field):
    SuppressionFactory(tenant=tenant, address="a@b.co")
    response = api.delete(f"/api/suppressions?{query}")
    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (400, [field])
    assert Suppression.objects.count() == 1


@pytest.mark.parametrize("suppression_id", ["x", "%00", str(uuid.UUID(int=0))])
def test_an_id_that_is_none_is_not_found(api, suppression_id):
    assert api.delete(f"/api/suppressions/{suppression_id}").status_code == 404


def test_another_tenants_suppressions_are_neither_seen_nor_touched(api, tenant, stranger):
    theirs = SuppressionFactory(tenant=stranger, address="a@b.co")
    assert api.get("/api/suppressions").json()["results"] == []
    assert api.delete(f"/api/suppressions/{theirs.pk}").status_code == 404
    assert api.delete("/api/suppressions?channel=email&address=a@b.co").status_code == 404
    assert suppressed([(tenant.pk, Channel.EMAIL, "a@b.co")]) == {}
    assert api.post("/api/suppressions", {"channel": "email", "address": "a@b.co"}).status_code == 201
    assert Suppression.objects.count() == 2


def test_suppressions_need_their_scope(tenant):
    for client in (client_for(tenant, Scope.PREFERENCES_WRITE), user_client(tenant, "a")):
        assert client.get("/api/suppressions").status_code == 403
        assert client.post("/api/suppressions", {"channel": "email", "address": "a@b.co"}).status_code == 403
        assert client.delete("/api/suppressions?channel=email&address=a@b.co").status_code == 403


def test_an_expired_suppression_stops_nothing_and_can_be_renewed(api, tenant):
    SuppressionFactory(tenant=tenant, address="a@b.co", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert suppressed([(tenant.pk, Channel.EMAIL, "a@b.co")]) == {}
    until = (timezone.now() + timedelta(days=1)).replace(microsecond=0)
    renewed = api.post("/api/suppressions", {"channel": "email", "address": "a@b.co", "expiresAt": until.isoformat()})
    assert datetime.fromisoformat(renewed.json()["expiresAt"]) == until
    assert suppressed([(tenant.pk, Channel.EMAIL, "a@b.co")]) != {}
