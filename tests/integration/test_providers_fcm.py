"""Push through firebase-admin, against a server that issues tokens as Google and answers as FCM."""

from __future__ import annotations

import json

import firebase_admin
import pytest

from deliveries.providers.credentials import ProviderConfigError
from deliveries.providers.fcm import FcmProvider
from deliveries.providers.messages import AUTH, Failed, Failure, Sent
from tenants.vocabulary import Channel, Priority
from tests.doubles.fcm import FcmDouble
from tests.messages import a_message, send_all


class Quick(FcmProvider):
    time_limits_s = (0.5, 0.3)


@pytest.fixture
def api(settings):
    with FcmDouble() as double:
        settings.FCM_API_URL = double.url
        yield double


@pytest.fixture
def provider(api):
    provider = Quick.from_credentials(api.credentials)
    yield provider
    provider.close()


def push(*tokens, **values):
    return a_message(Channel.PUSH, *(tokens or ("token-1",)), **values)


def sends(api):
    return [request for request in api.requests if request.path.endswith(":send")]


def test_a_push_arrives_byte_for_byte(api, provider):
    data = {"from": "x", "n": 1, "ü": ["é"]}
    message = push(subject="Grüße 👋", body="Zeile 1\nZeile 2", data=data, priority=Priority.URGENT)
    (outcome,) = send_all(provider, [message])
    assert isinstance(outcome, Sent)
    assert outcome.message_id.startswith("projects/demo-project/messages/")
    (received,) = api.messages
    assert received["notification"] == {"title": "Grüße 👋", "body": "Zeile 1\nZeile 2"}
    assert json.loads(received["data"].pop("data")) == data
    assert received["data"] == {"deliveryId": str(message.delivery_id), "eventId": "evt_1", "eventType": "order.shipped"}
    assert received["android"]["priority"] == "high"
    assert received["apns"]["headers"]["apns-collapse-id"] == str(message.delivery_id)


def test_every_token_of_the_recipient_gets_it_once(api, provider):
    api.behave("gone", code="UNREGISTERED")
    api.behave("nonsense", code="INVALID_TOKEN")
    (outcome,) = send_all(provider, [push("phone", "gone", "tablet", "nonsense", "phone")])
    assert isinstance(outcome, Sent)
    assert sorted(received["token"] for received in api.messages) == ["phone", "tablet"]
    assert outcome.dead_addresses == ("gone", "nonsense")
    assert {token: line["outcome"] for token, line in outcome.detail.items()} == {
        "phone": "sent",
        "gone": "permanent",
        "tablet": "sent",
        "nonsense": "permanent",
    }


def test_with_no_live_token_left_it_fails_for_good(api, provider):
    api.behave(code="UNREGISTERED")
    (outcome,) = send_all(provider, [push("a", "b")])
    assert (outcome.failure, outcome.code) == (Failure.PERMANENT, "no_live_token")
    assert outcome.dead_addresses == ("a", "b")


@pytest.mark.parametrize(
    ("behaviour", "failure", "code", "wait_s"),
    [
        ({"code": "INVALID_ARGUMENT"}, Failure.PERMANENT, "INVALID_ARGUMENT", None),
        ({"code": "SENDER_ID_MISMATCH"}, Failure.PERMANENT, "SENDER_ID_MISMATCH", None),
        ({"code": "QUOTA_EXCEEDED", "headers": {"Retry-After": "60"}}, Failure.THROTTLED, "QUOTA_EXCEEDED", 60.0),
        ({"code": "UNAVAILABLE"}, Failure.TRANSIENT, "UNAVAILABLE", None),
        ({"code": "INTERNAL"}, Failure.TRANSIENT, "INTERNAL", None),
        ({"status": 502, "body": b"<html>bad gateway</html>"}, Failure.TRANSIENT, "http_502", None),
        ({"delay_s": 1}, Failure.AMBIGUOUS, "read_timeout", None),
        ({"hang_up": True}, Failure.AMBIGUOUS, "connection_lost", None),
    ],
)
def test_fcms_words_become_ours_and_the_sdk_does_not_try_again(api, provider, behaviour, failure, code, wait_s):
    api.behave("token-1", **behaviour)
    (outcome,) = send_all(provider, [push()])
    assert isinstance(outcome, Failed)
    assert (outcome.failure, outcome.code, outcome.retry_after_s) == (failure, code, wait_s)
    assert outcome.dead_addresses == ()
    assert len(sends(api)) == 1


def test_an_apns_key_that_apple_refuses_is_the_accounts_fault(api, provider):
    api.behave("token-1", code="THIRD_PARTY_AUTH_ERROR")
    (outcome,) = send_all(provider, [push()])
    assert (outcome.failure, outcome.code) == (Failure.TRANSIENT, AUTH)


def test_the_most_hopeful_failure_decides_and_dead_tokens_are_told(api, provider):
    api.behave("gone", code="UNREGISTERED")
    api.behave("busy", code="QUOTA_EXCEEDED", headers={"Retry-After": "5"})
    (outcome,) = send_all(provider, [push("gone", "busy")])
    assert (outcome.failure, outcome.retry_after_s) == (Failure.THROTTLED, 5.0)
    assert outcome.dead_addresses == ("gone",)


def test_the_access_token_is_fetched_once_for_many_chunks(api, provider):
    for _ in range(3):
        send_all(provider, [push(f"token-{n}") for n in range(20)])
    assert api.tokens_issued == 1
    assert len(api.messages) == 60


def test_a_token_that_google_withdrew_is_fetched_again(api, provider):
    send_all(provider, [push()])
    api.access_token = "ya29.new"
    (outcome,) = send_all(provider, [push()])
    assert isinstance(outcome, Sent)
    assert api.tokens_issued == 2


def test_a_service_account_that_google_does_not_know_is_the_accounts_fault(api, provider, caplog):
    api.refuse_tokens = True
    outcomes = send_all(provider, [push("a"), push("b")])
    assert [(outcome.failure, outcome.code) for outcome in outcomes] == [(Failure.TRANSIENT, AUTH)] * 2
    assert sends(api) == []
    assert "PRIVATE KEY" not in caplog.text + str(outcomes)


def test_a_google_that_is_not_there_is_a_transient_failure(api, provider):
    credentials = {**api.credentials, "token_uri": "http://127.0.0.1:9/token"}
    provider = Quick.from_credentials(credentials)
    (outcome,) = send_all(provider, [push()])
    provider.close()
    assert (outcome.failure, outcome.code) == (Failure.TRANSIENT, "token_unavailable")


def test_a_key_that_is_none_is_refused_when_the_account_is_saved(api):
    with pytest.raises(ProviderConfigError, match="private_key"):
        FcmProvider.from_credentials({**api.credentials, "private_key": "-----BEGIN NONSENSE-----"})


def test_apps_of_the_sdk_are_not_left_behind(api):
    before = set(firebase_admin._apps)
    provider = Quick.from_credentials(api.credentials)
    for _ in range(3):
        send_all(provider, [push()])
    assert len(set(firebase_admin._apps) - before) == 1
    del provider
    assert set(firebase_admin._apps) == before


def test_a_hundred_messages_overlap_on_kept_connections(api):
    api.behave(delay_s=0.03)
    provider = FcmProvider.from_credentials(api.credentials)
    messages = [push(f"phone-{n}", f"tablet-{n}") for n in range(100)]
    outcomes = send_all(provider, messages)
    provider.close()
    assert [list(outcome.detail) for outcome in outcomes] == [list(message.addresses) for message in messages]
    assert sorted(received["token"] for received in api.messages) == sorted(t for one in messages for t in one.addresses)
    assert api.peak >= 8
    assert api.connections <= FcmProvider.concurrency + 1  # and one for the access token
