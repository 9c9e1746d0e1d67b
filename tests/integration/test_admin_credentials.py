"""API keys and provider accounts in the admin: what is secret goes in, and is seen once or never."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.urls import reverse

from tenants.models import ApiKey, ProviderAccount
from tenants.selectors import InvalidCredential, api_key_by_text
from tenants.services import create_api_key
from tenants.vocabulary import Channel, Scope
from tests.staff import staff_client, superuser_client

KEYS = "/admin/tenants/apikey/"
ACCOUNTS = "/admin/tenants/provideraccount/"
SECRET = "s3cret-t0ken"


@pytest.fixture
def root(db):
    return superuser_client()


def make_key(client, tenant, values=None):
    form = {"tenant": tenant.pk, "name": "shop", "scopes": ["events:write", "deliveries:read"]}
    return client.post(f"{KEYS}add/", form | (values or {}))


def test_a_new_key_is_shown_on_the_page_that_makes_it_and_works(root, tenant):
    response = make_key(root, tenant, {"expires_at_0": "2999-01-01", "expires_at_1": "00:00:00", "sandbox": "on"})
    text = response.context["text"]
    assert response.content.decode().count(text) == 1
    assert "no-store" in response["Cache-Control"]
    key = api_key_by_text(text)
    assert (key.tenant, key.name, key.scopes, key.sandbox) == (tenant, "shop", ["events:write", "deliveries:read"], True)
    assert key.expires_at.year == 2999


def test_a_key_is_shown_never_again_and_kept_nowhere(root, tenant):
    response = make_key(root, tenant)
    text = response.context["text"]
    key = ApiKey.objects.get()
    for page in (KEYS, f"{KEYS}{key.pk}/change/", f"{KEYS}{key.pk}/history/", "/admin/"):
        shown = root.get(page).content.decode()
        assert text not in shown
        assert bytes(key.key_hash).hex() not in shown
    assert text not in str(response.cookies)
    assert all(text not in str(session.get_decoded()) for session in Session.objects.all())
    assert all(text not in str(vars(entry)) for entry in LogEntry.objects.all())


@pytest.mark.parametrize(("field", "value"), [("scopes", []), ("scopes", ["everything"]), ("tenant", "x"), ("name", "\x00")])
def test_a_faulty_key_is_not_made(root, tenant, field, value):
    response = make_key(root, tenant, {field: value})
    assert list(response.context["adminform"].form.errors) == [field]
    assert not ApiKey.objects.exists()


def test_a_key_is_changed_but_not_given_to_another_tenant(root, tenant, stranger):
    key, text = create_api_key(tenant=tenant, scopes=[Scope.ADMIN])
    root.post(f"{KEYS}{key.pk}/change/", {"tenant": stranger.pk, "name": "renamed", "scopes": ["rules:write"]})
    found = api_key_by_text(text)
    assert (found.tenant, found.name, found.scopes) == (tenant, "renamed", ["rules:write"])


def test_a_key_is_revoked_after_a_question(root, tenant):
    key, text = create_api_key(tenant=tenant, scopes=[Scope.ADMIN])
    url = reverse("admin:tenants_apikey_revoke", args=[key.pk])
    assert "Revoke this key?" in root.get(url).content.decode()
    assert api_key_by_text(text)
    answer = root.post(url, {"_form_submitted": "on"}, headers={"HX-Request": "true"})
    assert answer["HX-Redirect"] == f"{KEYS}{key.pk}/change/"
    with pytest.raises(InvalidCredential):
        api_key_by_text(text)


def test_selected_keys_are_revoked_and_others_are_not(root, tenant):
    revoked, kept = (create_api_key(tenant=tenant, scopes=[Scope.ADMIN]) for _ in range(2))
    root.post(KEYS, {"action": "revoke_selected", "_selected_action": [revoked[0].pk], "index": 0})
    assert api_key_by_text(kept[1])
    with pytest.raises(InvalidCredential):
        api_key_by_text(revoked[1])


def test_keys_are_not_deleted(root, tenant):
    key, text = create_api_key(tenant=tenant, scopes=[Scope.ADMIN])
    assert root.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    assert api_key_by_text(text) == key


def test_staff_who_may_only_view_keys_revoke_none(tenant):
    key, text = create_api_key(tenant=tenant, scopes=[Scope.ADMIN])
    viewer = staff_client("tenants.view_apikey")
    assert viewer.post(reverse("admin:tenants_apikey_revoke", args=[key.pk]), {"_form_submitted": "on"}).status_code == 403
    assert make_key(viewer, tenant).status_code == 403
    assert api_key_by_text(text) == key


def account_form(tenant, **values):
    form = {
        "tenant": tenant.pk,
        "name": "own",
        "kind": "twilio",
        "twilio__account_sid": "AC" + "0" * 32,
        "twilio__auth_token": SECRET,
        "twilio__from_number": "+14155550100",
        "priority": 0,
        "weight": 1,
        "is_active": "on",
    }
    return form | values


@pytest.fixture
def account(root, tenant):
    response = root.post(f"{ACCOUNTS}add/", account_form(tenant))
    assert response.status_code == 302, response.context["adminform"].form.errors
    return ProviderAccount.objects.get()


def test_an_account_takes_its_channel_and_its_credentials_from_its_kind(account, tenant):
    assert (account.tenant, account.channel, account.kind) == (tenant, Channel.SMS, "twilio")
    assert account.credentials == {
        "account_sid": "AC" + "0" * 32,
        "auth_token": SECRET,
        "from_number": "+14155550100",
    }


def test_a_secret_is_on_no_page(root, account):
    for page in (ACCOUNTS, f"{ACCOUNTS}add/", f"{ACCOUNTS}{account.pk}/change/", f"{ACCOUNTS}{account.pk}/history/"):
        assert SECRET not in root.get(page).content.decode()
    change = root.get(f"{ACCOUNTS}{account.pk}/change/").content.decode()
    assert "kept unless you enter another" in change
    assert "+14155550100" in change


def test_a_secret_just_entered_is_not_shown_back_with_the_errors(root, tenant):
    pem = "-----BEGIN PRIVATE KEY-----\nnot one"
    form = account_form(tenant, kind="fcm", fcm__project_id="p", fcm__client_email="a@b.example", fcm__private_key=pem)
    for wrong in (account_form(tenant, twilio__from_number=""), form):
        response = root.post(f"{ACCOUNTS}add/", wrong)
        assert response.status_code == 200
        assert SECRET not in response.content.decode()
        assert "not one" not in response.content.decode()
    assert not ProviderAccount.objects.exists()


def test_a_secret_left_blank_is_kept_and_another_replaces_it(root, account, tenant):
    url = f"{ACCOUNTS}{account.pk}/change/"
    assert root.post(url, account_form(tenant, twilio__auth_token="", twilio__from_number="+14155550199")).status_code == 302
    account.refresh_from_db()
    assert account.credentials["auth_token"] == SECRET
    assert account.credentials["from_number"] == "+14155550199"
    root.post(url, account_form(tenant, twilio__auth_token="another-t0ken"))
    account.refresh_from_db()
    assert account.credentials["auth_token"] == "another-t0ken"


def test_an_account_keeps_its_tenant_and_its_kind(root, account, tenant, stranger):
    root.post(f"{ACCOUNTS}{account.pk}/change/", account_form(stranger, kind="smtp", name="renamed", smtp__host="x"))
    account.refresh_from_db()
    assert (account.tenant, account.kind, account.channel, account.name) == (tenant, "twilio", Channel.SMS, "renamed")


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"twilio__auth_token": "", "twilio__account_sid": ""}, ["twilio__account_sid", "twilio__auth_token"]),
        ({"kind": "pigeon"}, ["kind"]),
        ({"kind": "smtp", "smtp__port": "many", "smtp__host": "h"}, ["smtp__port"]),
        ({"kind": "smtp", "smtp__host": "h", "smtp__security": "rot13"}, ["smtp__security"]),
        ({"twilio__auth_token": "a\x00b"}, ["twilio__auth_token"]),
        ({"weight": "-1"}, ["weight"]),
    ],
)
def test_a_faulty_account_is_refused_at_its_fields(root, tenant, values, fields):
    response = root.post(f"{ACCOUNTS}add/", account_form(tenant, **values))
    assert response.status_code == 200
    assert sorted(response.context["adminform"].form.errors) == fields
    assert not ProviderAccount.objects.exists()


def test_a_name_is_taken_once_per_tenant_and_channel(root, account, tenant, stranger):
    response = root.post(f"{ACCOUNTS}add/", account_form(tenant))
    assert list(response.context["adminform"].form.errors) == ["name"]
    assert root.post(f"{ACCOUNTS}add/", account_form(stranger)).status_code == 302
    smtp = account_form(tenant, kind="smtp", smtp__host="smtp.example.com")
    assert root.post(f"{ACCOUNTS}add/", smtp).status_code == 302


def test_the_page_of_an_account_whose_kind_is_gone_still_opens(root, account, tenant):
    ProviderAccount.objects.update(kind="carrier-pigeon")
    url = f"{ACCOUNTS}{account.pk}/change/"
    assert root.get(url).status_code == 200
    assert root.post(url, account_form(tenant, name="renamed")).status_code == 302


@pytest.mark.parametrize(
    ("public_url", "said"),
    [
        ("https://notify.example.com", "told the URL with each message"),
        ("http://127.0.0.1:8000", "PUBLIC_URL cannot be reached"),
    ],
)
def test_twilio_needs_no_url_entered(root, account, settings, public_url, said):
    settings.PUBLIC_URL = public_url
    assert said in root.get(f"{ACCOUNTS}{account.pk}/change/").content.decode()


def email_form(tenant, kind, **values):
    form = account_form(tenant, kind=kind) | {f"{kind}__{name}": value for name, value in values.items()}
    return {name: value for name, value in form.items() if not name.startswith("twilio__")}


def test_the_url_to_enter_at_an_email_vendor_is_shown_and_its_secret_is_not(root, tenant, settings):
    settings.PUBLIC_URL = "https://notify.example.com"
    form = email_form(tenant, "postmark", server_token="server-token", webhook_secret=f"notify:{SECRET}")
    assert root.post(f"{ACCOUNTS}add/", form).status_code == 302
    account = ProviderAccount.objects.get()
    assert account.credentials["webhook_secret"] == f"notify:{SECRET}"
    page = root.get(f"{ACCOUNTS}{account.pk}/change/").content.decode()
    assert f"https://notify.example.com/api/receipts/email/postmark/{account.pk}" in page
    assert SECRET not in page


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("postmark", "webhook_secret", "no-colon"),
        ("brevo", "webhook_secret", ":only-a-password"),
        ("sparkpost", "webhook_secret", "user:"),
        ("mailgun", "webhook_signing_key", "schlüssel"),
        ("resend", "signing_secret", "whsec_%%%"),
        ("sendgrid", "webhook_verification_key", "bm8ga2V5"),
    ],
)
def test_a_key_that_verifies_nothing_is_refused_by_name(root, tenant, kind, field, value):
    key = {"server_token": "server-token"} if kind == "postmark" else {"api_key": "key-of-the-vendor"}
    response = root.post(f"{ACCOUNTS}add/", email_form(tenant, kind, **key, **{field: value}))
    assert list(response.context["adminform"].form.errors) == [f"{kind}__{field}"]
