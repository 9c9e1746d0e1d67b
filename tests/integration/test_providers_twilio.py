"""SMS through the Twilio SDK, against a server that answers as Twilio does."""

from __future__ import annotations

import pytest

from deliveries.providers.messages import AUTH, Failed, Failure, Sent
from deliveries.providers.twilio import TwilioProvider
from tenants.vocabulary import Channel
from tests.doubles.twilio import TwilioDouble
from tests.messages import a_message, send_all

TO = "+4915112345678"


class Quick(TwilioProvider):
    time_limits_s = (0.5, 0.3)


@pytest.fixture
def api(settings):
    with TwilioDouble() as double:
        settings.TWILIO_API_URL = double.url
        yield double


@pytest.fixture
def provider(api):
    provider = provider_of(api)
    yield provider
    provider.close()


def provider_of(api, cls=Quick, **values):
    credentials = {"account_sid": api.account_sid, "auth_token": api.auth_token, "from_number": "+14155550100"}
    return cls.from_credentials({**credentials, **values})


def sms(address=TO, **values):
    return a_message(Channel.SMS, address, **values)


def test_an_sms_arrives_byte_for_byte(api, provider):
    body = "Grüße 👋 & a=b+c%20\nline 2"
    (outcome,) = send_all(provider, [sms(body=body)])
    ((sid, received),) = api.by_sid.items()
    assert outcome == Sent(message_id=sid, code="queued")
    assert received.form == {"To": TO, "From": "+14155550100", "Body": body}


def test_the_tenants_own_number_goes_before_the_accounts(api, provider):
    send_all(provider, [sms(sender="Acme")])
    assert api.received[0].form["From"] == "Acme"


def test_a_messaging_service_picks_the_number(api):
    service = "MG" + "2" * 32
    provider = provider_of(api, from_number=service)
    send_all(provider, [sms()])
    provider.close()
    assert api.received[0].form["MessagingServiceSid"] == service
    assert "From" not in api.received[0].form


@pytest.mark.parametrize(
    ("behaviour", "failure", "code", "wait_s"),
    [
        ({"code": "21211"}, Failure.PERMANENT, "21211", None),
        ({"code": "21614"}, Failure.PERMANENT, "21614", None),
        ({"code": "21610"}, Failure.PERMANENT, "21610", None),
        ({"code": "21606"}, Failure.TRANSIENT, "21606", None),
        ({"code": "21611"}, Failure.THROTTLED, "21611", None),
        ({"code": "20429", "headers": {"Retry-After": "7"}}, Failure.THROTTLED, "20429", 7.0),
        ({"status": 429}, Failure.THROTTLED, "http_429", None),
        ({"status": 500}, Failure.TRANSIENT, "http_500", None),
        ({"status": 503, "code": "20503"}, Failure.TRANSIENT, "20503", None),
        ({"status": 503, "headers": {"Retry-After": "9"}}, Failure.THROTTLED, "http_503", 9.0),
        ({"delay_s": 1}, Failure.AMBIGUOUS, "read_timeout", None),
        ({"hang_up": True}, Failure.AMBIGUOUS, "connection_lost", None),
        ({"body": b"<html>welcome</html>"}, Failure.AMBIGUOUS, "unreadable_answer", None),
    ],
)
def test_twilios_words_become_ours(api, provider, behaviour, failure, code, wait_s):
    api.behave(TO, **behaviour)
    (outcome,) = send_all(provider, [sms()])
    assert isinstance(outcome, Failed)
    assert (outcome.failure, outcome.code, outcome.retry_after_s) == (failure, code, wait_s)
    assert len(api.requests) == 1, "the SDK must not try again by itself"


def test_a_wrong_token_is_the_accounts_fault_and_is_told_nowhere(api, caplog):
    provider = provider_of(api, auth_token="wrong-token-of-twilio")
    with caplog.at_level("DEBUG"):
        (outcome,) = send_all(provider, [sms()])
    provider.close()
    assert (outcome.failure, outcome.code) == (Failure.TRANSIENT, AUTH)
    assert "wrong-token-of-twilio" not in caplog.text + str(outcome)
    assert TO not in "".join(record.getMessage() for record in caplog.records if record.name.startswith("twilio"))


def test_a_vendor_that_is_not_there_is_a_transient_failure(api, provider):
    api.__exit__()
    (outcome,) = send_all(provider, [sms()])
    assert (outcome.failure, outcome.code) == (Failure.TRANSIENT, "connect_failed")
    api.__enter__()


def test_a_hundred_messages_overlap_on_kept_connections(api):
    api.behave(delay_s=0.03)
    provider = provider_of(api, TwilioProvider)
    messages = [sms(f"+4915112345{n:03}", body=f"number {n}") for n in range(100)]
    outcomes = send_all(provider, messages)
    again = send_all(provider, messages)
    provider.close()
    assert all(isinstance(outcome, Sent) for outcome in [*outcomes, *again])
    assert [api.by_sid[outcome.message_id].form["To"] for outcome in outcomes] == [message.address for message in messages]
    assert api.peak >= 8
    assert api.connections <= TwilioProvider.concurrency
