"""Handing over: each delivery to the first of its accounts that takes it.

An account whose circuit is open is passed over; after a transient failure the next account is asked, within the same claim
while there is time. What nobody could be asked for waits, and is not charged with an attempt.
"""

from __future__ import annotations

import queue
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec
from django.utils.timezone import now as clock

from deliveries import breaker, desks, metrics
from deliveries.accounts import AccountKey, Accounts, ConfiguredProvider, NotConfigured, in_sandbox, providers_for
from deliveries.breaker import Circuit, Open, Probe, Tally
from deliveries.claims import ClaimedDelivery
from deliveries.providers.messages import Answer, Failed, Failure, Message, Outcome, Refusal, Word, word_on_vendor
from preferences.centre.links import unsubscribe_url
from tenants.vocabulary import Channel, Priority

_ACCOUNTS_AT_ONCE: Final = 64
_BEGIN_WITHIN_S: Final = 12.0
"""Later than this no message of a claim is begun with any account: the longest call, 20 s, must end within the lease."""
_PART_S: Final = 0.05
"""What comes to its end within this time is given back together: a crash leaves that in doubt, a record costs trips."""
_PROBE_TAKES_S: Final = 1.0
"""For how long those wait who stand behind a probe."""
_LONGEST_PAUSE_S: Final = 60.0
_THROTTLED_BY_ALL: Final = 5
"""So many refused for haste, and none taken, speak of the account; fewer may speak of one chat or number."""

TOO_LATE: Final = Failed(
    failure=Failure.TRANSIENT,
    code="chunk_limit",
    message="The provider was too slow with the messages before this one, which was not begun.",
    is_begun=False,
)
STOPPING: Final = Failed(
    failure=Failure.TRANSIENT,
    code="worker_stopped",
    message="The worker was told to stop before this message was begun.",
    retry_after_s=0.0,
    is_begun=False,
)

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


Finish = Callable[[Handed], None]
"""Takes each delivery once, when all has been tried for it that may be; from then on nobody changes it."""


def hand_over(channel: Channel, deliveries: Sequence[ClaimedDelivery]) -> Iterator[list[Handed]]:
    """Hand deliveries under lease to their providers; yields them in parts, as they come to their ends."""
    groups: dict[AccountKey, list[Handed]] = defaultdict(list)
    for delivery in deliveries:
        groups[_account_key(channel, delivery)].append(Handed(delivery))
    accounts = providers_for(groups)
    if len(groups) == 1 and (len(deliveries) == 1 or channel is Channel.IN_APP):
        part: list[Handed] = []
        for key, group in groups.items():
            _serve(accounts[key], channel, group, part.append)
        yield part
    elif groups:
        yield from _side_by_side(channel, groups, accounts)


def _account_key(channel: Channel, delivery: ClaimedDelivery) -> AccountKey:
    if channel is Channel.IN_APP:
        return _OURS  # no tenant's account: everybody's items make one trip
    return AccountKey(delivery.tenant_id, channel, in_sandbox(channel, delivery.address, sandbox=delivery.sandbox))


_OURS: Final = AccountKey(0, Channel.IN_APP, sandbox=False)


def _side_by_side(
    channel: Channel, groups: Mapping[AccountKey, Sequence[Handed]], accounts: Mapping[AccountKey, Accounts]
) -> Iterator[list[Handed]]:
    """What one tenant's slow account takes must neither hold up another's, nor add up with it to more than the lease."""
    finished: queue.SimpleQueue[Handed | Exception] = queue.SimpleQueue()

    def serve(key: AccountKey) -> None:
        try:
            _serve(accounts[key], channel, groups[key], finished.put)
        except Exception as error:  # noqa: BLE001 - raised again by who waits for it
            finished.put(error)

    with ThreadPoolExecutor(min(len(groups), _ACCOUNTS_AT_ONCE), thread_name_prefix="account") as pool:
        for key in groups:
            pool.submit(serve, key)
        left = sum(map(len, groups.values()))
        while left:
            part = _part(finished, left)
            left -= len(part)
            yield part


def _part(finished: queue.SimpleQueue[Handed | Exception], left: int) -> list[Handed]:
    """What comes to its end within `_PART_S` of the first, and no more than is `left`."""
    part: list[Handed] = []
    wait_s: float | None = None
    until = 0.0
    while len(part) < left:
        try:
            one = finished.get(timeout=wait_s)
        except queue.Empty:
            break
        if isinstance(one, Exception):
            raise one
        part.append(one)
        until = until or time.monotonic() + _PART_S
        wait_s = max(until - time.monotonic(), 0.0)
    return part


def _serve(
    accounts: Sequence[ConfiguredProvider] | NotConfigured, channel: Channel, group: Sequence[Handed], finish: Finish
) -> None:
    if isinstance(accounts, NotConfigured):
        refused = Failed(failure=Failure.PERMANENT, code="not_configured", message=accounts.message)
        for handed in group:
            _note(handed, None, Answer(0, refused, clock(), 0))
            finish(handed)
        return
    refusal = _refusal(time.monotonic() + _BEGIN_WITHIN_S)
    left = list(group)
    for account in accounts[:-1]:
        elsewhere: list[Handed] = []
        _try(account, channel, left, refusal=refusal, finish=finish, go_elsewhere=elsewhere.append)
        left = elsewhere
    _try(accounts[-1], channel, left, refusal=refusal, finish=finish, go_elsewhere=finish)


def _refusal(begin_until: float) -> Refusal:
    def refusal() -> Failed | None:
        if desks.is_closed():
            return STOPPING
        return TOO_LATE if time.monotonic() > begin_until else None

    return refusal


def _try(
    account: ConfiguredProvider,
    channel: Channel,
    group: Sequence[Handed],
    *,
    refusal: Refusal,
    finish: Finish,
    go_elsewhere: Finish,
) -> None:
    """Ask one account for each of a group."""
    circuits = [circuit_of(account, channel, handed.delivery) for handed in group]
    admitted = _admitted(account, group, circuits, go_elsewhere)
    if not admitted:
        return
    outcomes: list[tuple[Circuit | None, Outcome]] = []
    with metrics.provider_call(channel, account.name):
        messages = [_message(account, channel, handed) for handed, _ in admitted]
        for answer in account.send_all(messages, refusal=refusal):
            handed, circuit = admitted[answer.place]
            outcomes.append((circuit, answer.outcome))
            _note(handed, account, answer)
            (go_elsewhere if _may_go_elsewhere(answer.outcome) else finish)(handed)
    breaker.report(_tallies(outcomes))


def _admitted(
    account: ConfiguredProvider, group: Sequence[Handed], circuits: Sequence[Circuit | None], go_elsewhere: Finish
) -> list[tuple[Handed, Circuit | None]]:
    """Those that may be handed to the account now; the others know why not."""
    answers = breaker.ask({circuit for circuit in circuits if circuit is not None})
    admitted = []
    for handed, circuit in zip(group, circuits, strict=True):
        answer = answers[circuit] if circuit is not None else None
        if isinstance(answer, Open):
            handed.passed_over.append(account.label)
            names = " and ".join(handed.passed_over)
            handed.hold_back("circuit_open", f"Left alone for a while, having failed: {names}.", answer.for_s)
            go_elsewhere(handed)
            continue
        if isinstance(answer, Probe) and circuit is not None:
            answers[circuit] = Open(_PROBE_TAKES_S)
        admitted.append((handed, circuit))
    return admitted


def _note(handed: Handed, account: ConfiguredProvider | None, answer: Answer) -> None:
    if isinstance(answer.outcome, Failed) and not answer.outcome.is_begun:
        handed.held_back = answer.outcome
        return
    handed.attempts.append(
        Attempted(
            number=handed.delivery.attempt + len(handed.attempts),
            provider=account,
            outcome=answer.outcome,
            started_at=answer.started_at,
            duration_ms=answer.duration_ms,
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


def _tallies(outcomes: Sequence[tuple[Circuit | None, Outcome]]) -> dict[Circuit, Tally]:
    tallies: dict[Circuit, Tally] = defaultdict(Tally)
    throttled: dict[Circuit, list[float]] = defaultdict(list)
    for circuit, outcome in outcomes:
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
        expires_at=delivery.expires_at,
        unsubscribe_url=unsubscribe_url(delivery.unsubscribe_token) if delivery.unsubscribe_token else "",
    )
