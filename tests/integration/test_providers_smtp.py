"""E-mail over SMTP, against a server that listens."""

from __future__ import annotations

import socket
from itertools import pairwise

import pytest

from deliveries.providers.messages import AUTH, Failed, Failure, Sent
from deliveries.providers.smtp import SmtpProvider
from tenants.vocabulary import Channel
from tests.doubles.smtp import SmtpDouble
from tests.messages import a_message, send_all

PASSWORD = "correct horse"


class Quick(SmtpProvider):
    time_limit_s = 0.5


@pytest.fixture
def server():
    with SmtpDouble() as double:
        yield double


@pytest.fixture
def provider(server):
    provider = provider_of(server)
    yield provider
    provider.close()


def provider_of(server, cls=Quick, **values):
    credentials = {"host": server.host, "port": server.port, "security": "none", "from_email": "Acme <no-reply@acme.test>"}
    return cls.from_credentials({**credentials, **values})


def mail(address="ada@example.com", **values):
    return a_message(Channel.EMAIL, address, **values)


def test_a_mail_arrives_as_text_with_an_html_alternative(server, provider):
    message = mail(subject="Grüße 👋", body="Zeile 1\n.Zeile 2 – ünï\n", html="<p>Hällo &amp; 👋</p>")
    (outcome,) = send_all(provider, [message])
    assert isinstance(outcome, Sent)
    assert outcome.message_id == f"<{message.delivery_id}@acme.test>"
    assert "queued as" in outcome.response
    assert outcome.receipt is None
    (received,) = server.received
    assert (received.sender, received.recipients) == ("no-reply@acme.test", ("ada@example.com",))
    parsed = received.message
    assert parsed["Subject"] == "Grüße 👋"
    assert parsed["From"] == "Acme <no-reply@acme.test>"
    assert parsed["To"] == "ada@example.com"
    assert parsed["Message-ID"] == outcome.message_id
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed.get_body(("plain",)).get_content() == "Zeile 1\r\n.Zeile 2 – ünï\r\n"
    assert parsed.get_body(("html",)).get_content().rstrip() == "<p>Hällo &amp; 👋</p>"


def test_the_message_id_is_the_same_on_every_attempt(server, provider):
    first = mail()
    send_all(provider, [first])
    send_all(provider, [first])
    assert len({received.message["Message-ID"] for received in server.received}) == 1
    assert len(server.received) == 2


def test_the_tenants_own_sender_goes_before_the_accounts(server, provider):
    send_all(provider, [mail(sender="Shop <hello@shop.test>")])
    assert server.received[0].sender == "hello@shop.test"


def test_without_a_sender_of_its_own_the_installations_is_used(server, settings):
    settings.DEFAULT_FROM_EMAIL = "The Post <post@installation.test>"
    provider = provider_of(server, from_email="")
    send_all(provider, [mail()])
    provider.close()
    assert server.received[0].sender == "post@installation.test"


@pytest.mark.parametrize("line_break", ["\r\n", "\n", "\r", "\u2028", "\x0b", "\x85"])
def test_a_subject_cannot_smuggle_in_a_header(server, provider, line_break):
    send_all(provider, [mail(subject=f"Hi{line_break}Bcc: thief@example.com{line_break}{line_break}Body")])
    (received,) = server.received
    assert received.recipients == ("ada@example.com",)
    assert received.message["Bcc"] is None
    assert "Bcc: thief@example.com" in received.message["Subject"]


@pytest.mark.parametrize(
    "address", ["ada@example.com\r\nBcc: thief@example.com", "ada@example.com, thief@example.com", "ada", ""]
)
def test_a_malformed_address_fails_for_good_and_opens_no_connection(server, provider, address):
    (outcome,) = send_all(provider, [mail(address)])
    assert (outcome.failure, outcome.code) == (Failure.PERMANENT, "invalid_message")
    assert server.connections == 0


def test_a_malformed_sender_fails_for_good(server, provider):
    (outcome,) = send_all(provider, [mail(sender="x@shop.test\nBcc: thief@example.com")])
    assert (outcome.failure, outcome.code) == (Failure.PERMANENT, "invalid_message")
    assert server.received == []


@pytest.mark.parametrize(
    ("behaviour", "failure", "code"),
    [
        ({"rcpt": "550 5.1.1 no such user"}, Failure.PERMANENT, "550"),
        ({"rcpt": "553 5.1.3 bad address"}, Failure.PERMANENT, "553"),
        ({"rcpt": "450 4.2.1 mailbox busy"}, Failure.TRANSIENT, "450"),
        ({"rcpt": "421 4.7.0 too many"}, Failure.THROTTLED, "421"),
        ({"data": "554 5.7.1 spam"}, Failure.PERMANENT, "554"),
        ({"data": "451 4.3.0 try later"}, Failure.TRANSIENT, "451"),
        ({"hang_up_at": "rcpt"}, Failure.TRANSIENT, "connection_lost"),
        ({"hang_up_at": "data"}, Failure.AMBIGUOUS, "connection_lost_after_data"),
        ({"delay_s": 2}, Failure.AMBIGUOUS, "connection_lost_after_data"),
    ],
)
def test_the_servers_words_become_ours(server, provider, behaviour, failure, code):
    server.behave("ada@example.com", **behaviour)
    (outcome,) = send_all(provider, [mail()])
    assert isinstance(outcome, Failed)
    assert (outcome.failure, outcome.code) == (failure, code)
    if failure is not Failure.AMBIGUOUS:
        assert server.received == []


def test_one_refused_recipient_leaves_the_others_alone(server, provider):
    server.behave("bad@example.com", rcpt="550 5.1.1 no such user")
    outcomes = send_all(provider, [mail("a@example.com"), mail("bad@example.com"), mail("b@example.com")])
    assert [type(outcome) for outcome in outcomes] == [Sent, Failed, Sent]
    assert sorted(received.recipients[0] for received in server.received) == ["a@example.com", "b@example.com"]


def test_a_server_that_is_not_there_is_a_transient_failure():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        provider = Quick.from_credentials({"host": "127.0.0.1", "port": taken.getsockname()[1], "security": "none"})
        (outcome,) = send_all(provider, [mail()])
    assert (outcome.failure, outcome.code) == (Failure.TRANSIENT, "connect_failed")


def test_a_server_that_never_greets_is_given_up_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        provider = Quick.from_credentials({"host": "127.0.0.1", "port": silent.getsockname()[1], "security": "none"})
        (outcome,) = send_all(provider, [mail()])
    assert (outcome.failure, outcome.code) == (Failure.TRANSIENT, "connect_failed")


def test_a_server_without_tls_is_not_given_mail_in_clear():
    with SmtpDouble() as server:
        provider = Quick.from_credentials({"host": server.host, "port": server.port, "security": "starttls"})
        (outcome,) = send_all(provider, [mail()])
    assert (outcome.failure, outcome.code, server.received) == (Failure.TRANSIENT, "tls", [])


def test_a_login_is_used_and_a_wrong_one_is_the_accounts_fault(caplog):
    with SmtpDouble(username="acme", password=PASSWORD) as server:
        right = provider_of(server, username="acme", password=PASSWORD)
        wrong = provider_of(server, username="acme", password="wrong battery")
        outcomes = [*send_all(right, [mail()]), *send_all(wrong, [mail()])]
        right.close()
        wrong.close()
    assert isinstance(outcomes[0], Sent)
    assert len(server.received) == 1
    assert (outcomes[1].failure, outcomes[1].code) == (Failure.TRANSIENT, AUTH)
    told = caplog.text + str(outcomes)
    assert PASSWORD not in told
    assert "wrong battery" not in told


def test_a_connection_serves_the_next_chunks_too(server, provider):
    for _ in range(5):
        send_all(provider, [mail()])
    assert (len(server.received), server.connections) == (5, 1)


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(server, provider):
    send_all(provider, [mail()])
    server.hang_up_all()
    (outcome,) = send_all(provider, [mail()])
    assert isinstance(outcome, Sent)
    assert (len(server.received), server.connections) == (2, 2)


def test_a_connection_idle_for_too_long_is_not_used_again(server):
    class Impatient(Quick):
        longest_idle_s = -1

    provider = provider_of(server, Impatient)
    send_all(provider, [mail()])
    send_all(provider, [mail()])
    provider.close()
    assert (len(server.received), server.connections) == (2, 2)


def test_a_hundred_mails_overlap_and_each_arrives_once(server):
    server.behave(delay_s=0.03)
    provider = provider_of(server, SmtpProvider)
    messages = [mail(f"user{n}@example.com", body=f"number {n}") for n in range(100)]
    outcomes = send_all(provider, messages)
    provider.close()
    assert [outcome.message_id for outcome in outcomes] == [f"<{message.delivery_id}@acme.test>" for message in messages]
    assert sorted(received.recipients[0] for received in server.received) == sorted(one.address for one in messages)
    assert server.peak >= 4
    assert server.connections <= SmtpProvider.concurrency


def test_closing_leaves_no_connection_open(server, provider):
    send_all(provider, [mail(f"user{n}@example.com") for n in range(20)])
    provider.close()
    server.hang_up_all()  # waits until the server has seen every connection end
    assert server.open_connections == 0


def test_outcomes_are_in_the_order_of_the_messages(server, provider):
    server.behave("slow@example.com", delay_s=0.2)
    messages = [mail("slow@example.com"), *(mail(f"user{n}@example.com") for n in range(10))]
    outcomes = send_all(provider, messages)
    ids = [str(message.delivery_id) for message in messages]
    assert all(one in outcome.message_id for one, outcome in zip(ids, outcomes, strict=True))
    assert all(a != b for a, b in pairwise(ids))


def test_a_server_that_says_nothing_is_waited_for_once(server, provider):
    """All connections at once, and when they were in vain, no second round of them."""
    server.mute()
    outcomes = send_all(provider, [mail() for _ in range(40)])
    assert server.connections == SmtpProvider.concurrency
    assert [outcome.code for outcome in outcomes].count("provider_failing") == 40 - SmtpProvider.concurrency
    server.speak()
    (again,) = send_all(provider, [mail()])
    assert isinstance(again, Sent)
