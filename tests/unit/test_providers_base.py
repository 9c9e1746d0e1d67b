from __future__ import annotations

import threading
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.providers.base import Provider
from deliveries.providers.credentials import Field, ProviderConfigError, check_credentials, read_credentials
from deliveries.providers.excerpts import LONGEST_EXCERPT
from deliveries.providers.messages import Failed, Failure, Sent
from deliveries.providers.push import push_outcome
from tenants.vocabulary import Channel
from tests.messages import a_message, send_all

TOKEN = "s3cret/token:+"


class Scripted(Provider):
    """Does what the message's subject says."""

    name = "scripted"
    channel = Channel.EMAIL
    concurrency = 4
    fields = (Field("token", secret=True),)
    closed: ClassVar[list[str]] = []

    def __init__(self, *, token: str) -> None:
        self.token = token
        self.seen: list[str] = []
        self.all_here = threading.Barrier(self.concurrency)

    def send(self, message):
        self.seen.append(message.address)
        if message.subject == "raise":
            raise ValueError(f"cannot reach https://api.test/bot{self.token}/send")
        if message.subject == "meet":
            self.all_here.wait(5)
        if message.subject == "refuse":
            text = f"token {self.token} and s3cret%2Ftoken%3A%2B " + "x" * 2000
            return Failed(failure=Failure.PERMANENT, code="no", message=text, response=text)
        return Sent(message_id=message.address, response=f"hello {self.token}")

    def close(self):
        self.closed.append(getattr(self, "token", "never made"))


@pytest.fixture
def provider():
    return Scripted.from_credentials({"token": TOKEN})


def mail(n, subject="ok"):
    return a_message(Channel.EMAIL, f"user{n}@example.com", subject=subject)


def test_only_what_can_be_kept_of_an_answer_gets_out(provider, monkeypatch):
    odd = "\x00\ud800" + "x" * 2000
    said = Sent(message_id=odd, code=odd, response=odd, detail={"t": {"message": odd + TOKEN, "number": 1}})
    monkeypatch.setattr(provider, "send", lambda message: said)
    (kept,) = send_all(provider, [mail(1)])
    assert kept == Sent(
        message_id="?" + "x" * 254,
        code="?" + "x" * 59,
        response="?" + "x" * 999,
        detail={"t": {"message": "?" + "x" * 999, "number": 1}},
    )


@given(st.lists(st.sampled_from(["ok", "raise", "refuse"]), max_size=12))
def test_there_is_one_outcome_for_each_message_in_order(subjects):
    messages = [mail(n, subject) for n, subject in enumerate(subjects)]
    outcomes = send_all(Scripted.from_credentials({"token": TOKEN}), messages)
    assert [getattr(outcome, "message_id", None) for outcome in outcomes] == [
        message.address if message.subject == "ok" else None for message in messages
    ]


def test_messages_are_under_way_together(provider):
    outcomes = send_all(provider, [mail(n, "meet") for n in range(8)])
    assert all(isinstance(outcome, Sent) for outcome in outcomes), "the barrier opens for four at once only"


def test_a_fault_of_the_providers_code_is_a_transient_failure_of_that_message_alone(provider, caplog):
    outcomes = send_all(provider, [mail(1), mail(2, "raise"), mail(3)])
    assert [type(outcome) for outcome in outcomes] == [Sent, Failed, Sent]
    assert (outcomes[1].failure, outcomes[1].code) == (Failure.TRANSIENT, "provider_fault")
    assert "provider_fault" in caplog.text


def test_secrets_get_out_neither_by_outcomes_nor_by_the_log(provider, caplog):
    outcomes = send_all(provider, [mail(1), mail(2, "raise"), mail(3, "refuse")])
    told = caplog.text + str(outcomes)
    assert TOKEN not in told
    assert "s3cret%2Ftoken" not in told
    assert "[hidden]" in outcomes[1].message


def test_texts_are_cut_to_an_excerpt(provider):
    (outcome,) = send_all(provider, [mail(1, "refuse")])
    assert len(outcome.message) == len(outcome.response) == LONGEST_EXCERPT


def test_what_may_not_be_begun_any_more_is_not(provider):
    refused = Failed(failure=Failure.TRANSIENT, code="late", message="m", is_begun=False)
    assert send_all(provider, [mail(n) for n in range(3)], refusal=lambda: refused) == [refused] * 3
    assert send_all(provider, [mail(3)], refusal=lambda: refused) == [refused]
    assert provider.seen == []


def test_an_answer_does_not_wait_for_the_slower_ones(provider):
    """`meet` waits until four have come; only three are there until the answer of a quick one was read."""
    messages = [*(mail(n, "meet") for n in range(3)), mail(3)]
    answers = provider.send_all(messages)
    assert next(answers).place == 3
    provider.all_here.wait(5)
    assert sorted(answer.place for answer in answers) == [0, 1, 2]


def test_no_messages_make_no_outcomes(provider):
    assert send_all(provider, []) == []


def test_simulator_addresses_do_not_reach_a_vendor(provider):
    messages = [mail(1), a_message(Channel.EMAIL, "ok@simulator.invalid"), mail(2)]
    outcomes = send_all(provider, messages)
    assert sorted(provider.seen) == ["user1@example.com", "user2@example.com"]
    assert (outcomes[1].failure, outcomes[1].code) == (Failure.PERMANENT, "simulator_address")


def test_of_a_pushs_tokens_only_the_simulators_are_left_out():
    class Tokens(Scripted):
        def send(self, message):
            return Sent(detail=dict.fromkeys(message.addresses))

    (outcome,) = send_all(Tokens.from_credentials({"token": TOKEN}), [a_message(Channel.PUSH, "real", "simulator-ok")])
    assert list(outcome.detail) == ["real"]


def test_a_provider_nobody_uses_any_more_closes():
    Scripted.closed.clear()
    provider = Scripted.from_credentials({"token": "the last one"})
    send_all(provider, [mail(1)])
    assert Scripted.closed == [], "connections are kept between chunks"
    del provider
    assert Scripted.closed == ["the last one"]


FIELDS = (
    Field("host"),
    Field("port", required=False, default=25),
    Field("mode", required=False, default="a", choices=("a", "b")),
)


@pytest.mark.parametrize(
    ("given", "errors"),
    [
        ({"host": "h"}, []),
        ({"host": "h", "port": 1, "mode": "b"}, []),
        ({"host": "h", "port": None, "mode": ""}, []),
        ({}, ["host"]),
        ({"host": ""}, ["host"]),
        ({"host": 7}, ["host"]),
        ({"host": "h", "port": "25"}, ["port"]),
        ({"host": "h", "port": True}, ["port"]),
        ({"host": "h", "mode": "c"}, ["mode"]),
        ({"host": "h", "hots": "h"}, ["hots"]),
    ],
)
def test_credentials_are_checked_field_by_field(given, errors):
    assert [field for field, _ in check_credentials(FIELDS, given)] == errors


def test_defaults_are_filled_in():
    assert read_credentials(FIELDS, {"host": "h", "port": None}) == {"host": "h", "port": 25, "mode": "a"}


def test_a_wrong_field_is_named():
    with pytest.raises(ProviderConfigError, match=r"^port: ") as raised:
        read_credentials(FIELDS, {"host": "h", "port": "x"})
    assert raised.value.field == "port"


def failed(failure, token=None, wait_s=None):
    dead = (token,) if token else ()
    return Failed(failure=failure, code=failure.value, message="m", retry_after_s=wait_s, dead_addresses=dead)


def test_a_push_that_any_token_took_is_sent():
    outcome = push_outcome({"a": failed(Failure.PERMANENT, "a"), "b": Sent(message_id="m1"), "c": failed(Failure.TRANSIENT)})
    assert isinstance(outcome, Sent)
    assert (outcome.message_id, outcome.dead_addresses) == ("m1", ("a",))


@given(st.lists(st.sampled_from(list(Failure)), min_size=1, max_size=5))
def test_a_push_that_none_took_is_retried_if_any_token_gives_hope(failures):
    outcome = push_outcome({str(n): failed(failure) for n, failure in enumerate(failures)})
    assert isinstance(outcome, Failed)
    assert (outcome.failure is Failure.PERMANENT) == all(failure is Failure.PERMANENT for failure in failures)
    assert (outcome.failure is Failure.AMBIGUOUS) == (Failure.AMBIGUOUS in failures)


def test_the_longest_wait_that_was_asked_for_counts():
    outcome = push_outcome({"a": failed(Failure.THROTTLED, wait_s=3), "b": failed(Failure.THROTTLED, wait_s=9)})
    assert outcome.retry_after_s == 9
