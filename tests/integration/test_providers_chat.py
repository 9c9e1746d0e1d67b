"""Chat through apprise, against a server that answers as Telegram's Bot API."""

from __future__ import annotations

import html
import re

import pytest

from deliveries.providers.apprise import AppriseProvider
from deliveries.providers.credentials import ProviderConfigError
from deliveries.providers.messages import AUTH, Failed, Failure, Sent
from deliveries.providers.telegram import TelegramProvider
from tenants.vocabulary import Channel
from tests.doubles.http import Answer, HttpDouble
from tests.doubles.telegram import TelegramDouble
from tests.messages import a_message, send_all


class Quick(TelegramProvider):
    time_limits_s = (0.5, 0.3)


@pytest.fixture
def api(settings):
    with TelegramDouble() as double:
        settings.TELEGRAM_API_URL = double.url
        yield double


@pytest.fixture
def provider(api):
    return Quick.from_credentials({"bot_token": api.bot_token})


def chat(address="4711", **values):
    return a_message(Channel.CHAT, address, **values)


def seen_by_the_reader(payload):
    """Telegram's HTML mode, rendered: https://core.telegram.org/bots/api#html-style"""
    assert payload["parse_mode"] == "HTML"
    return html.unescape(re.sub(r"</?b>", "", payload["text"]))


def test_a_message_is_read_as_it_was_written(api, provider):
    body = "Grüße 👋 <b>not bold</b> & *not bold* _either_ `no code`\n  indented\nhttps://x.test/?a=1&b=2"
    (outcome,) = send_all(provider, [chat(subject="A < B", body=body)])
    assert isinstance(outcome, Sent)
    received = api.received[0].json
    assert received["chat_id"] == 4711
    assert received["text"].startswith("<b>A &lt; B</b>\n")
    assert seen_by_the_reader(received) == f"A < B\n{body}"


def test_a_text_longer_than_telegram_takes_is_cut(api, provider):
    send_all(provider, [chat(subject="Title", body="👋" * 5000)])
    text = seen_by_the_reader(api.received[0].json)
    assert len(text.encode("utf-16-le")) // 2 in (4095, 4096)
    assert text.startswith("Title\n👋")
    assert text.endswith("👋…")


@pytest.mark.parametrize(("subject", "body", "text"), [("", "just text", "just text"), ("just a title", "", "just a title")])
def test_title_and_text_may_each_be_missing(api, provider, subject, body, text):
    send_all(provider, [chat(subject=subject, body=body)])
    assert seen_by_the_reader(api.received[0].json) == text


def test_a_message_of_nothing_fails_for_good(provider):
    (outcome,) = send_all(provider, [chat(subject="", body="")])
    assert (outcome.failure, outcome.code) == (Failure.PERMANENT, "empty_message")


@pytest.mark.parametrize("address", ["-1001234567890", "@acme_news"])
def test_groups_and_channels_are_addresses_too(api, provider, address):
    send_all(provider, [chat(address)])
    assert str(api.received[0].json["chat_id"]) == address


@pytest.mark.parametrize("address", ["", "not a chat", "4711,4712", "../getMe", "４７１１"])
def test_another_address_fails_for_good_and_reaches_nobody(api, provider, address):
    (outcome,) = send_all(provider, [chat(address)])
    assert (outcome.failure, outcome.code) == (Failure.PERMANENT, "invalid_chat_id")
    assert api.requests == []


@pytest.mark.parametrize(
    ("behaviour", "failure", "code", "wait_s"),
    [
        ({"status": 400}, Failure.PERMANENT, "http_400", None),
        ({"status": 403}, Failure.PERMANENT, "http_403", None),
        ({"status": 429}, Failure.THROTTLED, "http_429", 7.0),
        ({"status": 502}, Failure.TRANSIENT, "http_502", None),
        ({"delay_s": 1}, Failure.AMBIGUOUS, "read_timeout", None),
        ({"hang_up": True}, Failure.AMBIGUOUS, "connection_lost", None),
    ],
)
def test_telegrams_words_become_ours(api, provider, behaviour, failure, code, wait_s):
    api.behave("4711", **behaviour)
    (outcome,) = send_all(provider, [chat()])
    assert isinstance(outcome, Failed)
    assert (outcome.failure, outcome.code, outcome.retry_after_s) == (failure, code, wait_s)
    assert len(api.requests) == 1


def test_the_description_is_kept(api, provider):
    api.behave("4711", status=403)
    (outcome,) = send_all(provider, [chat()])
    assert "bot was blocked by the user" in outcome.message
    assert "bot was blocked by the user" in outcome.response


def test_a_wrong_token_is_the_accounts_fault_and_is_told_nowhere(api, caplog):
    token = "987654321:" + "b" * 35
    provider = Quick.from_credentials({"bot_token": token})
    with caplog.at_level("DEBUG"):
        (outcome,) = send_all(provider, [chat()])
    assert (outcome.failure, outcome.code) == (Failure.TRANSIENT, AUTH)
    assert token not in str(outcome)
    assert token not in "".join(r.getMessage() for r in caplog.records if not r.name.startswith("urllib3"))


def test_a_vendor_that_is_not_there_is_a_transient_failure_that_hides_the_token(settings, caplog):
    settings.TELEGRAM_API_URL = "http://127.0.0.1:9"
    token = "987654321:" + "b" * 35
    (outcome,) = send_all(Quick.from_credentials({"bot_token": token}), [chat()])
    assert (outcome.failure, outcome.code) == (Failure.TRANSIENT, "connect_failed")
    assert "[hidden]" in outcome.message
    assert token not in caplog.text + str(outcome)


def test_a_hundred_messages_overlap(api):
    api.behave(delay_s=0.03)
    messages = [chat(str(n), body=f"number {n}") for n in range(1, 101)]
    outcomes = send_all(TelegramProvider.from_credentials({"bot_token": api.bot_token}), messages)
    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert sorted(request.json["chat_id"] for request in api.received) == list(range(1, 101))
    assert api.peak >= 8


class RocketDouble(HttpDouble):
    """Rocket.Chat's incoming webhook."""

    def address_of(self, request):
        return request.path

    def answer(self, request, behaviour):
        if behaviour.status:
            return Answer.json(behaviour.status, {"success": False})
        self.take(request)
        return Answer.json(200, {"success": True})


@pytest.fixture
def rocket():
    with RocketDouble() as double:
        yield double


def rocket_provider(rocket, channel="%23general"):
    return AppriseProvider.from_credentials({"url": f"rocket://{'a' * 17}/{'b' * 24}@127.0.0.1:{rocket.port}/{channel}"})


def test_another_chat_service_is_a_url(rocket):
    (outcome,) = send_all(rocket_provider(rocket), [chat(subject="Title", body="Grüße 👋")])
    assert isinstance(outcome, Sent)
    (request,) = rocket.received
    payload = request.json
    assert request.path == f"/hooks/{'a' * 17}/{'b' * 24}"
    assert payload["channel"] == "#general"
    assert "Grüße 👋" in str(payload)


def test_the_recipients_address_may_be_part_of_the_url(rocket):
    send_all(rocket_provider(rocket, "@{address}"), [chat("ada")])
    assert rocket.received[0].json["channel"] == "@ada"


def test_an_address_cannot_change_the_rest_of_the_url(rocket):
    send_all(rocket_provider(rocket, "@{address}"), [chat("ada/#all?template=/etc/passwd&x=")])
    assert {request.path for request in rocket.received} <= {f"/hooks/{'a' * 17}/{'b' * 24}"}
    assert "#all" not in {request.json.get("channel") for request in rocket.received}


@pytest.mark.parametrize(("status", "failure"), [(404, Failure.PERMANENT), (500, Failure.TRANSIENT), (429, Failure.THROTTLED)])
def test_other_services_statuses_become_ours(rocket, status, failure):
    rocket.behave(status=status)
    (outcome,) = send_all(rocket_provider(rocket), [chat()])
    assert (outcome.failure, outcome.code) == (failure, f"http_{status}")


@pytest.mark.parametrize(
    "url", ["json://127.0.0.1/", "dbus://", "syslog://", "file:///etc/passwd", "mailto://a:b@c", "slack://"]
)
def test_urls_of_other_kinds_are_refused_when_the_account_is_saved(url):
    with pytest.raises(ProviderConfigError, match="url"):
        AppriseProvider.from_credentials({"url": url})
