"""E-mail through the vendors' HTTP APIs, by anymail, against servers that answer as the vendors do."""

from __future__ import annotations

import json

import pytest

from deliveries.providers import registry
from deliveries.providers.esp import EspProvider
from deliveries.providers.messages import AUTH, Failed, Failure, Sent
from tenants.vocabulary import Channel
from tests.doubles.esp import VENDORS, EspDouble
from tests.messages import a_message, send_all

KEY_FIELD = {"postmark": "server_token"}


def provider_of(vendor, double, *, key=None):
    provider_class = registry.provider_class(Channel.EMAIL, vendor)

    class Quick(provider_class):
        time_limits_s = (0.5, 0.3)

    field = KEY_FIELD.get(vendor, "api_key")
    credentials = {field: key or double.key, "api_url": double.url, "from_email": "Acme <no-reply@acme.test>"}
    return Quick.from_credentials(credentials)


@pytest.fixture
def resend():
    with EspDouble("resend") as double:
        yield double


@pytest.fixture
def provider(resend):
    provider = provider_of("resend", resend)
    yield provider
    provider.close()


def mail(address="ada@example.com", **values):
    return a_message(Channel.EMAIL, address, **values)


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_vendor_takes_a_mail_and_names_it(vendor):
    with EspDouble(vendor) as double:
        provider = provider_of(vendor, double)
        (outcome,) = send_all(provider, [mail(subject="Grüße 👋\r\nBcc: thief@example.com", html="<p>Hällo</p>")])
        provider.close()
        assert isinstance(outcome, Sent), outcome
        assert len(double.received) == 1
    assert outcome.message_id
    assert vendor == "sendgrid" or outcome.message_id in double.message_ids  # SendGrid's id is anymail's own


def test_the_content_arrives_byte_for_byte(resend, provider):
    message = mail(subject="Grüße 👋\nsecond line", body="Zeile 1\n.Zeile 2", html="<p>Hällo &amp; 👋</p>")
    send_all(provider, [message])
    payload = resend.received[0].json
    assert payload["subject"] == "Grüße 👋 second line"
    assert payload["text"] == "Zeile 1\n.Zeile 2"
    assert payload["html"] == "<p>Hällo &amp; 👋</p>"
    assert payload["to"] == ["ada@example.com"]
    assert payload["from"] == "Acme <no-reply@acme.test>"
    assert str(message.delivery_id) in str(payload), "the delivery's id comes back in the vendor's receipts"


@pytest.mark.parametrize(
    ("behaviour", "failure", "code", "wait_s"),
    [
        ({"status": 422}, Failure.PERMANENT, "http_422", None),
        ({"status": 429, "headers": {"Retry-After": "3"}}, Failure.THROTTLED, "http_429", 3.0),
        ({"status": 500}, Failure.TRANSIENT, "http_500", None),
        ({"delay_s": 1}, Failure.AMBIGUOUS, "read_timeout", None),
        ({"hang_up": True}, Failure.AMBIGUOUS, "connection_lost", None),
        ({"body": b"<html>welcome</html>"}, Failure.AMBIGUOUS, "unreadable_answer", None),
    ],
)
def test_the_vendors_words_become_ours(resend, provider, behaviour, failure, code, wait_s):
    resend.behave(**behaviour)
    (outcome,) = send_all(provider, [mail()])
    assert isinstance(outcome, Failed)
    assert (outcome.failure, outcome.code, outcome.retry_after_s) == (failure, code, wait_s)
    assert len(resend.requests) == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("Found inactive addresses: ada@example.com. Inactive recipients are ones that bounced.", "recipient_refused"),
        ("Words that anymail does not know.", "http_422"),
    ],
)
def test_a_recipient_that_the_vendor_refuses_fails_for_good(words, code):
    with EspDouble("postmark") as double:
        double.behave(status=422, body=json.dumps({"ErrorCode": 406, "Message": words}).encode())
        provider = provider_of("postmark", double)
        (outcome,) = send_all(provider, [mail()])
        provider.close()
    assert (outcome.failure, outcome.code) == (Failure.PERMANENT, code)


def test_a_wrong_key_is_the_accounts_fault_and_is_told_nowhere(resend, caplog):
    provider = provider_of("resend", resend, key="another-key-altogether")
    with caplog.at_level("DEBUG"):
        (outcome,) = send_all(provider, [mail()])
    provider.close()
    assert (outcome.failure, outcome.code) == (Failure.TRANSIENT, AUTH)
    assert "another-key-altogether" not in caplog.text + str(outcome)


def test_a_malformed_address_fails_for_good(resend, provider):
    (outcome,) = send_all(provider, [mail("ada@example.com\nBcc: thief@example.com")])
    assert (outcome.failure, outcome.code) == (Failure.PERMANENT, "invalid_message")
    assert resend.requests == []


def test_a_vendor_that_is_not_there_is_a_transient_failure(resend, provider):
    resend.__exit__()
    (outcome,) = send_all(provider, [mail()])
    assert (outcome.failure, outcome.code) == (Failure.TRANSIENT, "connect_failed")
    resend.__enter__()


def test_a_hundred_mails_overlap_on_kept_connections(resend):
    resend.behave(delay_s=0.03)
    provider = registry.provider_class(Channel.EMAIL, "resend").from_credentials({"api_key": resend.key, "api_url": resend.url})
    outcomes = send_all(provider, [mail(f"user{n}@example.com") for n in range(100)])
    provider.close()
    assert sorted(outcome.message_id for outcome in outcomes) == sorted(resend.message_ids)
    assert resend.peak >= 8
    assert resend.connections <= EspProvider.concurrency
