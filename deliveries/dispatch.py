"""Sending: claim → sort out → hand over → judge → record. The whole life of a delivery's attempt reads from `dispatch` down.

A worker that dies anywhere in here leaves a lease behind; when it runs out, the delivery is claimed again, and its lost
attempt is written down as ambiguous.
"""

from __future__ import annotations

import functools
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import structlog
from django.db import transaction
from django.utils.timezone import now as clock
from uuid_utils.compat import uuid7

from deliveries import metrics, retry
from deliveries.accounts import AccountKey, ConfiguredProvider, NotConfigured, in_sandbox, providers_for
from deliveries.models import AttemptOutcome
from deliveries.providers.base import LONGEST_EXCERPT, Failed, Failure, Message, Outcome, Receipt, Sent
from deliveries.services import ClaimedDelivery, NewAttempt, Recorded, claim_deliveries, create_attempts, record_outcomes
from deliveries.states import Status
from preferences.services import retire_devices
from tenants.vocabulary import Channel, Priority

logger = structlog.get_logger(__name__)

POLICY = retry.RetryPolicy()
CLAIM_SIZE: dict[Channel, int] = {
    # In-app publishes a claim in one trip. The others hand over many at a time, but no more than a lease can cover.
    Channel.EMAIL: 128,
    Channel.SMS: 128,
    Channel.PUSH: 128,
    Channel.IN_APP: 500,
    Channel.CHAT: 64,
    Channel.WEBHOOK: 128,
}

_ACCOUNTS_AT_ONCE = 16

_FAILURES = {
    Failure.PERMANENT: AttemptOutcome.PERMANENT,
    Failure.TRANSIENT: AttemptOutcome.TRANSIENT,
    Failure.THROTTLED: AttemptOutcome.THROTTLED,
    Failure.AMBIGUOUS: AttemptOutcome.AMBIGUOUS,
}
_RECEIPTS = {Receipt.DELIVERED: Status.DELIVERED, Receipt.BOUNCED: Status.BOUNCED}


@dataclass(frozen=True, slots=True)
class Attempted:
    """A claimed delivery, who was asked to take it, what they said, and how long that took."""

    delivery: ClaimedDelivery
    provider: ConfiguredProvider | None
    outcome: Outcome
    started_at: datetime
    duration_ms: int


def dispatch(channel: Channel) -> int:
    """Send what is due on `channel`, one claim's worth; returns how many deliveries were claimed."""
    claimed = claim_deliveries(channel=channel, limit=CLAIM_SIZE[channel], now=clock())
    if claimed:
        send_claimed(channel, claimed)
    return len(claimed)


def send_claimed(channel: Channel, claimed: Sequence[ClaimedDelivery]) -> None:
    """Hand deliveries under lease to their providers and record what became of each."""
    now = clock()
    late = [delivery for delivery in claimed if delivery.expires_at is not None and delivery.expires_at <= now]
    live = [delivery for delivery in claimed if delivery.expires_at is None or delivery.expires_at > now]
    attempted = _hand_over(channel, live)
    _record(channel, late, attempted, interrupted=[delivery for delivery in claimed if delivery.interrupted])


def _hand_over(channel: Channel, deliveries: Sequence[ClaimedDelivery]) -> list[Attempted]:
    groups: dict[AccountKey, list[ClaimedDelivery]] = defaultdict(list)
    for delivery in deliveries:
        sandbox = in_sandbox(channel, delivery.address, sandbox=delivery.sandbox)
        groups[AccountKey(delivery.tenant_id, channel, sandbox)].append(delivery)
    providers = providers_for(groups)
    if len(groups) == 1:
        return [attempted for key, group in groups.items() for attempted in _ask(providers[key], channel, group)]
    # Side by side: what one tenant's slow account takes must not add up with another's to more than the lease.
    with ThreadPoolExecutor(max(1, min(len(groups), _ACCOUNTS_AT_ONCE)), thread_name_prefix="account") as pool:
        asked = [pool.submit(_ask, providers[key], channel, group) for key, group in groups.items()]
        return [attempted for one in asked for attempted in one.result()]


def _ask(
    accounts: Sequence[ConfiguredProvider] | NotConfigured, channel: Channel, group: Sequence[ClaimedDelivery]
) -> Iterable[Attempted]:
    started_at, started = clock(), time.perf_counter()
    if isinstance(accounts, NotConfigured):
        refusal = Failed(failure=Failure.PERMANENT, code="not_configured", message=accounts.message)
        return [Attempted(delivery, None, refusal, started_at, 0) for delivery in group]
    account = accounts[0]
    with metrics.provider_call(channel, account.name):
        outcomes = account.send_all([_message(channel, delivery) for delivery in group])
    duration_ms = round((time.perf_counter() - started) * 1000)
    return [
        Attempted(delivery, account, outcome, started_at, duration_ms)
        for delivery, outcome in zip(group, outcomes, strict=True)
    ]


def _message(channel: Channel, delivery: ClaimedDelivery) -> Message:
    return Message(
        delivery_id=delivery.id,
        attempt=delivery.attempt,
        channel=channel,
        tenant_id=delivery.tenant_id,
        priority=Priority(delivery.priority),
        addresses=tuple(delivery.address.split(" ")),
        subject=delivery.subject,
        body=delivery.body,
        html=delivery.html,
        data=delivery.data or {},
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        user_id=delivery.user_id,
        created_at=delivery.created_at,
    )


def _record(
    channel: Channel, late: Sequence[ClaimedDelivery], attempted: Sequence[Attempted], *, interrupted: Sequence[ClaimedDelivery]
) -> None:
    now = clock()
    results = [_judge(one, now) for one in attempted]
    results += [
        Recorded(id=one.id, lease_until=one.lease_until, status=Status.EXPIRED, reason="expired", attempt_count=one.attempt - 1)
        for one in late
    ]
    attempts = [_attempt(one) for one in attempted] + [_lost_attempt(one) for one in interrupted]
    dead = _dead_addresses(attempted)
    with transaction.atomic():
        held = record_outcomes(rows=results)
        create_attempts(rows=attempts)
        for tenant_id, tokens in dead.items():
            retire_devices(tenant_id=tenant_id, tokens=tokens)
    _report(channel, attempted, results, held)


def _judge(attempted: Attempted, now: datetime) -> Recorded:
    """The delivery's next state, from the outcome of its attempt."""
    delivery, provider, outcome = attempted.delivery, attempted.provider, attempted.outcome
    recorded = functools.partial(
        Recorded,
        id=delivery.id,
        lease_until=delivery.lease_until,
        attempt_count=delivery.attempt,
        provider=provider.name if provider else "",
        provider_account_id=provider.account_id if provider else None,
        sandbox=provider.is_sandbox if provider else False,
    )
    if isinstance(outcome, Sent):
        status = _RECEIPTS[outcome.receipt] if outcome.receipt else Status.SENT
        return recorded(
            status=status,
            provider_message_id=outcome.message_id or None,
            sent_at=outcome.at or now,
            delivered_at=now if status is Status.DELIVERED else None,
            reason="bounced" if status is Status.BOUNCED else "",
        )
    decision = retry.decide(
        outcome,
        attempt=delivery.attempt,
        now=now,
        chance=random.random(),  # noqa: S311 - spreads retries, guards nothing
        expires_at=delivery.expires_at,
        policy=POLICY,
    )
    if isinstance(decision, retry.Retry):
        return recorded(status=Status.PENDING, reason=outcome.code, error=outcome.message, next_attempt_at=decision.at)
    status = Status.EXPIRED if decision.reason == "expired" else Status.FAILED
    reason = outcome.code if decision.reason == "permanent" else decision.reason
    return recorded(status=status, reason=reason, error=outcome.message)


def _outcome_of(attempted: Attempted) -> AttemptOutcome:
    outcome = attempted.outcome
    return AttemptOutcome.SENT if isinstance(outcome, Sent) else _FAILURES[outcome.failure]


def _attempt(attempted: Attempted) -> NewAttempt:
    outcome, provider = attempted.outcome, attempted.provider
    answer = outcome.response if isinstance(outcome, Sent) else outcome.response or outcome.message
    return NewAttempt(
        id=uuid7(),
        delivery_id=attempted.delivery.id,
        number=attempted.delivery.attempt,
        outcome=_outcome_of(attempted).value,
        provider=provider.name if provider else "",
        provider_account_id=provider.account_id if provider else None,
        sandbox=provider.is_sandbox if provider else False,
        code=outcome.code,
        response=answer[:LONGEST_EXCERPT],
        detail=msgspec.json.encode(outcome.detail).decode() if outcome.detail else None,
        started_at=attempted.started_at,
        duration_ms=attempted.duration_ms,
    )


def _lost_attempt(delivery: ClaimedDelivery) -> NewAttempt:
    """The attempt whose worker died: the message may have gone out."""
    return NewAttempt(
        id=uuid7(),
        delivery_id=delivery.id,
        number=delivery.attempt - 1,
        outcome=AttemptOutcome.AMBIGUOUS,
        provider="",
        provider_account_id=None,
        sandbox=delivery.sandbox,
        code="interrupted",
        response="The worker ended before the outcome was recorded.",
        detail=None,
        started_at=clock(),
        duration_ms=0,
    )


def _dead_addresses(attempted: Iterable[Attempted]) -> Mapping[int, list[str]]:
    dead: dict[int, list[str]] = defaultdict(list)
    for one in attempted:
        if one.delivery.user_id and one.outcome.dead_addresses:
            dead[one.delivery.tenant_id] += one.outcome.dead_addresses
    return dead


def _report(channel: Channel, attempted: Sequence[Attempted], results: Sequence[Recorded], held: set[UUID]) -> None:
    for name in {one.provider.name for one in attempted if one.provider}:
        outcomes = [_outcome_of(one) for one in attempted if one.provider and one.provider.name == name]
        metrics.count_attempts(channel, name, outcomes)
    by_id = {result.id: result for result in results}
    metrics.count_outcomes(channel, [Status(by_id[key].status) for key in held])
    metrics.observe_latency(
        channel,
        [(clock() - one.delivery.accepted_at) / timedelta(seconds=1) for one in attempted if isinstance(one.outcome, Sent)],
    )
    for one in attempted:
        if isinstance(one.outcome, Failed):
            logger.info(
                "attempt_failed",
                channel=channel.label,
                event_id=one.delivery.event_id,
                delivery_id=str(one.delivery.id),
                attempt=one.delivery.attempt,
                provider=one.provider.name if one.provider else "",
                failure=one.outcome.failure.value,
                code=one.outcome.code,
            )
