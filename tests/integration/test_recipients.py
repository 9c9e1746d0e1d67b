"""Recipients over HTTP."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from preferences.models import Device, Preference, Recipient, Subscription, Suppression
from preferences.selectors import recipients_by_user
from preferences.services import subscribe
from tenants.vocabulary import Channel, Scope
from tests.conftest import client_for, user_client
from tests.factories import DeviceFactory, PreferenceFactory, RecipientFactory, SuppressionFactory

EVERYTHING = {
    "email": "Zoe.Mueller@example.com",
    "phone": "+4915112345678",
    "pushTokens": [{"token": "t1", "platform": "ios"}, {"token": "t2", "platform": ""}],
    "telegramChatId": "-100123",
    "webhookUrl": "https://example.com/hook",
    "locale": "de-AT",
    "timezone": "Europe/Vienna",
    "attributes": {"plan_name": "pro", "nested": {"Some_Key": [1, 2.5, None, True]}},
    "quietHours": [{"start": "22:00", "end": "07:00", "days": ["mon", "sat"]}],
}
NOTHING = {
    "email": None,
    "phone": None,
    "pushTokens": [],
    "telegramChatId": None,
    "webhookUrl": None,
    "locale": None,
    "timezone": None,
    "attributes": {},
    "quietHours": [],
}


def shown(response):
    """The client's own part of a recipient."""
    return {name: value for name, value in response.json().items() if name not in {"userId", "createdAt", "updatedAt"}}


def test_a_recipient_is_created_read_replaced_and_erased(api):
    created = api.put("/api/recipients/user_1", EVERYTHING)
    assert created.status_code == 201
    assert created.json()["userId"] == "user_1"
    assert shown(created) == EVERYTHING
    assert api.get("/api/recipients/user_1").json() == created.json()
    replaced = api.put("/api/recipients/user_1", {"pushTokens": [], "quietHours": None})
    assert (replaced.status_code, shown(replaced)) == (200, NOTHING)
    assert replaced.json()["createdAt"] == created.json()["createdAt"]
    assert api.delete("/api/recipients/user_1").status_code == 204
    assert api.get("/api/recipients/user_1").status_code == 404
    assert api.delete("/api/recipients/user_1").status_code == 404


@pytest.mark.parametrize("user_id", ["a:b", "a@b.co", "a.b", "ä ö", "…", "a%2Bb", "*", "x" * 255])
def test_a_user_id_may_be_nearly_anything(api, user_id):
    from urllib.parse import quote

    path = f"/api/recipients/{quote(user_id, safe='')}"
    assert api.put(path, {"email": "a@b.co"}).status_code == 201
    assert api.get(path).json()["userId"] == user_id


def test_what_was_read_can_be_written_back(api):
    api.put("/api/recipients/a", EVERYTHING)
    assert shown(api.put("/api/recipients/a", api.get("/api/recipients/a").json())) == EVERYTHING


def test_values_are_stored_in_their_normal_form(api):
    stored = api.put("/api/recipients/a", {"phone": "+1 (415) 555-0100", "locale": "de_at", "telegramChatId": 42, "email": ""})
    assert shown(stored) == NOTHING | {"phone": "+14155550100", "locale": "de-AT", "telegramChatId": "42"}


@pytest.mark.parametrize(
    "body", [{"phone": f"+1500555000{digit}"} for digit in (0, 5, 9)] + [{"email": "ok@simulator.invalid"}]
)
def test_the_sandboxs_addresses_are_accepted(api, body):
    assert api.put("/api/recipients/a", body).status_code == 201


BAD = [
    ({"email": "nobody"}, "email"),
    ({"email": 5}, "email"),
    ({"email": ["a@b.co"]}, "email"),
    ({"phone": "12345"}, "phone"),
    ({"phone": "+1"}, "phone"),
    ({"phone": 4915112345678}, "phone"),
    ({"timezone": "Mars/Olympus"}, "timezone"),
    ({"locale": "german!"}, "locale"),
    ({"webhookUrl": "ftp://a.co"}, "webhookUrl"),
    ({"webhookUrl": "javascript:alert(1)"}, "webhookUrl"),
    ({"telegramChatId": "a b"}, "telegramChatId"),
    ({"telegramChatId": True}, "telegramChatId"),
    ({"pushTokens": "t"}, "pushTokens"),
    ({"pushTokens": None}, "pushTokens"),
    ({"pushTokens": ["ok", "not ok"]}, "pushTokens[1]"),
    ({"pushTokens": [5]}, "pushTokens[0]"),
    ({"pushTokens": [{"platform": "ios"}]}, "pushTokens[0]"),
    ({"pushTokens": [{"token": "t", "platform": 5}]}, "pushTokens[0]"),
    ({"pushTokens": [{"token": "t", "other": 1}]}, "pushTokens[0]"),
    ({"pushTokens": ["x" * 4097]}, "pushTokens[0]"),
    ({"pushTokens": [f"t{number}" for number in range(101)]}, "pushTokens"),
    ({"attributes": []}, "attributes"),
    ({"attributes": None}, "attributes"),
    ({"attributes": {"a": "x" * 16384}}, "attributes"),
    ({"quietHours": "22:00-07:00"}, "quietHours"),
    ({"quietHours": ["22:00-07:00"]}, "quietHours[0]"),
    ({"quietHours": [{"start": "22:00"}]}, "quietHours[0].end"),
    ({"quietHours": [{"start": "22:00", "end": "25:00"}]}, "quietHours[0].end"),
    ({"quietHours": [{"start": "22:00", "end": "07:00", "on": ["mon"]}]}, "quietHours[0].on"),
    ({"quietHours": [{"start": "22:00", "end": "07:00", "days": ["monday"]}]}, "quietHours[0].days[0]"),
    ({"quietHours": [{"start": "22:00", "end": "07:00", "days": ["mon", "mon"]}]}, "quietHours[0].days"),
    ({"quietHours": [{"start": "22:00", "end": "07:00", "days": []}]}, "quietHours[0].days"),
    ({"quietHours": [{"start": "22:00", "end": "22:00"}]}, "quietHours"),
    ({"quietHours": [{"start": "22:00", "end": "07:00"}, {"start": "07:00", "end": "22:00"}]}, "quietHours"),
    ({"quietHours": [{"start": "22:00", "end": "07:00"}] * 15}, "quietHours"),
    ({"e_mail": "a@b.co"}, "e_mail"),
    ({"attributes": {"a": "\x00"}}, "attributes.a"),
    ({"email": "a\x00@b.co"}, "email"),
]


@pytest.mark.parametrize(("body", "field"), BAD)
@pytest.mark.parametrize("method", ["put", "patch"])
def test_bad_input_is_refused_with_its_fields_name(api, tenant, method, body, field):
    RecipientFactory(tenant=tenant, user_id="a", email="old@example.com")
    response = getattr(api, method)("/api/recipients/a", body)
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert Recipient.objects.get().email == "old@example.com"


def test_every_faulty_field_is_named(api):
    response = api.put("/api/recipients/a", {"email": "x", "phone": "x", "colour": 1})
    assert {error["field"] for error in response.json()["errors"]} >= {"colour"}
    response = api.put("/api/recipients/a", {"email": "x", "phone": "x"})
    assert {error["field"] for error in response.json()["errors"]} == {"email", "phone"}


def test_deeply_nested_attributes_are_refused(api):
    deep = {}
    for _ in range(30):
        deep = {"a": deep}
    response = api.put("/api/recipients/a", {"attributes": deep})
    assert [error["field"] for error in response.json()["errors"]] == ["attributes"]


@pytest.mark.parametrize("body", ["[]", "5", '"x"', "null", "{", "", "[" * 200 + "]" * 200])
@pytest.mark.parametrize("path", ["/api/recipients/a", "/api/recipients/bulk"])
def test_a_body_that_is_no_object_is_refused(api, path, body):
    method = api.post if path.endswith("bulk") else api.put
    response = method(path, body, content_type="application/json")
    assert response.status_code in ((201,) if body == "" and not path.endswith("bulk") else (400,))


@pytest.mark.parametrize(("user_id", "reading"), [("x" * 256, 404), ("a%00b", 404), ("a%0Ab", 404)])
def test_a_user_id_that_cannot_be_is_found_nowhere_and_not_stored(api, user_id, reading):
    path = f"/api/recipients/{user_id}"
    assert api.get(path).status_code == reading
    assert api.delete(path).status_code == reading
    assert api.patch(path, {}).status_code == reading
    refused = api.put(path, {})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "userId")


def test_a_patch_changes_only_what_it_names(api):
    api.put("/api/recipients/a", EVERYTHING)
    changed = api.patch("/api/recipients/a", {"email": None, "attributes": {"new": 1}})
    assert shown(changed) == EVERYTHING | {"email": None, "attributes": {"new": 1}}
    assert shown(api.patch("/api/recipients/a", {})) == shown(changed)
    assert api.patch("/api/recipients/nobody", {}).status_code == 404


def test_push_tokens_given_replace_the_devices_and_left_out_keep_them(api, tenant):
    api.put("/api/recipients/a", {"pushTokens": ["t1", {"token": "t2", "platform": "ios"}]})
    kept = Device.objects.get(token="t2")
    assert [device["token"] for device in shown(api.put("/api/recipients/a", {}))["pushTokens"]] == ["t1", "t2"]
    replaced = shown(api.patch("/api/recipients/a", {"pushTokens": [{"token": "t2", "platform": "android"}, "t3"]}))
    assert replaced["pushTokens"] == [{"token": "t2", "platform": "android"}, {"token": "t3", "platform": ""}]
    assert Device.objects.get(token="t2").pk == kept.pk
    assert not Device.objects.filter(token="t1").exists()


def test_quiet_hours_left_out_stay_and_null_takes_them_away(api):
    night = {"start": "22:00", "end": "07:00"}
    every_day = night | {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}
    stored = api.put("/api/recipients/a", {"quietHours": [night, night | {"days": ["sun"]}]})
    assert shown(stored)["quietHours"] == [every_day, night | {"days": ["sun"]}]
    assert shown(api.put("/api/recipients/a", {"email": "a@b.co"}))["quietHours"] == shown(stored)["quietHours"]
    assert shown(api.patch("/api/recipients/a", {"email": None}))["quietHours"] == shown(stored)["quietHours"]
    assert shown(api.patch("/api/recipients/a", {"quietHours": [night]}))["quietHours"] == [every_day]
    for body in ({"quietHours": None}, {"quietHours": []}):
        api.patch("/api/recipients/a", {"quietHours": [night]})
        assert shown(api.patch("/api/recipients/a", body))["quietHours"] == []
        api.patch("/api/recipients/a", {"quietHours": [night]})
        assert shown(api.put("/api/recipients/a", body))["quietHours"] == []


def test_a_retired_token_that_is_registered_again_is_live_again(api, tenant):
    from django.utils import timezone

    DeviceFactory(recipient=RecipientFactory(tenant=tenant, user_id="a"), token="t", retired_at=timezone.now())
    assert api.get("/api/recipients/a").json()["pushTokens"] == []
    assert [device["token"] for device in api.patch("/api/recipients/a", {"pushTokens": ["t"]}).json()["pushTokens"]] == ["t"]


def test_a_device_goes_to_whoever_registered_it_last(api, tenant, stranger):
    DeviceFactory(recipient=RecipientFactory(tenant=stranger, user_id="a"), token="phone")
    api.put("/api/recipients/a", {"pushTokens": ["phone", "simulator-ok", "tablet"]})
    api.put("/api/recipients/b", {"pushTokens": ["phone", "simulator-ok"]})
    owners = {(device.tenant.slug, device.recipient.user_id, device.token) for device in Device.objects.select_related()}
    assert owners == {
        ("stranger", "a", "phone"),
        ("acme", "a", "simulator-ok"),
        ("acme", "a", "tablet"),
        ("acme", "b", "phone"),
        ("acme", "b", "simulator-ok"),
    }


def test_the_list_is_the_tenants_own_newest_first_in_pages(api, tenant, stranger):
    for number in range(5):
        RecipientFactory(tenant=tenant, user_id=f"u{number}")
    RecipientFactory(tenant=stranger, user_id="theirs")
    first = api.get("/api/recipients?limit=3").json()
    second = api.get(first["next"]).json()
    assert [[entry["userId"] for entry in page["results"]] for page in (first, second)] == [["u4", "u3", "u2"], ["u1", "u0"]]
    assert second["next"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=201", "cursor=x"])
def test_a_bad_query_is_refused_with_its_parameters_name(api, query):
    response = api.get(f"/api/recipients?{query}")
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == query.partition("=")[0]


def test_the_list_costs_the_same_however_long_it_is(api, tenant):
    costs = []
    for size in (1, 20):
        for _ in range(size):
            DeviceFactory(recipient=RecipientFactory(tenant=tenant))
        with CaptureQueriesContext(connection) as captured:
            api.get("/api/recipients")
        costs.append(len(captured))
    assert costs[0] >= costs[1]


def test_another_tenants_recipients_are_neither_seen_nor_touched(api, stranger, stranger_api):
    stranger_api.put("/api/recipients/a", EVERYTHING)
    assert api.get("/api/recipients/a").status_code == 404
    assert api.patch("/api/recipients/a", {"email": None}).status_code == 404
    assert api.delete("/api/recipients/a").status_code == 404
    assert api.put("/api/recipients/a", {}).status_code == 201
    assert api.delete("/api/recipients/a").status_code == 204
    assert shown(stranger_api.get("/api/recipients/a")) == EVERYTHING


def test_recipients_need_their_scope(tenant):
    for client in (client_for(tenant, Scope.EVENTS_WRITE, Scope.PREFERENCES_WRITE), user_client(tenant, "a")):
        assert client.get("/api/recipients").status_code == 403
        assert client.put("/api/recipients/a", {}).status_code == 403
        assert client.delete("/api/recipients/a").status_code == 403
        assert client.post("/api/recipients/bulk", {"recipients": [{"userId": "a"}]}).status_code == 403
    allowed = client_for(tenant, Scope.RECIPIENTS_WRITE)
    assert allowed.put("/api/recipients/a", {}).status_code == 201


def test_erasing_takes_everything_that_is_about_the_person(api, tenant, stranger):
    for owner in (tenant, stranger):
        recipient = RecipientFactory(tenant=owner, user_id="a")
        DeviceFactory(recipient=recipient)
        PreferenceFactory(tenant=owner, user_id="a")
        subscribe(tenant=owner, topic_key="news", user_id="a")
    PreferenceFactory(tenant=tenant, user_id="")
    SuppressionFactory(tenant=tenant, address="a@example.com")
    assert api.delete("/api/recipients/a").status_code == 204
    assert [list(model.objects.for_tenant(tenant)) for model in (Recipient, Device)] == [[], []]
    assert [preference.user_id for preference in Preference.objects.for_tenant(tenant)] == [""]
    assert Subscription.objects.count() == Device.objects.count() == Recipient.objects.count() == 1
    assert Preference.objects.for_tenant(stranger).count() == 1
    assert Suppression.objects.count() == 1


def test_who_only_has_preferences_can_be_erased_too(api, tenant):
    PreferenceFactory(tenant=tenant, user_id="a")
    assert api.delete("/api/recipients/a").status_code == 204
    assert not Preference.objects.exists()


def test_a_push_tokens_address_is_every_live_device(api, tenant):
    api.put("/api/recipients/a", {"pushTokens": ["t1", "t2"]})
    assert recipients_by_user([(tenant.pk, "a")])[tenant.pk, "a"].address_for(Channel.PUSH) == ("t1", "t2")
