"""The sandbox: takes every message of every channel and sends none. Simulator addresses produce each outcome."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from django.utils.timezone import now as clock

from deliveries.providers.base import Provider
from deliveries.providers.messages import Answer, Failed, Failure, Message, Outcome, Receipt, Refusal, Sent
from deliveries.providers.push import push_outcome
from deliveries.providers.simulator import Scenario, scenario_of
from tenants.vocabulary import Channel

_FAILURES = {
    Scenario.PERMANENT: Failure.PERMANENT,
    Scenario.TEMPORARY: Failure.TRANSIENT,
    Scenario.DOWN: Failure.TRANSIENT,
}
_RECEIPTS = {
    Scenario.OK: Receipt.DELIVERED,
    Scenario.SLOW: Receipt.DELIVERED,
    Scenario.TEMPORARY: Receipt.DELIVERED,
    Scenario.BOUNCE: Receipt.BOUNCED,
}
_SUCCEEDS_AT_ATTEMPT = 3
"""`temporary` fails twice."""


class SandboxProvider(Provider):
    """One class for all channels: a message says which channel it is of."""

    name = "sandbox"
    is_sandbox = True

    slow_s: ClassVar[float] = 2

    def hand_over(self, messages: Sequence[Message], refusal: Refusal) -> Iterator[Answer]:
        """The slow ones last, and side by side as they would be with a real provider: they wait together."""
        refused = refusal()
        if refused is not None:
            yield from (Answer(index, refused, clock(), 0) for index in range(len(messages)))
            return
        slow = [index for index, message in enumerate(messages) if _is_slow(message)]
        started_at = clock()
        for index in sorted(set(range(len(messages))).difference(slow)):
            yield Answer(index, self.send(messages[index]), started_at, 0)
        if slow:
            time.sleep(self.slow_s)
        for index in slow:
            yield Answer(index, self.send(messages[index]), started_at, round(self.slow_s * 1000))

    def send(self, message: Message) -> Outcome:
        if message.channel is Channel.PUSH:
            return push_outcome({token: _outcome(message, token) for token in message.addresses})
        # Only a push token dies.
        return replace(_outcome(message, message.address), dead_addresses=())


def _is_slow(message: Message) -> bool:
    return any(scenario_of(message.channel, address) is Scenario.SLOW for address in message.addresses)


def _outcome(message: Message, address: str) -> Outcome:
    scenario = scenario_of(message.channel, address)
    failure = _FAILURES.get(scenario) if scenario else None
    if scenario is None or failure is None or _has_recovered(scenario, message.attempt):
        return Sent(
            message_id=f"sandbox-{message.delivery_id}",
            code="sandbox",
            response="Recorded in the sandbox; not sent.",
            receipt=_RECEIPTS.get(scenario) if scenario else None,
        )
    return Failed(
        failure=failure,
        code=f"simulated_{scenario.value}",
        message=f"The simulator was asked for the outcome {scenario.value!r}.",
        dead_addresses=(address,) if failure is Failure.PERMANENT else (),
    )


def _has_recovered(scenario: Scenario, attempt: int) -> bool:
    return scenario is Scenario.TEMPORARY and attempt >= _SUCCEEDS_AT_ATTEMPT
