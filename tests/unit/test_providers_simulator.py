from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.providers.messages import Failed, Failure, Receipt, Sent
from deliveries.providers.sandbox import SandboxProvider
from deliveries.providers.simulator import Scenario, is_simulator, scenario_of
from tenants.vocabulary import Channel
from tests.messages import ADDRESSES, a_message, send_all


class Sandbox(SandboxProvider):
    slow_s = 0


SPELLINGS = {
    Channel.EMAIL: lambda word: [
        f"{word}@simulator.invalid",
        f"{word.upper()}@Simulator.INVALID",
        f"{word}+7@simulator.invalid",
    ],
    Channel.PUSH: lambda word: [f"simulator-{word}"],
    Channel.CHAT: lambda word: [f"simulator-{word}"],
    Channel.WEBHOOK: lambda word: [
        f"https://{word}.simulator.invalid/hook",
        f"https://simulator.invalid/{word}",
        f"http://{word}.SIMULATOR.invalid:8443/?x=1",
    ],
    Channel.SMS: lambda word: [f"+1500555000{list(Scenario).index(Scenario(word))}"],
}
CASES = [(channel, one, word) for channel, of in SPELLINGS.items() for word in Scenario for one in of(word.value)]


@pytest.mark.parametrize(("channel", "address", "scenario"), CASES)
def test_each_channel_has_an_address_for_each_outcome(channel, address, scenario):
    assert is_simulator(channel, address)
    assert scenario_of(channel, address) is scenario


@pytest.mark.parametrize("channel", SPELLINGS)
def test_an_ordinary_address_is_none(channel):
    assert not is_simulator(channel, ADDRESSES[channel])
    assert scenario_of(channel, ADDRESSES[channel]) is None


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        (Channel.EMAIL, "whoever@simulator.invalid"),
        (Channel.EMAIL, "ok@sub.simulator.invalid."),
        (Channel.EMAIL, "Ada <nobody@simulator.invalid>"),
        (Channel.SMS, "+15005550006"),
        (Channel.SMS, "+1 (500) 555-0009"),
        (Channel.PUSH, "simulator-whatever"),
        (Channel.WEBHOOK, "https://simulator.invalid./"),
    ],
)
def test_the_simulators_other_addresses_are_its_own_all_the_same(channel, address):
    assert is_simulator(channel, address)


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        (Channel.EMAIL, "ok@notsimulator.invalid"),
        (Channel.EMAIL, "ok@simulator.invalid.example.com"),
        (Channel.SMS, "+15005550010"),
        (Channel.SMS, "+150055500011"),
        (Channel.PUSH, "my-simulator-ok"),
        (Channel.WEBHOOK, "https://example.com/simulator.invalid"),
        (Channel.WEBHOOK, "https://[broken"),
    ],
)
def test_lookalikes_are_not(channel, address):
    assert not is_simulator(channel, address)


@given(st.sampled_from(list(SPELLINGS)), st.text())
def test_any_text_is_judged_without_an_error(channel, text):
    assert scenario_of(channel, text) is None or is_simulator(channel, text)


def outcome_of(channel, address, attempt=1):
    (outcome,) = send_all(Sandbox.from_credentials({}), [a_message(channel, address, attempt=attempt)])
    return outcome


@pytest.mark.parametrize(("channel", "address", "scenario"), CASES)
def test_the_sandbox_plays_the_scenario(channel, address, scenario):
    outcomes = [outcome_of(channel, address, attempt) for attempt in (1, 2, 3)]
    played = [
        outcome.receipt if isinstance(outcome, Sent) else outcome.failure if isinstance(outcome, Failed) else None
        for outcome in outcomes
    ]
    delivered, bounced, transient, permanent = Receipt.DELIVERED, Receipt.BOUNCED, Failure.TRANSIENT, Failure.PERMANENT
    assert (
        played
        == {
            Scenario.OK: [delivered] * 3,
            Scenario.SLOW: [delivered] * 3,
            Scenario.BOUNCE: [bounced] * 3,
            Scenario.TEMPORARY: [transient, transient, delivered],
            Scenario.PERMANENT: [permanent] * 3,
            Scenario.DOWN: [transient] * 3,
        }[scenario]
    )


@pytest.mark.parametrize("channel", [channel for channel in Channel if channel is not Channel.IN_APP])
def test_the_sandbox_takes_any_other_message_without_a_receipt(channel):
    outcome = outcome_of(channel, ADDRESSES[channel])
    assert isinstance(outcome, Sent)
    assert outcome.receipt is None
    assert outcome.message_id.startswith("sandbox-")


def test_a_dead_token_of_several_is_told_and_the_push_is_sent():
    message = a_message(Channel.PUSH, "simulator-ok", "simulator-permanent", "a-real-token")
    (outcome,) = send_all(Sandbox.from_credentials({}), [message])
    assert isinstance(outcome, Sent)
    assert outcome.dead_addresses == ("simulator-permanent",)
    assert set(outcome.detail) == set(message.addresses)


def test_only_push_addresses_die():
    assert outcome_of(Channel.EMAIL, "permanent@simulator.invalid").dead_addresses == ()


def test_the_sandbox_is_slow_once_for_all_slow_messages_of_a_chunk(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    messages = [a_message(Channel.EMAIL, f"{word}@simulator.invalid") for word in ("slow", "ok", "slow+2")]
    send_all(SandboxProvider.from_credentials({}), messages)
    assert slept == [SandboxProvider.slow_s]
