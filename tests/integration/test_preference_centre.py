"""The page on which recipients choose: what it shows, what saving it writes, and who may."""

import re
from datetime import time, timedelta

import msgspec
import pytest
from django.test import Client
from django.utils.timezone import now

from preferences import services
from preferences.centre import views
from preferences.centre.links import CentreLink, Signer, unverified
from preferences.centre.services import ladder_of
from preferences.models import Preference
from preferences.resolver import Question, resolve
from tenants.services import create_user_token
from tenants.vocabulary import Channel, Scope
from tests.conftest import client_for, user_client
from tests.factories import DeviceFactory, EventTypeFactory, PreferenceFactory, RecipientFactory


@pytest.fixture
def ada(tenant):
    return RecipientFactory(tenant=tenant, user_id="ada", email="ada@example.com", phone="+4915112345678", locale="")


@pytest.fixture
def types(tenant):
    EventTypeFactory(tenant=tenant, name="bill", category="money", description="What you owe us.")
    EventTypeFactory(tenant=tenant, name="refund", category="money")
    EventTypeFactory(tenant=tenant, name="fraud", category="money", required=True, description="If somebody tries.")
    EventTypeFactory(tenant=tenant, name="survey", default_enabled=False)


@pytest.fixture
def browser():
    return Client(enforce_csrf_checks=True)


@pytest.fixture
def path(tenant):
    return path_for(tenant)


def path_for(tenant, user_id="ada", expires_at=None):
    expires_at = int(now().timestamp()) + 60 if expires_at is None else expires_at
    return f"/preferences/{Signer(tenant.link_secret).token(CentreLink(tenant.pk, expires_at, user_id))}"


def form_of(page: str) -> dict:
    """The form's fields as a browser would send them."""
    boxes = re.findall(r'<input type="checkbox" name="on" value="([^"]+)"( checked)?>', page)
    form = {"on": [value for value, checked in boxes if checked]}
    for name, options in re.findall(r'<select name="([^"]+)">(.*?)</select>', page, re.DOTALL):
        form[name] = re.search(r'value="(\w+)" selected', options)[1]
    (shown,) = re.findall(r'name="shown" value="([^"]*)"', page)
    return form | {"shown": shown.replace("&quot;", '"')}


def boxes_of(page: str) -> list[str]:
    return re.findall(r'name="on" value="([^"]+)"', page)


def opened(browser, path) -> dict:
    return form_of(browser.get(path).content.decode())


def allowed(tenant, event_type, channel, user_id="ada", category="", default_enabled=None):
    question = Question(channel=channel, event_type=event_type, category=category, default_enabled=default_enabled)
    return resolve(question, ladder_of(tenant, user_id)).allowed


def test_it_shows_the_tenants_types_and_the_users_own_channels(tenant, stranger, ada, types, browser, path):
    EventTypeFactory(tenant=stranger, name="secret.project", category="theirs")
    DeviceFactory(recipient=ada)
    page = browser.get(path).content.decode()
    assert "secret.project" not in page.lower()
    assert "Theirs" not in page
    assert boxes_of(page) == [
        f"{channel} t:{name}" for name in ("bill", "refund", "survey") for channel in ("email", "sms", "push", "in_app")
    ]
    assert [box for box in form_of(page)["on"] if "survey" in box] == []
    for words in (
        "Money",
        "What you owe us.",
        "Fraud",
        "If somebody tries.",
        "Always on",
        "a•••@example.com",
        "•••78",
        "1 device",
    ):
        assert words in page
    assert "ada@example.com" not in page
    assert "12345" not in page


def test_saving_writes_what_was_changed_and_nothing_else(tenant, ada, types, browser, path):
    form = opened(browser, path)
    form["on"].remove("email t:bill")
    form["on"].append("sms t:survey")
    response = browser.post(path, form)
    assert response.status_code == 303
    assert response["Location"].endswith("?saved")
    assert "Your settings are saved." in browser.get(f"/preferences/{response['Location']}").content.decode()
    rows = Preference.objects.values_list("user_id", "channel", "event_type", "category", "enabled", "source")
    assert set(rows) == {("ada", 1, "bill", "", False, "centre"), ("ada", 2, "survey", "", True, "centre")}
    before = set(Preference.objects.values_list("id", "updated_at"))
    response = browser.post(path, opened(browser, path))
    assert response["Location"].endswith("?unchanged")
    assert set(Preference.objects.values_list("id", "updated_at")) == before


@pytest.mark.parametrize(
    "hours",
    [
        {"quiet_hours_days": 0},
        {"quiet_hours_start": time(22), "quiet_hours_end": time(7), "quiet_hours_days": 0b0011111},
        {"quiet_hours_start": time(22), "quiet_hours_end": time(7)},
    ],
)
def test_a_choice_keeps_the_quiet_hours_that_it_was_under(tenant, ada, types, browser, path, hours):
    general = PreferenceFactory(tenant=tenant, user_id="ada", **hours)
    before = ladder_of(tenant, "ada").user[None, "", ""].quiet_hours
    assert before is not None
    form = opened(browser, path)
    form["on"].remove("email t:bill")
    assert browser.post(path, form).status_code == 303
    ladder = ladder_of(tenant, "ada").user
    assert (ladder[Channel.EMAIL, "bill", ""].enabled, ladder[Channel.EMAIL, "bill", ""].quiet_hours) == (False, before)
    assert ladder[None, "", ""].id == str(general.pk)


def test_a_page_left_open_undoes_nothing_that_happened_since(tenant, ada, types, browser, path):
    stale = opened(browser, path)
    PreferenceFactory(tenant=tenant, user_id="ada", channel=Channel.EMAIL, event_type="refund", enabled=False)
    stale["on"].remove("email t:bill")
    browser.post(path, stale)
    assert not allowed(tenant, "refund", Channel.EMAIL)
    assert not allowed(tenant, "bill", Channel.EMAIL)


def test_of_many_types_the_categories_are_shown(tenant, ada, types, browser, path):
    for number in range(20):
        EventTypeFactory(tenant=tenant, name=f"offer.{number}", category="offers & more")
    PreferenceFactory(tenant=tenant, user_id="ada", channel=Channel.EMAIL, event_type="offer.3", enabled=False)
    page = browser.get(path).content.decode()
    assert "email c:offers &amp; more" in boxes_of(page)
    assert "(in part)" in page
    form = form_of(page)
    form["on"].remove("sms c:offers &amp; more")
    form["on"] = [box.replace("&amp;", "&") for box in form["on"]]
    form["shown"] = form["shown"].replace("&amp;", "&")
    form = {name.replace("&amp;", "&"): value for name, value in form.items()}
    browser.post(path, form)
    (row,) = Preference.objects.filter(source="centre")
    assert (row.channel, row.category, row.enabled) == (Channel.SMS, "offers & more", False)


def test_what_is_required_cannot_be_turned_off_by_any_form(tenant, ada, types, browser, path):
    shown = msgspec.json.encode({"on": ["email t:fraud", "email c:money"], "when": {}}).decode()
    assert browser.post(path, {"shown": shown})["Location"].endswith("?unchanged")
    assert not Preference.objects.exists()


def test_everything_off_and_on_again(tenant, ada, types, browser, path):
    PreferenceFactory(tenant=tenant, user_id="ada", channel=Channel.SMS, enabled=True, delivery="digest")
    browser.post(path, {"everything": "off"})
    page = browser.get(path).content.decode()
    assert form_of(page)["on"] == []
    assert "Everything is off" in page
    assert not any(allowed(tenant, "whatever.comes", channel) for channel in Channel)
    browser.post(path, {"everything": "on"})
    assert "Everything is off" not in browser.get(path).content.decode()
    assert allowed(tenant, "bill", Channel.EMAIL)
    assert not allowed(tenant, "bill", Channel.SMS), "which was turned off by itself"


def test_a_summary_instead_of_at_once(tenant, ada, types, browser, path):
    form = opened(browser, path)
    assert form["when-t:bill"] == "immediate"
    browser.post(path, form | {"when-t:bill": "digest"})
    rows = Preference.objects.values_list("channel", "event_type", "enabled", "delivery")
    assert set(rows) == {(channel, "bill", True, "digest") for channel in (1, 2, 4)}
    assert opened(browser, path)["when-t:bill"] == "digest"
    Preference.objects.filter(channel=1).delete()
    assert opened(browser, path)["when-t:bill"] == "mixed"


def test_quiet_hours_are_kept_by_what_is_chosen_here(tenant, ada, types, browser, path):
    PreferenceFactory(tenant=tenant, user_id="ada", quiet_hours_start="22:00", quiet_hours_end="07:00")
    form = opened(browser, path)
    form["on"].remove("email t:bill")
    browser.post(path, form)
    row = Preference.objects.get(event_type="bill")
    assert (f"{row.quiet_hours_start:%H}", f"{row.quiet_hours_end:%H}") == ("22", "07")


@pytest.mark.parametrize("shown", ["", "{", "[]", '{"on": 1, "when": {}}', '{"on": []}'])
def test_a_form_that_is_not_whole_changes_nothing_and_says_so(tenant, ada, types, browser, path, shown):
    response = browser.post(path, {"shown": shown, "on": []})
    assert response.status_code == 400
    assert 'role="alert"' in response.content.decode()
    assert "<title>Not saved:" in response.content.decode()
    assert not Preference.objects.exists()


def test_more_than_can_be_kept_is_refused_whole(tenant, ada, types, browser, path, monkeypatch):
    monkeypatch.setattr(views, "LONGEST_LADDER", 1)
    form = opened(browser, path)
    form["on"] = []
    response = browser.post(path, form)
    assert response.status_code == 400
    assert "whole category" in response.content.decode()
    assert not Preference.objects.exists()


def test_however_much_was_chosen_everything_can_be_turned_off(tenant, ada, types, browser, path, monkeypatch):
    monkeypatch.setattr(views, "LONGEST_LADDER", 0)
    assert browser.post(path, {"everything": "off"}).status_code == 303
    assert not allowed(tenant, "bill", Channel.EMAIL)


def test_what_the_api_or_staff_set_is_no_longer_the_users_own(api, tenant):
    row = PreferenceFactory(tenant=tenant, user_id="ada", channel=Channel.EMAIL, event_type="bill", source="centre")
    assert api.get("/api/preferences?userId=ada").json()["results"][0]["source"] == "centre"
    assert api.patch(f"/api/preferences/{row.id}", {"enabled": False}).json()["source"] is None
    Preference.objects.update(source="unsubscribe")
    body = {"userId": "ada", "channel": "email", "eventType": "bill", "enabled": True}
    assert api.post("/api/preferences", body).json()["source"] is None


def test_somebody_who_is_not_known_yet_may_choose_about_the_inbox(tenant, types, browser):
    form = opened(browser, path_for(tenant, "new"))
    assert form["on"] == ["in_app t:bill", "in_app t:refund"]
    assert browser.post(path_for(tenant, "new"), form | {"on": ["in_app t:bill"]}).status_code == 303
    assert not allowed(tenant, "refund", Channel.IN_APP, "new")


def test_a_channel_that_was_turned_off_can_be_turned_on_without_an_address(tenant, types, browser):
    PreferenceFactory(tenant=tenant, user_id="new", channel=Channel.EMAIL, event_type="bill", enabled=False)
    assert "email t:bill" in boxes_of(browser.get(path_for(tenant, "new")).content.decode())


def test_a_tenant_that_declared_nothing_has_one_line(tenant, ada, browser, path):
    form = opened(browser, path)
    assert form["on"] == ["email *", "sms *", "in_app *"]
    browser.post(path, form | {"on": ["sms *", "in_app *"]})
    assert not allowed(tenant, "whatever", Channel.EMAIL)
    assert allowed(tenant, "whatever", Channel.SMS)


def test_an_expired_link_says_so_kindly(tenant, ada, browser):
    path = path_for(tenant, expires_at=int(now().timestamp()) - 1)
    for response in (browser.get(path), browser.post(path, {"everything": "off"})):
        assert response.status_code == 410
        assert "This link has expired" in response.content.decode()
        assert tenant.name in response.content.decode()
    assert not Preference.objects.exists()


def test_another_tenants_or_kinds_link_opens_nothing(tenant, stranger, ada, browser):
    forged = Signer(tenant.link_secret).token(CentreLink(stranger.pk, 2**39, "ada"))
    assert browser.get(f"/preferences/{forged}").status_code == 404
    assert browser.get(path_for(tenant).replace("/preferences/", "/u/")).status_code == 404
    assert browser.post(path_for(tenant)[:-3]).status_code == 404


def test_one_users_link_changes_nobody_else(tenant, ada, types, browser, path):
    browser.post(path, {"everything": "off", "userId": "bob", "user_id": "bob"})
    assert set(Preference.objects.values_list("user_id", flat=True)) == {"ada"}


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_user_token_is_exchanged_and_leaves_the_address(tenant, ada, browser, method):
    token = create_user_token(tenant=tenant, user_id="ada", ttl=timedelta(minutes=5))
    response = getattr(browser, method)("/preferences", {"token": token})
    assert response.status_code == 303
    assert token not in response["Location"]
    assert response["Referrer-Policy"] == "no-referrer"
    assert not response.cookies
    place = response["Location"].removeprefix("http://127.0.0.1:8000")
    link = unverified(place.rpartition("/")[2], CentreLink)
    assert (link.user_id, link.tenant_id) == ("ada", tenant.pk)
    assert link.expires_at <= now().timestamp() + 3600
    assert browser.get(place).status_code == 200


@pytest.mark.parametrize("query", ["", "?token=", "?token=x", "?token=a.b.c"])
def test_without_a_good_user_token_there_is_nothing(db, browser, query):
    assert browser.get(f"/preferences{query}").status_code == 404


def test_a_server_obtains_a_link_for_its_user(api, tenant, ada, browser):
    response = api.post("/api/recipients/ada/preference-link")
    assert response.status_code == 201
    body = response.json()
    assert set(body) == {"url", "expiresAt"}
    place = body["url"].removeprefix("http://127.0.0.1:8000")
    assert browser.get(place).status_code == 200
    assert unverified(place.rpartition("/")[2], CentreLink).user_id == "ada"
    with_scope = client_for(tenant, Scope.PREFERENCES_WRITE)
    assert with_scope.post("/api/recipients/ada/preference-link").status_code == 201
    assert client_for(tenant, Scope.EVENTS_WRITE).post("/api/recipients/ada/preference-link").status_code == 403


def test_another_tenants_key_gets_no_link(stranger_api, tenant, ada):
    assert stranger_api.post("/api/recipients/ada/preference-link").status_code == 404


def test_a_user_obtains_a_link_for_oneself_and_nobody_else(tenant, ada):
    client = user_client(tenant, "new")
    assert client.post("/api/recipients/new/preference-link").status_code == 201
    assert client.post("/api/recipients/ada/preference-link").status_code == 403


@pytest.mark.parametrize("user_id", ["nobody", "%00", "a%2Fb"])
def test_for_an_unknown_user_there_is_none(api, ada, user_id):
    assert api.post(f"/api/recipients/{user_id}/preference-link").status_code == 404


def test_a_recipient_whose_name_ends_like_the_path_is_still_reached(api, tenant):
    assert api.put("/api/recipients/a/preference-link", {"email": "a@example.com"}).status_code == 201
    assert api.get("/api/recipients/a/preference-link").json()["userId"] == "a/preference-link"
    assert api.post("/api/recipients/a/preference-link/preference-link").status_code == 201
    assert api.post("/api/recipients/a/preference-link").status_code == 404
    assert api.delete("/api/recipients/a/preference-link").status_code == 204


def test_under_a_prefix_the_page_finds_its_style(tenant, ada, browser, path, settings):
    settings.PUBLIC_URL = "https://example.com/notify"
    assert 'href="/notify/static/preferences/centre' in browser.get(path).content.decode()


def test_an_erased_users_choices_are_gone(tenant, ada, types, browser, path):
    browser.post(path, {"everything": "off"})
    services.erase_recipient(tenant=tenant, user_id="ada")
    assert not Preference.objects.exists()
