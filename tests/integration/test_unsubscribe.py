"""From a mail that was received to the next one that is not sent."""

import re
from urllib.parse import unquote_plus, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from deliveries.models import Delivery
from deliveries.providers import registry
from preferences.centre.links import BadLinkError, CentreLink, Signer, UnsubscribeLink, unverified
from preferences.choices import LONGEST_LADDER
from preferences.models import Preference, Suppression
from tenants.models import ProviderAccount
from tenants.vocabulary import Channel
from tests.doubles.esp import VENDORS, EspDouble
from tests.doubles.smtp import SmtpDouble
from tests.factories import EventTypeFactory, PreferenceFactory, RecipientFactory, SuppressionFactory, TemplateFactory
from tests.messages import a_message, send_all

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
PUBLIC = "https://notify.example.com"


@pytest.fixture(autouse=True)
def public_url(settings):
    settings.PUBLIC_URL = PUBLIC


@pytest.fixture
def mails(tenant):
    """A server that takes the tenant's mail."""
    with SmtpDouble() as server:
        credentials = {"host": server.host, "port": server.port, "security": "none", "from_email": "Acme <no-reply@acme.test>"}
        ProviderAccount.objects.create(tenant=tenant, channel=Channel.EMAIL, kind="smtp", name="own", credentials=credentials)
        yield server


@pytest.fixture
def template(tenant):
    return TemplateFactory(tenant=tenant, channel=Channel.EMAIL, event_type="*", version__variables=[], version__body="Hello")


@pytest.fixture
def ada(tenant):
    return RecipientFactory(tenant=tenant, user_id="ada", email="ada@example.com")


@pytest.fixture
def post(api, drain):
    def post(event_id="e1", event_type="newsletter", **event):
        body = {"eventId": event_id, "eventType": event_type, "userId": "ada", "channels": ["email"]} | event
        assert api.post("/api/events", body).status_code == 202
        drain()
        return Delivery.objects.filter(event_id=event_id).get()

    return post


@pytest.fixture
def browser():
    """Without a login, and strict about CSRF."""
    return Client(enforce_csrf_checks=True)


def link_in(mail) -> str:
    """The path of the address in the mail's header."""
    address = re.fullmatch(r"\s*<(\S+)>", mail.message["List-Unsubscribe"])[1]
    assert address.startswith(f"{PUBLIC}/u/")
    return urlsplit(address).path


def token_for(tenant, *, event_type="newsletter", user_id="ada", address="", channel=Channel.EMAIL, issued_at=None):
    issued_at = int(now().timestamp()) if issued_at is None else issued_at
    return Signer(tenant.link_secret).token(UnsubscribeLink(tenant.pk, issued_at, channel, event_type, user_id, address))


def path_for(tenant, **about):
    return f"/u/{token_for(tenant, **about)}"


def test_a_click_in_the_mailbox_ends_it(mails, template, ada, post, browser, tenant, caplog):
    assert post().status == 2
    (mail,) = mails.received
    assert mail.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert f"\r\nList-Unsubscribe: <{PUBLIC}{link_in(mail)}>\r\n".encode() in mail.content, "on one line"
    with caplog.at_level("INFO"):
        response = browser.post(link_in(mail), ONE_CLICK)
    assert (response.status_code, response.content) == (200, b"Unsubscribed.\n")
    assert not response.cookies
    assert "unsubscribed" in caplog.text
    assert link_in(mail).rpartition("/")[2] not in caplog.text
    preference = Preference.objects.get()
    assert (preference.user_id, preference.channel, preference.event_type) == ("ada", Channel.EMAIL, "newsletter")
    assert (preference.enabled, preference.source) == (False, "unsubscribe")
    second = post("e2")
    assert (second.get_status_display(), second.reason) == ("suppressed", "opted_out")
    assert str(preference.id) in str(second.explanation)
    assert post("e3", event_type="order").get_status_display() == "sent"
    assert len(mails.received) == 2


def test_clicked_again_it_changes_nothing(tenant, browser):
    for _ in range(3):
        assert browser.post(path_for(tenant), ONE_CLICK).status_code == 200
    assert Preference.objects.count() == 1
    assert browser.post(path_for(tenant), "List-Unsubscribe=One-Click", content_type="text/plain").status_code == 200


def test_however_much_was_chosen_one_can_unsubscribe(tenant, browser):
    Preference.objects.bulk_create(
        Preference(tenant=tenant, user_id="ada", event_type=f"type.{number}") for number in range(LONGEST_LADDER)
    )
    assert browser.post(path_for(tenant), ONE_CLICK).status_code == 200
    assert Preference.objects.filter(event_type="newsletter", enabled=False).exists()


def test_as_form_data_it_is_understood_too(tenant, browser):
    """RFC 8058, 3.1: multipart/form-data, or application/x-www-form-urlencoded."""
    body = "List-Unsubscribe=One-Click"
    assert browser.post(path_for(tenant), body, content_type="application/x-www-form-urlencoded").status_code == 200
    assert Preference.objects.exists()
    Preference.objects.all().delete()
    browser.post(path_for(tenant), ONE_CLICK)
    assert Preference.objects.exists()


@pytest.mark.parametrize("method", ["get", "head"])
def test_looking_changes_nothing(tenant, browser, method):
    response = getattr(browser, method)(path_for(tenant))
    assert response.status_code == 200
    assert not Preference.objects.exists()


@pytest.mark.parametrize("body", [{}, {"List-Unsubscribe": "Two-Clicks"}, {"a": "b"}])
def test_a_post_of_something_else_changes_nothing(tenant, browser, body):
    assert browser.post(path_for(tenant), body).status_code == 200
    assert not Preference.objects.exists()


def test_the_pages_button_does_it_and_the_page_says_so(tenant, ada, browser):
    path = path_for(tenant)
    page = browser.get(path).content.decode()
    assert "Newsletter" in page
    assert tenant.name in page
    response = browser.post(path, ONE_CLICK | {"page": "1"})
    assert response.status_code == 303
    assert "You are unsubscribed" in browser.get(f"/u/{response['Location']}").content.decode()


def test_what_is_required_has_no_header_and_cannot_be_turned_off(mails, template, ada, post, browser, tenant):
    EventTypeFactory(tenant=tenant, name="password", required=True)
    delivery = post(event_type="password")
    (mail,) = mails.received
    assert mail.message["List-Unsubscribe"] is None
    assert mail.message["List-Unsubscribe-Post"] is None
    assert delivery.unsubscribe_token == ""
    path = path_for(tenant, event_type="password")
    assert "cannot be turned off" in browser.get(path).content.decode()
    assert browser.post(path, ONE_CLICK).status_code == 409
    assert "cannot be turned off" in browser.post(path, ONE_CLICK | {"page": "1"}).content.decode()
    assert not Preference.objects.exists()


def test_of_a_declared_type_the_whole_category_ends(mails, template, ada, post, browser, tenant):
    for name in ("newsletter", "offer"):
        EventTypeFactory(tenant=tenant, name=name, category="marketing")
    EventTypeFactory(tenant=tenant, name="terms", category="marketing", required=True)
    PreferenceFactory(tenant=tenant, user_id="ada", event_type="offer", enabled=True)
    browser.post(path_for(tenant), ONE_CLICK)
    assert post("e1", "newsletter").reason == "opted_out"
    assert post("e2", "offer").reason == "opted_out", "a preference of its own, which the category does not override"
    assert post("e3", "terms").get_status_display() == "sent"


def test_an_address_without_a_user_is_suppressed(mails, template, post, browser, tenant):
    post(userId=None, to={"email": "Bob@example.com"})
    (mail,) = mails.received
    path = link_in(mail)
    page = browser.get(path).content.decode()
    assert "B•••@example.com" in page
    assert "everything that is sent to it" in page
    for _ in range(2):
        assert browser.post(path, ONE_CLICK).status_code == 200
    entry = Suppression.objects.get()
    assert (entry.address, entry.reason, entry.expires_at) == ("bob@example.com", "unsubscribed", None)
    assert "newsletter" in entry.detail
    assert not Preference.objects.exists()
    assert post("e2", userId=None, to={"email": "bob@example.com"}).reason == "suppressed_address"
    assert "You are unsubscribed" in browser.get(path).content.decode()


def test_an_address_that_bounced_stays_listed_for_that(tenant, browser):
    SuppressionFactory(tenant=tenant, address="bob@example.com", reason="bounce")
    browser.post(path_for(tenant, user_id="", address="bob@example.com"), ONE_CLICK)
    assert Suppression.objects.get().reason == "bounce"


def test_without_https_no_click_is_promised(mails, template, ada, post, settings):
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    post()
    (mail,) = mails.received
    assert mail.message["List-Unsubscribe"].strip().startswith("<http://127.0.0.1:8000/u/")
    assert mail.message["List-Unsubscribe-Post"] is None


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_vendor_is_given_the_headers(vendor):
    url = f"{PUBLIC}/u/{'x' * 90}"
    field = {"postmark": "server_token"}.get(vendor, "api_key")
    with EspDouble(vendor) as double:
        provider_class = registry.provider_class(Channel.EMAIL, vendor)
        provider = provider_class.from_credentials({field: double.key, "api_url": double.url, "from_email": "a@acme.test"})
        send_all(provider, [a_message(Channel.EMAIL, unsubscribe_url=url), a_message(Channel.EMAIL)])
        provider.close()
        payloads = sorted(
            (unquote_plus(request.body.decode()) for request in double.received),
            key=lambda body: "List-Unsubscribe" not in body,
        )
    assert f"<{url}>" in payloads[0].replace("\\u003c", "<").replace("\\u003e", ">")
    assert "List-Unsubscribe=One-Click" in payloads[0]
    assert "List-Unsubscribe" not in payloads[1]


@pytest.mark.parametrize(
    "forge",
    [
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "Q"),
        lambda token: token[:-5],
        lambda token: token + "A",
        lambda token: "x",
        lambda token: "%00",
        lambda token: "%F0%9F%91%8B",
        lambda token: "x" * 20_000,
    ],
)
def test_a_forged_or_broken_link_is_answered_plainly(tenant, browser, forge):
    path = f"/u/{forge(token_for(tenant))}"
    for response in (browser.get(path), browser.post(path, ONE_CLICK)):
        assert response.status_code == 404
        assert "This link does not work" in response.content.decode()
    assert browser.get(path.replace("/u/", "/preferences/")).status_code == 404
    assert not Preference.objects.exists()


def test_one_tenants_link_cannot_be_made_into_anothers(tenant, stranger, browser):
    forged = UnsubscribeLink(stranger.pk, int(now().timestamp()), Channel.EMAIL, "newsletter", "ada", "")
    assert browser.post(f"/u/{Signer(tenant.link_secret).token(forged)}", ONE_CLICK).status_code == 404
    browser.post(path_for(tenant), ONE_CLICK)
    assert set(Preference.objects.values_list("tenant", flat=True)) == {tenant.pk}
    assert tenant.link_secret != stranger.link_secret


def test_of_a_tenant_that_was_switched_off_nothing_works(tenant, browser):
    tenant.is_active = False
    tenant.save()
    assert browser.get(path_for(tenant)).status_code == 404


def test_the_example_in_previews_does_nothing(browser, db):
    for path in ("/u/example", "/preferences/example"):
        for response in (browser.get(path), browser.post(path, ONE_CLICK)):
            assert response.status_code == 200
            assert "An example" in response.content.decode()
    assert not Preference.objects.exists()


def test_an_old_mails_link_still_unsubscribes_and_opens_no_more(tenant, ada, browser):
    fresh, old = path_for(tenant), path_for(tenant, issued_at=int(now().timestamp()) - 91 * 86_400)
    assert f"{PUBLIC}/preferences/" in browser.get(fresh).content.decode()
    assert f"{PUBLIC}/preferences/" not in browser.get(old).content.decode()
    assert browser.post(old, ONE_CLICK).status_code == 200
    assert Preference.objects.exists()


def test_a_page_is_kept_by_nobody_and_runs_nothing(tenant, browser):
    response = browser.get(path_for(tenant))
    assert response["Cache-Control"] == "no-store"
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["X-Robots-Tag"] == "noindex, nofollow"
    assert response["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert not response.cookies
    assert "<script" not in response.content.decode()
    assert " style=" not in response.content.decode()


@pytest.mark.parametrize(
    ("locale", "accepted", "default", "language"),
    [
        ("de-AT", "fr", "en", "de"),
        ("", "fr-CH, de;q=0.5", "en", "fr"),
        ("it", "es, fr;q=0.5", "de", "fr"),
        ("it", "es", "de", "de"),
        ("", "", "it", "en"),
        ("!", "*", "en", "en"),
    ],
)
def test_the_language_is_the_recipients_then_the_browsers(tenant, ada, browser, locale, accepted, default, language):
    ada.locale, tenant.default_locale = locale, default
    ada.save()
    tenant.save()
    response = browser.get(path_for(tenant), headers={"accept-language": accepted})
    assert response["Content-Language"] == language
    assert f'<html lang="{language}">' in response.content.decode()
    assert {"de": "Abmelden", "fr": "Se désinscrire", "en": "Unsubscribe"}[language] in response.content.decode()


def test_a_tenants_words_are_escaped(tenant, browser):
    tenant.name = "<b>Acme</b>"
    tenant.save()
    page = browser.get(path_for(tenant)).content.decode()
    assert "<b>Acme" not in page
    assert "&lt;b&gt;Acme" in page


def test_a_template_has_both_links_in_text_and_html(mails, tenant, ada, post, browser):
    links = "{{ unsubscribe_url }} {{ preferences_url }}"
    TemplateFactory(
        tenant=tenant,
        channel=Channel.EMAIL,
        event_type="newsletter",
        version__variables=[],
        version__body=links,
        version__html=f"<p>{links}</p>",
    )
    delivery = post()
    unsubscribing, settings_link = delivery.body.split()
    assert delivery.html == f"<p>{delivery.body}</p>"
    assert unsubscribing == f"{PUBLIC}/u/{delivery.unsubscribe_token}"
    link = unverified(unsubscribing.rpartition("/")[2], UnsubscribeLink)
    assert (link.user_id, link.event_type, link.channel, link.address) == ("ada", "newsletter", Channel.EMAIL, "")
    assert unverified(settings_link.rpartition("/")[2], CentreLink).user_id == "ada"
    for address in (unsubscribing, settings_link):
        assert browser.get(urlsplit(address).path).status_code == 200


def test_on_any_channel_a_link_speaks_of_that_channel(tenant, ada, post, browser):
    tenant.sandbox = True
    tenant.save()
    TemplateFactory(
        tenant=tenant, channel=Channel.SMS, event_type="*", version__variables=[], version__body="Stop: {{ unsubscribe_url }}"
    )
    delivery = post(channels=["sms"])
    assert delivery.unsubscribe_token == "", "only e-mail has the header"
    browser.post(urlsplit(delivery.body.split()[1]).path, ONE_CLICK)
    assert Preference.objects.get().channel == Channel.SMS


def test_links_cost_no_statement(api, drain, tenant, ada):
    tenant.sandbox = True
    tenant.save()
    counts = []
    for body in ("no link", "{{ unsubscribe_url }} {{ preferences_url }}"):
        TemplateFactory(
            tenant=tenant, channel=Channel.EMAIL, event_type=f"type-{len(counts)}", version__variables=[], version__body=body
        )
        for number in range(2):  # the first time the template is compiled
            event = {"eventType": f"type-{len(counts)}", "userId": "ada", "channels": ["email"], "eventId": f"{body}{number}"}
            assert api.post("/api/events", event).status_code == 202
            with CaptureQueriesContext(
                connection,
            ) as queries:
                drain()
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_corrected_address_is_not_unsubscribed_by_the_link_of_the_wrong_one(mails, template, post, api, tenant):
    mails.behave("bbo@example.com", rcpt="550 5.7.1 no")
    delivery = post(userId=None, to={"email": "bbo@example.com"})
    assert delivery.get_status_display() == "failed"
    assert api.post(f"/api/deliveries/{delivery.id}/retry", {"address": "bob@example.com"}).status_code == 202
    delivery.refresh_from_db()
    assert (delivery.address, delivery.unsubscribe_token) == ("bob@example.com", "")


def test_a_token_without_a_valid_body_is_bad():
    with pytest.raises(BadLinkError):
        unverified("A" * 40, UnsubscribeLink)
