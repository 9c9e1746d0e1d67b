"""Webhooks, against a receiver that verifies with the public library, and against hosts that must not be reached."""

from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime

import pytest

from deliveries.providers.messages import Failed, Failure, Receipt, Sent
from deliveries.providers.signing import signing_secret
from deliveries.providers.webhook import WebhookProvider
from tenants.models import new_token_secret
from tenants.vocabulary import Channel
from tests.doubles.certificates import tls_pair
from tests.doubles.webhook import WebhookDouble
from tests.messages import a_message, send_all

SECRET = signing_secret(new_token_secret())


class Quick(WebhookProvider):
    connect_limit_s = 0.5
    time_limit_s = 0.5


@pytest.fixture
def developing(settings):
    settings.DEBUG = True


@pytest.fixture
def receiver():
    with WebhookDouble(secret=SECRET) as double:
        yield double


@pytest.fixture
def provider(developing):
    provider = Quick.from_credentials({"secret": SECRET})
    yield provider
    provider.close()


def hook(url, **values):
    return a_message(Channel.WEBHOOK, url, **values)


def send(provider, url, **values):
    (outcome,) = send_all(provider, [hook(url, **values)])
    return outcome


def test_a_receiver_with_the_public_library_accepts_it(receiver, provider):
    message = hook(
        f"{receiver.url}/hook?x=1",
        subject="Grüße 👋",
        body='"quoted" \\ back\nslash',
        data={"n": 1.5, "ü": None, "list": [True]},
        created_at=datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC),
    )
    (outcome,) = send_all(provider, [message])
    assert outcome == Sent(code="200", response="thank you", receipt=Receipt.DELIVERED)
    assert [request.json for request in receiver.received] == [
        {
            "type": "order.shipped",
            "timestamp": "2026-11-21T03:04:05Z",
            "data": {
                "deliveryId": str(message.delivery_id),
                "eventId": "evt_1",
                "userId": "user_1",
                "title": "Grüße 👋",
                "body": '"quoted" \\ back\nslash',
                "data": {"n": 1.5, "ü": None, "list": [True]},
            },
        }
    ]
    (request,) = receiver.requests
    assert request.path == "/hook?x=1"
    assert request.headers["webhook-id"] == str(message.delivery_id)
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-type"] == "application/json"


def test_a_receiver_with_another_secret_refuses_it(receiver, developing):
    provider = Quick.from_credentials({"secret": signing_secret(new_token_secret())})
    outcome = send(provider, f"{receiver.url}/hook")
    provider.close()
    assert (outcome.failure, outcome.code) == (Failure.PERMANENT, "http_400")
    assert "No matching signature" in outcome.response


def test_the_webhook_id_is_the_same_on_every_attempt(receiver, provider):
    message = hook(f"{receiver.url}/hook")
    send_all(provider, [message])
    send_all(provider, [message])
    assert {request.headers["webhook-id"] for request in receiver.requests} == {str(message.delivery_id)}


@pytest.mark.parametrize(
    ("behaviour", "failure", "code", "wait_s"),
    [
        ({"status": 400}, Failure.PERMANENT, "http_400", None),
        ({"status": 404}, Failure.PERMANENT, "http_404", None),
        ({"status": 410}, Failure.PERMANENT, "http_410", None),
        ({"status": 408}, Failure.TRANSIENT, "http_408", None),
        ({"status": 429}, Failure.THROTTLED, "http_429", None),
        ({"status": 429, "headers": {"Retry-After": "7"}}, Failure.THROTTLED, "http_429", 7.0),
        ({"status": 503, "headers": {"Retry-After": "8"}}, Failure.THROTTLED, "http_503", 8.0),
        ({"status": 503}, Failure.TRANSIENT, "http_503", None),
        ({"status": 500}, Failure.TRANSIENT, "http_500", None),
        ({"delay_s": 1}, Failure.AMBIGUOUS, "timeout", None),
        ({"hang_up": True}, Failure.AMBIGUOUS, "connection_lost", None),
    ],
)
def test_the_receivers_words_become_ours(receiver, provider, behaviour, failure, code, wait_s):
    receiver.behave("/hook", **behaviour)
    outcome = send(provider, f"{receiver.url}/hook")
    assert isinstance(outcome, Failed)
    assert (outcome.failure, outcome.code, outcome.retry_after_s) == (failure, code, wait_s)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(receiver, provider, status):
    receiver.behave("/hook", status=status, headers={"Location": f"{receiver.url}/elsewhere"})
    outcome = send(provider, f"{receiver.url}/hook")
    assert (outcome.failure, outcome.code) == (Failure.PERMANENT, f"http_{status}")
    assert [request.path for request in receiver.requests] == ["/hook"]


def test_a_long_answer_is_read_no_further_than_needed(receiver, provider):
    receiver.behave("/hook", body=b"x" * 5_000_000)
    outcome = send(provider, f"{receiver.url}/hook")
    assert isinstance(outcome, Sent)
    assert outcome.response == "x" * 1000


def test_an_answer_that_drips_ends_at_the_time_limit_with_its_status(receiver, provider):
    receiver.behave("/hook", body=b"y" * 1000, drip_s=0.1)
    outcome = send(provider, f"{receiver.url}/hook")
    assert isinstance(outcome, Sent)
    assert outcome.response in {"", *("y" * n for n in range(20))}


def test_headers_that_drip_end_at_the_time_limit_too(provider):
    """Each byte arrives well within a read's own time limit."""
    stop = threading.Event()

    def serve(listener):
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"z")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        outcome = send(provider, f"http://127.0.0.1:{listener.getsockname()[1]}/hook")
        stop.set()
        thread.join()
    assert (outcome.failure, outcome.code) == (Failure.AMBIGUOUS, "timeout")


def test_a_receiver_that_is_not_there_is_a_transient_failure(provider):
    outcome = send(provider, "http://127.0.0.1:9/hook")
    assert (outcome.failure, outcome.code) == (Failure.TRANSIENT, "connect_failed")


def test_a_host_without_an_address_is_a_transient_failure(provider):
    outcome = send(provider, "http://nowhere.invalid/hook")
    assert (outcome.failure, outcome.code) == (Failure.TRANSIENT, "connect_failed")


def test_a_hundred_webhooks_overlap_on_kept_connections(receiver, developing):
    receiver.behave(delay_s=0.03)
    provider = WebhookProvider.from_credentials({"secret": SECRET})
    messages = [hook(f"{receiver.url}/{n}", event_id=f"evt_{n}") for n in range(100)]
    outcomes = [*send_all(provider, messages), *send_all(provider, messages)]
    provider.close()
    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert sorted(one.json["data"]["eventId"] for one in receiver.received) == sorted(2 * [m.event_id for m in messages])
    assert receiver.peak >= 8
    assert receiver.connections <= WebhookProvider.concurrency


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://127.1:{port}/",
        "http://0x7f000001:{port}/",
        "http://2130706433:{port}/",
        "http://0:{port}/",
        "http://0.0.0.0:{port}/",
        "http://[::1]:{port}/",
        "http://[::]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://[::ffff:7f00:1]:{port}/",
        "http://[::127.0.0.1]:{port}/",
        "http://[64:ff9b::127.0.0.1]:{port}/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:7f00:1::]:{port}/",
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[fc00::1]/",
        "http://224.0.0.1/",
        "http://[ff02::1]/",
        "http://240.0.0.1/",
        "http://255.255.255.255/",
        "http://192.0.2.1/",
        "http://198.18.0.1/",
    ],
)
def test_no_address_of_the_inside_is_reached(settings, receiver, url):
    settings.DEBUG = False

    class Unencrypted(Quick):
        """The scheme's own rule would refuse these before the address is looked at."""

        def __init__(self, **values):
            super().__init__(**values)
            self._schemes = frozenset({"http"})

    provider = Unencrypted.from_credentials({"secret": SECRET})
    outcome = send(provider, url.format(port=receiver.port))
    provider.close()
    assert (outcome.failure, outcome.code) == (Failure.PERMANENT, "forbidden_address")
    assert receiver.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "not a url",
        "/hook",
        "//example.com/hook",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "unix:///var/run/docker.sock",
        "https://",
        "https://user:password@example.com/",
        "https://example.com@127.0.0.1/",
        "https://exa mple.com/",
        "https://example.com:99999/",
        "https://[::1/",
        "http://example.com/\r\nX-Evil: 1",
        "https://example.com:0/",
        "https://0177.0.0.1/",
        "https://" + "a" * 64 + ".test/",
        "https://xn--a/",
    ],
)
def test_what_is_no_url_of_a_webhook_is_refused_without_a_connection(provider, url):
    outcome = send(provider, url)
    assert outcome.failure is Failure.PERMANENT
    assert outcome.code in {"invalid_url", "forbidden_address"}


def test_in_production_a_webhook_is_encrypted(settings, receiver):
    settings.DEBUG = False
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    provider = Quick.from_credentials({"secret": SECRET})
    outcome = send(provider, f"{receiver.url}/hook")
    provider.close()
    assert (outcome.failure, outcome.code) == (Failure.PERMANENT, "invalid_url")
    assert receiver.connections == 0


def test_over_tls_the_name_is_the_urls_and_the_address_the_one_that_was_checked(settings):
    settings.DEBUG = False
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.2/32"]
    server, client = tls_pair("hooks.customer.test")
    asked: list[str] = []

    def rebinding(host, port):
        """Answers well the first time, with another inside address from then on."""
        asked.append(host)
        return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.1"]

    class Pinned(Quick):
        ssl_context = client
        resolver = staticmethod(rebinding)

    with WebhookDouble(secret=SECRET, ssl_context=server, host="127.0.0.2") as receiver:
        provider = Pinned.from_credentials({"secret": SECRET})
        first = send(provider, f"https://hooks.customer.test:{receiver.port}/hook")
        provider.close()
        second = send(provider, f"https://hooks.customer.test:{receiver.port}/hook")
        provider.close()
        assert isinstance(first, Sent), first
        assert receiver.requests[0].headers["host"] == f"hooks.customer.test:{receiver.port}"
        assert len(receiver.requests) == 1
    assert asked == ["hooks.customer.test"] * 2, "one look-up for a connection: what is checked is what is connected to"
    assert (second.failure, second.code) == (Failure.PERMANENT, "forbidden_address")


def test_a_certificate_of_another_host_is_not_accepted(settings):
    settings.DEBUG = True
    server, client = tls_pair("hooks.customer.test")

    class Pinned(Quick):
        ssl_context = client
        resolver = staticmethod(lambda _host, _port: ["127.0.0.1"])

    with WebhookDouble(secret=SECRET, ssl_context=server) as receiver:
        provider = Pinned.from_credentials({"secret": SECRET})
        outcome = send(provider, f"https://another.customer.test:{receiver.port}/hook")
        provider.close()
        assert receiver.requests == []
    assert (outcome.failure, outcome.code) == (Failure.TRANSIENT, "connect_failed")


def test_of_several_addresses_only_those_allowed_are_tried(receiver, developing):
    class Mixed(Quick):
        resolver = staticmethod(lambda _host, _port: ["10.255.255.1", "127.0.0.1"])

    provider = Mixed.from_credentials({"secret": SECRET})
    outcome = send(provider, f"http://mixed.test:{receiver.port}/hook")
    provider.close()
    assert isinstance(outcome, Sent)


def test_a_look_up_that_takes_too_long_is_given_up(developing):
    answer = threading.Event()

    def stuck(_host, _port):
        answer.wait(10)
        return []

    class Stuck(Quick):
        resolver = staticmethod(stuck)

    provider = Stuck.from_credentials({"secret": SECRET})
    outcome = send(provider, "http://slow.test/hook")
    answer.set()
    provider.close()
    assert (outcome.failure, outcome.code) == (Failure.TRANSIENT, "connect_failed")


def test_a_proxy_of_the_environment_is_not_used(receiver, developing, monkeypatch):
    """It would look the name up itself, past the check."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    provider = Quick.from_credentials({"secret": SECRET})
    outcome = send(provider, f"{receiver.url}/hook")
    provider.close()
    assert isinstance(outcome, Sent)


def test_the_secret_is_told_nowhere(receiver, provider, caplog):
    receiver.behave("/hook", status=400, body=SECRET.encode())
    with caplog.at_level("DEBUG"):
        outcome = send(provider, f"{receiver.url}/hook")
    assert outcome.response == "[hidden]"
    assert SECRET not in caplog.text
