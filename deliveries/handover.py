"""Handing over: each delivery to the first of its accounts that takes it.

An account whose circuit is open is passed over; after a transient failure the next account is asked, within the same claim
while there is time. What nobody could be asked for waits, and is not charged with an attempt.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec
from django.utils.timezone import now as clock

from deliveries import breaker, metrics
from deliveries.accounts import AccountKey, ConfiguredProvider, NotConfigured, in_sandbox, providers_for
from deliveries.breaker import Circuit, Open, Probe, Tally
from deliveries.claims import ClaimedDelivery
from deliveries.providers.base import Failed, Failure, Message, Outcome, Word, word_on_vendor
from tenants.vocabulary import Channel, Priority

_ACCOUNTS_AT_ONCE: Final = 16
_BEGIN_WITHIN_S: Final = 45.0
"""Later than this no message of a claim is begun with any account, so that slow ones together do not outlast the lease."""
_PROBE_TAKES_S: Final = 1.0
"""For how long those wait who stand behind a probe."""
_LONGEST_PAUSE_S: Final = 60.0
_THROTTLED_BY_ALL: Final = 5
"""So many refused for haste, and none taken, speak of the account; fewer may speak of one chat or number."""

_ELSEWHERE: Final = frozenset({Failure.TRANSIENT, Failure.THROTTLED})
"""Failures after which another account may be asked at once: nothing was handed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """One call for one delivery: who was asked, what they said, how long it took."""

    number: int
    provider: ConfiguredProvider | None
    outcome: Outcome
    started_at: datetime
    duration_ms: int
    passed_over: tuple[str, ...] = ()
    """Accounts that would have come first, and were left alone."""


@dataclass(slots=True)
class Handed:
    """A claimed delivery, and all that was tried for it in this claim."""

    delivery: ClaimedDelivery
    attempts: list[Attempted] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    held_back: Failed | None = None
    """Why the last account was not asked, or had not begun. What it says counts only if there is no attempt."""

    def hold_back(self, code: str, message: str, wait_s: float) -> None:
        self.held_back = Failed(failure=Failure.TRANSIENT, code=code, message=message, retry_after_s=wait_s, is_begun=False)


def hand_over(channel: Channel, deliveries: Sequence[ClaimedDelivery]) -> list[Handed]:
    """Hand deliveries under lease to their providers."""
    groups: dict[AccountKey, list[Handed]] = defaultdict(list)
    for delivery in deliveries:
        sandbox = in_sandbox(channel, delivery.address, sandbox=delivery.sandbox)
        groups[AccountKey(delivery.tenant_id, channel, sandbox)].append(Handed(delivery))
    accounts = providers_for(groups)
    if len(groups) == 1:
        for key, group in groups.items():
            _serve(accounts[key], channel, group)
    else:
        # Side by side: what one tenant's slow account takes must not add up with another's to more than the lease.
        with ThreadPoolExecutor(max(1, min(len(groups), _ACCOUNTS_AT_ONCE)), thread_name_prefix="account") as pool:
            list(pool.map(lambda key: _serve(accounts[key], channel, groups[key]), groups))
    return [handed for group in groups.values() for handed in group]


def _serve(accounts: Sequence[ConfiguredProvider] | NotConfigured, channel: Channel, group: Sequence[Handed]) -> None:
    if isinstance(accounts, NotConfigured):
        refusal = Failed(failure=Failure.PERMANENT, code="not_configured", message=accounts.message)
        for handed in group:
            handed.attempts.append(
                Attempted(number=handed.delivery.attempt, provider=None, outcome=refusal, started_at=clock(), duration_ms=0)
            )
        return
    begin_until = time.monotonic() + _BEGIN_WITHIN_S
    left = list(group)
    for account in accounts:
        left = _try(account, channel, left, begin_until)
        if not left or time.monotonic() > begin_until:
            return


def _try(account: ConfiguredProvider, channel: Channel, group: Sequence[Handed], begin_until: float) -> list[Handed]:
    """Ask one account; returns those for whom another may be asked."""
    circuits = [circuit_of(account, channel, handed.delivery) for handed in group]
    admitted = _admitted(account, group, circuits)
    if not admitted:
        return list(group)
    started_at, started = clock(), time.perf_counter()
    with metrics.provider_call(channel, account.name):
        messages = [_message(account, channel, handed) for handed, _ in admitted]
        outcomes = account.send_all(messages, begin_until=begin_until)
    duration_ms = round((time.perf_counter() - started) * 1000)
    for (handed, _), outcome in zip(admitted, outcomes, strict=True):
        _note(handed, account, outcome, started_at, duration_ms)
    breaker.report(_tallies([circuit for _, circuit in admitted], outcomes))
    left_alone = {id(handed) for handed, _ in admitted}
    failed = [handed for (handed, _), outcome in zip(admitted, outcomes, strict=True) if _may_go_elsewhere(outcome)]
    return [handed for handed in group if id(handed) not in left_alone] + failed


def _admitted(
    account: ConfiguredProvider, group: Sequence[Handed], circuits: Sequence[Circuit | None]
) -> list[tuple[Handed, Circuit | None]]:
    """Those that may be handed to the account now; the others know why not."""
    answers = breaker.ask({circuit for circuit in circuits if circuit is not None})
    admitted = []
    for handed, circuit in zip(group, circuits, strict=True):
        answer = answers[circuit] if circuit is not None else None
        if isinstance(answer, Open):
            handed.passed_over.append(account.label)
            handed.hold_back("circuit_open", f"{account.label} fails, and is left alone for a while.", answer.for_s)
            continue
        if isinstance(answer, Probe) and circuit is not None:
            answers[circuit] = Open(_PROBE_TAKES_S)
        admitted.append((handed, circuit))
    return admitted


def _note(handed: Handed, account: ConfiguredProvider, outcome: Outcome, started_at: datetime, duration_ms: int) -> None:
    if isinstance(outcome, Failed) and not outcome.is_begun:
        handed.held_back = outcome
        return
    handed.attempts.append(
        Attempted(
            number=handed.delivery.attempt + len(handed.attempts),
            provider=account,
            outcome=outcome,
            started_at=started_at,
            duration_ms=duration_ms,
            passed_over=tuple(handed.passed_over),
        )
    )


def _may_go_elsewhere(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.failure in _ELSEWHERE


def circuit_of(account: ConfiguredProvider, channel: Channel, delivery: ClaimedDelivery) -> Circuit | None:
    """Whose failures are counted together: an account's; a recipient's own server's. None: in-app and the sandbox."""
    if account.is_sandbox or channel is Channel.IN_APP:
        return None
    if channel is Channel.WEBHOOK:
        return Circuit(channel, account.name, f"{delivery.tenant_id}:{_host(delivery.address)}")
    return Circuit(channel, account.name, str(account.account_id or "installation"))


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:  # not a URL: the provider will say so
        return ""


def _tallies(circuits: Sequence[Circuit | None], outcomes: Sequence[Outcome]) -> dict[Circuit, Tally]:
    tallies: dict[Circuit, Tally] = defaultdict(Tally)
    throttled: dict[Circuit, list[float]] = defaultdict(list)
    for circuit, outcome in zip(circuits, outcomes, strict=True):
        if circuit is None:
            continue
        tally = tallies[circuit]
        word = word_on_vendor(outcome)
        tally.failed += word is Word.FAILING
        tally.answered += word is Word.WELL
        if word is Word.BUSY and isinstance(outcome, Failed):
            throttled[circuit].append(outcome.retry_after_s or 1.0)
    for circuit, waits in throttled.items():
        if len(waits) >= _THROTTLED_BY_ALL and not tallies[circuit].answered:
            tallies[circuit].wait_s = min(max(waits), _LONGEST_PAUSE_S)
    return tallies


def _message(account: ConfiguredProvider, channel: Channel, handed: Handed) -> Message:
    delivery = handed.delivery
    return Message(
        delivery_id=delivery.id,
        attempt=delivery.attempt + len(handed.attempts),
        channel=channel,
        tenant_id=delivery.tenant_id,
        priority=Priority(delivery.priority),
        addresses=tuple(delivery.address.split(" ")),
        subject=delivery.subject,
        body=delivery.body,
        html=delivery.html,
        data=msgspec.json.decode(delivery.data) if delivery.data else {},
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        user_id=delivery.user_id,
        created_at=delivery.created_at,
        account_id=account.account_id,
    )
