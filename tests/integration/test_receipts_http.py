"""Receipts as vendors send them: over HTTP, to a server that listens, signed and forged."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from uuid import uuid4

import pytest
import requests
from django.test import Client
from prometheus_client import REGISTRY
from twilio.request_validator import RequestValidator

from deliveries.dispatch import dispatch
from deliveries.models import Delivery, Receipt, ReceiptKind
from deliveries.providers import registry
from deliveries.providers.kept import forget_providers
from deliveries.receipts import views
from deliveries.receipts.esp import VENDORS
from deliveries.states import Status
from preferences.models import Suppression
from tenants import redis
from tenants.models import ProviderAccount
from tenants.vocabulary import Channel
from tests.doubles.esp_webhooks import COMPLAINED, DEFERRED, DELIVERED, HARD, OPENED, SOFT, WEBHOOKS, mailgun_signed
from tests.doubles.twilio import TwilioDouble
from tests.factories import DeliveryFactory

PUBLIC = "https://notify.example.com"
PHONE = "+4915112345678"


@pytest.fixture(autouse=True)
def fresh(transactional_db, settings):
    settings.PUBLIC_URL = PUBLIC
    redis.client().flushdb()
    yield
    forget_providers()


def counted(**labels) -> float:
    return REGISTRY.get_sample_value("notifications_receipts_total", labels) or 0.0


def refused(response) -> bool:
    return (response.status_code, response.headers["Content-Type"]) == (403, "application/problem+json")


def nothing_happened(delivery) -> bool:
    delivery.refresh_from_db()
    return delivery.status == Status.SENT and not Receipt.objects.exists() and not Suppression.objects.exists()


# Twilio


@pytest.fixture
def twilio(settings):
    with TwilioDouble() as double:
        settings.TWILIO_API_URL = double.url
        yield double


@pytest.fixture
def account(tenant, twilio):
    credentials = {"account_sid": twilio.account_sid, "auth_token": twilio.auth_token, "from_number": "+14155550100"}
    return ProviderAccount.objects.create(
        tenant=tenant, channel=Channel.SMS, kind="twilio", name="Twilio", credentials=credentials
    )


def sent_sms(tenant, twilio) -> tuple[Delivery, str]:
    """An SMS that went out, and the vendor's id of it."""
    delivery = DeliveryFactory(tenant=tenant, channel=Channel.SMS, status=Status.PENDING, address=PHONE)
    dispatch(Channel.SMS)
    delivery.refresh_from_db()
    assert delivery.status == Status.SENT, delivery.error
    return delivery, delivery.provider_message_id


def test_twilio_is_told_where_to_report(tenant, twilio, account):
    delivery, sid = sent_sms(tenant, twilio)
    assert twilio.by_sid[sid].form["StatusCallback"] == f"{PUBLIC}/api/receipts/twilio/{account.pk}/{delivery.pk}"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000", "http://localhost:8000", "http://10.1.2.3", "https://notify.internal", "https://a_b.example.com"],
)
def test_twilio_is_told_nothing_that_it_cannot_reach(tenant, twilio, account, settings, url):
    settings.PUBLIC_URL = url
    _, sid = sent_sms(tenant, twilio)
    assert "StatusCallback" not in twilio.by_sid[sid].form


def test_a_delivered_sms_is_delivered(tenant, twilio, account, service):
    delivery, sid = sent_sms(tenant, twilio)
    before = counted(provider="twilio", kind="delivered", result="recorded")
    statuses = ["queued", "sending", "sent", "delivered", "delivered"]
    assert [twilio.call_back(sid, status, to=service.url).status_code for status in statuses] == [204] * 5
    delivery.refresh_from_db()
    assert delivery.status == Status.DELIVERED
    assert delivery.delivered_at is not None
    assert [(one.kind, one.code) for one in delivery.receipts.all()] == [(ReceiptKind.DELIVERED, "delivered")]
    assert counted(provider="twilio", kind="delivered", result="recorded") == before + 1


@pytest.mark.parametrize("status", ["undelivered", "failed"])
def test_an_undelivered_sms_is_bounced_with_twilios_code(tenant, twilio, account, service, status):
    delivery, sid = sent_sms(tenant, twilio)
    twilio.call_back(sid, status, to=service.url, ErrorCode="30003")
    delivery.refresh_from_db()
    assert (delivery.status, delivery.reason) == (Status.BOUNCED, "30003")
    assert not Suppression.objects.exists()


def test_a_number_that_does_not_exist_is_suppressed(tenant, twilio, account, service):
    _, sid = sent_sms(tenant, twilio)
    twilio.call_back(sid, "undelivered", to=service.url, ErrorCode="30005")
    assert Suppression.objects.values_list("tenant", "channel", "address", "reason").get() == (
        tenant.pk,
        Channel.SMS,
        PHONE,
        "bounce",
    )


def test_the_installations_account_serves_every_tenant(tenant, twilio, service, settings):
    settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN = twilio.account_sid, twilio.auth_token
    settings.TWILIO_FROM_NUMBER = "+14155550100"
    delivery, sid = sent_sms(tenant, twilio)
    assert "/installation/" in twilio.by_sid[sid].form["StatusCallback"]
    assert twilio.call_back(sid, "delivered", to=service.url).status_code == 204
    delivery.refresh_from_db()
    assert delivery.status == Status.DELIVERED


def test_a_forged_callback_is_refused(tenant, twilio, account, service, caplog):
    delivery, sid = sent_sms(tenant, twilio)
    before = counted(provider="twilio", kind="", result="unsigned")
    with caplog.at_level(logging.DEBUG):
        assert refused(twilio.call_back(sid, "undelivered", to=service.url, auth_token="guessed", ErrorCode="30005"))
        told = twilio.by_sid[sid].form["StatusCallback"].replace(PUBLIC, service.url)
        assert refused(requests.post(told, data={"MessageStatus": "failed"}, timeout=10))
    assert nothing_happened(delivery)
    assert counted(provider="twilio", kind="", result="unsigned") == before + 2
    assert twilio.auth_token not in caplog.text


def test_a_callback_about_the_number_before_its_correction_is_passed_over(tenant, twilio, account, service):
    delivery, message_id = sent_sms(tenant, twilio)
    Delivery.objects.update(explanation={"correctedFrom": "+4915112345000"})
    form = {"MessageSid": message_id, "MessageStatus": "undelivered", "ErrorCode": "30005", "To": "+4915112345000"}
    url = f"/api/receipts/twilio/{account.pk}/{delivery.pk}"
    signature = RequestValidator(twilio.auth_token).compute_signature(PUBLIC + url, form)
    answer = requests.post(service.url + url, data=form, headers={"X-Twilio-Signature": signature}, timeout=10)
    assert answer.status_code == 204
    assert nothing_happened(delivery)


@pytest.mark.parametrize("charset", ["rot13", "idna", "nonsense"])
def test_a_form_that_cannot_be_read_is_refused(tenant, twilio, account, service, charset):
    delivery = DeliveryFactory(tenant=tenant, channel=Channel.SMS, address=PHONE)
    kind = f"application/x-www-form-urlencoded; charset={charset}"
    url = f"{service.url}/api/receipts/twilio/{account.pk}/{delivery.pk}"
    answer = requests.post(url, data=b"MessageStatus=%ff\xff", headers={"Content-Type": kind}, timeout=10)
    assert refused(answer)
    assert nothing_happened(delivery)


def test_a_signature_for_one_delivery_does_not_fit_another(tenant, twilio, account, service):
    _, sid = sent_sms(tenant, twilio)
    other = DeliveryFactory(tenant=tenant, channel=Channel.SMS)
    told = twilio.by_sid[sid].form["StatusCallback"]
    genuine = twilio.call_back(sid, "delivered", to=service.url).request
    assert str(other.pk) not in told
    url = f"{service.url}/api/receipts/twilio/{account.pk}/{other.pk}"
    headers = {name: genuine.headers[name] for name in ("X-Twilio-Signature", "Content-Type")}
    assert refused(requests.post(url, data=genuine.body, headers=headers, timeout=10))
    other.refresh_from_db()
    assert other.status == Status.SENT


def test_one_tenants_account_cannot_speak_of_anothers_delivery(tenant, stranger, twilio, account, service):
    delivery, sid = sent_sms(tenant, twilio)
    theirs = DeliveryFactory(tenant=stranger, channel=Channel.SMS)
    request = twilio.by_sid[sid]
    told = request.form["StatusCallback"].replace(str(delivery.pk), str(theirs.pk))
    twilio.by_sid[sid] = type(request)(request.path, request.headers, f"StatusCallback={told}&To={PHONE}".encode())
    assert twilio.call_back(sid, "delivered", to=service.url).status_code == 204
    theirs.refresh_from_db()
    assert theirs.status == Status.SENT
    assert not Receipt.objects.exists()


def test_a_signed_callback_without_a_status_is_malformed(tenant, twilio, account, service):
    delivery, sid = sent_sms(tenant, twilio)
    response = twilio.call_back(sid, "", to=service.url)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, "malformed")
    assert nothing_happened(delivery)


def test_a_callback_that_overtakes_the_record_is_kept(tenant, account, service, settings):
    """Twilio calls back before it has answered."""

    class Hasty(TwilioDouble):
        def take(self, request):
            super().take(request)
            self.answered = self.call_back(next(reversed(self.by_sid)), "delivered", to=service.url)

    with Hasty() as double:
        settings.TWILIO_API_URL = double.url
        delivery = DeliveryFactory(tenant=tenant, channel=Channel.SMS, status=Status.PENDING, address=PHONE)
        dispatch(Channel.SMS)
        assert double.answered.status_code == 204
    delivery.refresh_from_db()
    assert delivery.status == Status.DELIVERED
    assert delivery.provider_message_id in double.by_sid
    assert (delivery.provider, delivery.provider_account_id, delivery.lease_until) == ("twilio", account.pk, None)
    assert delivery.attempts.count() == delivery.receipts.count() == 1


# E-mail


def email_account(tenant, vendor, **credentials):
    return ProviderAccount.objects.create(
        tenant=tenant,
        channel=Channel.EMAIL,
        kind=vendor,
        name=vendor,
        credentials={**WEBHOOKS[vendor].credentials, **credentials},
    )


def url_of(service, account, kind=None) -> str:
    return f"{service.url}/api/receipts/email/{kind or account.kind}/{account.pk}"


def event(vendor, what, delivery, message_id="<m1@vendor.test>"):
    return WEBHOOKS[vendor].body(what, str(delivery if not isinstance(delivery, Delivery) else delivery.pk), message_id)


def test_every_vendor_that_sends_also_reports():
    kinds = [kind for kind in registry.kinds(Channel.EMAIL) if registry.provider_class(Channel.EMAIL, kind).receipt_key]
    assert set(kinds) == set(VENDORS) == set(WEBHOOKS) == set(registry.kinds(Channel.EMAIL)) - {"smtp"}


EXPECTED = {
    DELIVERED: (Status.DELIVERED, ReceiptKind.DELIVERED, None),
    HARD: (Status.BOUNCED, ReceiptKind.BOUNCED, "bounce"),
    SOFT: (Status.BOUNCED, ReceiptKind.BOUNCED, None),
    COMPLAINED: (Status.DELIVERED, ReceiptKind.COMPLAINED, "complaint"),
    DEFERRED: (Status.SENT, ReceiptKind.DEFERRED, None),
    OPENED: (Status.SENT, None, None),
}


@pytest.mark.parametrize("what", EXPECTED)
@pytest.mark.parametrize("vendor", WEBHOOKS)
def test_each_vendors_words_become_ours(tenant, service, vendor, what):
    delivery = DeliveryFactory(tenant=tenant, address="Ada@example.com")
    response = WEBHOOKS[vendor].post(url_of(service, email_account(tenant, vendor)), event(vendor, what, delivery))
    assert response.status_code == 204, response.text
    delivery.refresh_from_db()
    status, kind, suppressed = EXPECTED[what]
    assert delivery.status == status
    assert [one.kind for one in delivery.receipts.all()] == ([] if kind is None else [kind])
    listed = list(Suppression.objects.values_list("tenant", "address", "reason"))
    assert listed == ([(tenant.pk, "ada@example.com", suppressed)] if suppressed else [])
    if kind is ReceiptKind.BOUNCED:
        assert delivery.error == "why"
        assert delivery.reason not in {"", "bounced"}


@pytest.mark.parametrize("vendor", WEBHOOKS)
def test_forged_and_unsigned_events_are_refused(tenant, service, vendor, caplog):
    webhook, delivery = WEBHOOKS[vendor], DeliveryFactory(tenant=tenant)
    url = url_of(service, email_account(tenant, vendor))
    with caplog.at_level(logging.DEBUG):
        assert refused(webhook.post(url, event(vendor, HARD, delivery), forged=True))
        assert refused(webhook.post(url, event(vendor, HARD, delivery), signed=False))
        assert refused(requests.post(url, data=b"\xff[", headers={"Content-Type": "application/json"}, timeout=10))
    assert nothing_happened(delivery)
    for secret in webhook.credentials.values():
        assert secret not in caplog.text


def posted_by_mailgun(service, account, delivery, timestamp, *, times=1):
    key, body = WEBHOOKS["mailgun"].key, json.dumps(event("mailgun", DELIVERED, delivery)).encode()
    signed = mailgun_signed(key, body, str(timestamp))
    headers = {"Content-Type": "application/json"}
    return [requests.post(url_of(service, account), data=signed, headers=headers, timeout=10) for _ in range(times)]


@pytest.mark.parametrize("age_s", [12 * 3600 + 60, 400 * 86_400, -3600])
def test_mailguns_signature_of_long_ago_or_of_the_future_is_refused(tenant, service, age_s):
    account, delivery = email_account(tenant, "mailgun"), DeliveryFactory(tenant=tenant)
    before = counted(provider="mailgun", kind="", result="stale")
    (response,) = posted_by_mailgun(service, account, delivery, int(time.time()) - age_s)
    assert refused(response)
    assert "too long ago" in response.json()["detail"]
    assert counted(provider="mailgun", kind="", result="stale") == before + 1
    assert nothing_happened(delivery)


@pytest.mark.parametrize("timestamp", ["", "yesterday", "9" * 400, "-1", "1e9", "NaN"])
def test_mailguns_signature_of_no_time_is_refused(tenant, service, timestamp):
    account, delivery = email_account(tenant, "mailgun"), DeliveryFactory(tenant=tenant)
    (response,) = posted_by_mailgun(service, account, delivery, timestamp)
    assert refused(response)
    assert nothing_happened(delivery)


def test_mailguns_own_repetitions_hours_later_are_taken(tenant, service):
    account, delivery = email_account(tenant, "mailgun"), DeliveryFactory(tenant=tenant)
    responses = posted_by_mailgun(service, account, delivery, int(time.time()) - 8 * 3600, times=2)
    assert [response.status_code for response in responses] == [204, 204]
    delivery.refresh_from_db()
    assert (delivery.status, delivery.receipts.count()) == (Status.DELIVERED, 1)


@pytest.mark.parametrize("vendor", WEBHOOKS)
def test_an_account_without_the_secret_takes_none(tenant, service, vendor):
    delivery = DeliveryFactory(tenant=tenant)
    account = email_account(tenant, vendor, **{WEBHOOKS[vendor].key_field: ""})
    assert refused(WEBHOOKS[vendor].post(url_of(service, account), event(vendor, DELIVERED, delivery)))
    assert refused(WEBHOOKS[vendor].post(url_of(service, account), event(vendor, DELIVERED, delivery), signed=False))
    assert nothing_happened(delivery)


def test_the_settings_hold_no_key_for_an_account(tenant, service, settings):
    settings.ANYMAIL = {"WEBHOOK_SECRET": "notify:global", "MAILGUN_WEBHOOK_SIGNING_KEY": "global"}
    delivery = DeliveryFactory(tenant=tenant)
    account = email_account(tenant, "postmark", webhook_secret="")
    url = url_of(service, account)
    assert refused(requests.post(url, json=event("postmark", HARD, delivery), auth=("notify", "global"), timeout=10))


@pytest.mark.parametrize("vendor", WEBHOOKS)
def test_a_signed_body_that_is_no_event_is_malformed(tenant, service, vendor):
    webhook = WEBHOOKS[vendor]
    url = url_of(service, email_account(tenant, vendor))
    for body in ({"RecordType": 7, "event": [], "event-data": 3, "type": None}, {"items": []}):
        response = webhook.post(url, body)
        assert response.status_code in {204, 400}, response.text
    response = webhook.post(url, {"FromFull": {}, "items": [], "event-data": {"x": 1}})
    assert (response.status_code, response.headers["Content-Type"]) == (400, "application/problem+json")
    assert not Receipt.objects.exists()


def test_many_events_in_one_request_are_one_batch(tenant, service):
    deliveries = [DeliveryFactory(tenant=tenant, event_id=uuid4().hex) for _ in range(30)]
    url = url_of(service, email_account(tenant, "sendgrid"))
    whats = [DELIVERED, SOFT, DEFERRED]
    response = WEBHOOKS["sendgrid"].post(
        url, *[event("sendgrid", whats[n % 3], delivery) for n, delivery in enumerate(deliveries)]
    )
    assert response.status_code == 204
    states = Counter(Delivery.objects.values_list("status", flat=True))
    assert states == {Status.DELIVERED: 10, Status.BOUNCED: 10, Status.SENT: 10}


def test_a_message_is_found_by_the_vendors_id_if_ours_did_not_come_back(tenant, service):
    delivery = DeliveryFactory(tenant=tenant, provider_message_id="<m7@vendor.test>")
    url = url_of(service, email_account(tenant, "brevo"))
    WEBHOOKS["brevo"].post(url, event("brevo", DELIVERED, "not-an-id", "<m7@vendor.test>"))
    delivery.refresh_from_db()
    assert delivery.status == Status.DELIVERED


def test_an_unknown_delivery_is_no_error_and_counted(tenant, service):
    before = counted(provider="postmark", kind="bounced", result="unknown")
    url = url_of(service, email_account(tenant, "postmark"))
    assert WEBHOOKS["postmark"].post(url, event("postmark", HARD, str(uuid4()))).status_code == 204
    assert counted(provider="postmark", kind="bounced", result="unknown") == before + 1
    assert not Suppression.objects.exists()


def test_one_tenants_webhook_says_nothing_of_anothers_mail(tenant, stranger, service):
    theirs = DeliveryFactory(tenant=stranger, provider_message_id="<m1@vendor.test>")
    url = url_of(service, email_account(tenant, "postmark"))
    for named in (theirs, "none"):
        assert WEBHOOKS["postmark"].post(url, event("postmark", HARD, named)).status_code == 204
    assert nothing_happened(theirs)


@pytest.mark.parametrize("name", ["installation", "00000000-0000-7000-8000-000000000000", "no-id", "%00"])
def test_an_account_that_is_not_there_is_refused_as_a_forgery_is(service, name):
    for path in (f"email/postmark/{name}", f"twilio/{name}/{uuid4()}"):
        assert refused(requests.post(f"{service.url}/api/receipts/{path}", json={}, timeout=10))


def test_an_accounts_secret_opens_only_its_own_vendors_url(tenant, service):
    delivery = DeliveryFactory(tenant=tenant)
    account = email_account(tenant, "postmark")
    assert refused(WEBHOOKS["brevo"].post(url_of(service, account, "brevo"), event("brevo", HARD, delivery)))
    assert WEBHOOKS["brevo"].post(url_of(service, account, "pigeon"), event("brevo", HARD, delivery)).status_code == 404
    assert nothing_happened(delivery)


def test_a_body_that_is_too_large_is_refused(tenant, monkeypatch):
    monkeypatch.setattr(views, "MOST_BYTES", 2048)
    account = email_account(tenant, "postmark")
    body = event("postmark", HARD, DeliveryFactory(tenant=tenant)) | {"Content": "x" * 3000}
    response = Client(enforce_csrf_checks=True).post(
        f"/api/receipts/email/postmark/{account.pk}", body, content_type="application/json"
    )
    assert response.status_code == 413
    assert response.json()["detail"] == "The body is larger than 2 KB."
    assert not Receipt.objects.exists()
