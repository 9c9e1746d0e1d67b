"""What providers said, in the words of the database: the delivery's next state, and a row for each attempt."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from django.utils.timezone import now as clock
from uuid_utils.compat import uuid7

from deliveries import retry
from deliveries.claims import ClaimedDelivery
from deliveries.handover import Attempted, Handed
from deliveries.models import AttemptOutcome
from deliveries.providers.excerpts import LONGEST_EXCERPT
from deliveries.providers.messages import Failed, Failure, Outcome, Receipt, Sent
from deliveries.services import NewAttempt, Recorded
from deliveries.states import Status
from preferences.models import Suppression
from preferences.services import NewSuppression
from tenants.vocabulary import Channel

_FAILURES: Final = {
    Failure.PERMANENT: AttemptOutcome.PERMANENT,
    Failure.TRANSIENT: AttemptOutcome.TRANSIENT,
    Failure.THROTTLED: AttemptOutcome.THROTTLED,
    Failure.AMBIGUOUS: AttemptOutcome.AMBIGUOUS,
}
_RECEIPTS: Final = {Receipt.DELIVERED: Status.DELIVERED, Receipt.BOUNCED: Status.BOUNCED}


def outcome_of(handed: Handed) -> Outcome:
    """What all that was tried for a delivery came to: the last attempt's outcome, or why there was none."""
    if handed.attempts:
        return handed.attempts[-1].outcome
    assert handed.held_back is not None
    return handed.held_back


def judge(handed: Handed, *, now: datetime, chance: float, policy: retry.RetryPolicy | None) -> Recorded:
    """The delivery's next state. `chance` in [0, 1) spreads retries; `policy` is asked for what failed."""
    delivery, outcome = handed.delivery, outcome_of(handed)
    provider = handed.attempts[-1].provider if handed.attempts else None
    attempts = delivery.attempt - 1 + len(handed.attempts)
    recorded = functools.partial(
        Recorded,
        id=delivery.id,
        lease_until=delivery.lease_until,
        attempt_count=attempts,
        provider=provider.name if provider else "",
        provider_account_id=provider.account_id if provider else None,
        sandbox=provider.is_sandbox if provider else False,
    )
    if isinstance(outcome, Sent):
        status = _RECEIPTS[outcome.receipt] if outcome.receipt else Status.SENT
        return recorded(
            status=status,
            retry_count=delivery.retry_count,
            provider_message_id=outcome.message_id or None,
            sent_at=outcome.at or now,
            delivered_at=now if status is Status.DELIVERED else None,
            reason="bounced" if status is Status.BOUNCED else "",
        )
    decision = retry.decide(
        outcome,
        attempt=attempts,
        retries=delivery.retry_count,
        created_at=delivery.replayed_at or max(delivery.created_at, delivery.accepted_at),
        expires_at=delivery.expires_at,
        now=now,
        chance=chance,
        policy=policy or retry.RetryPolicy(),
    )
    if isinstance(decision, retry.Retry):
        return recorded(
            status=Status.PENDING,
            retry_count=delivery.retry_count + decision.is_charged,
            reason=outcome.code,
            error=outcome.message,
            next_attempt_at=decision.at,
        )
    status = Status.EXPIRED if decision.reason == "expired" else Status.FAILED
    reason = outcome.code if decision.reason == "permanent" else decision.reason
    return recorded(status=status, retry_count=delivery.retry_count, reason=reason, error=outcome.message)


def attempt_outcome(attempt: Attempted) -> AttemptOutcome:
    return _FAILURES[attempt.outcome.failure] if isinstance(attempt.outcome, Failed) else AttemptOutcome.SENT


def attempts_of(handed: Handed) -> list[NewAttempt]:
    return [_row(handed.delivery, attempt) for attempt in handed.attempts]


def _row(delivery: ClaimedDelivery, attempt: Attempted) -> NewAttempt:
    outcome, provider = attempt.outcome, attempt.provider
    answer = outcome.response if isinstance(outcome, Sent) else outcome.response or outcome.message
    detail: dict[str, Any] = dict(outcome.detail or {})
    if attempt.passed_over:
        detail["passedOver"] = list(attempt.passed_over)
    return NewAttempt(
        id=uuid7(),
        delivery_id=delivery.id,
        number=attempt.number,
        outcome=attempt_outcome(attempt).value,
        provider=provider.name if provider else "",
        provider_account_id=provider.account_id if provider else None,
        sandbox=provider.is_sandbox if provider else False,
        code=outcome.code,
        response=answer[:LONGEST_EXCERPT],
        detail=msgspec.json.encode(detail).decode() if detail else None,
        started_at=attempt.started_at,
        duration_ms=attempt.duration_ms,
    )


def without_words(attempts: Sequence[NewAttempt], erased: Collection[UUID]) -> Sequence[NewAttempt]:
    """The attempts, those of erased deliveries without the provider's answer and the outcome by push token."""
    if not erased:
        return attempts
    return [msgspec.structs.replace(one, response="", detail=None) if one.delivery_id in erased else one for one in attempts]


def interrupted_attempt(delivery: ClaimedDelivery) -> NewAttempt:
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
        started_at=delivery.interrupted_at or clock(),
        duration_ms=0,
    )


@dataclass(frozen=True, slots=True)
class Gone:
    """Addresses that the providers of a chunk said are gone for good."""

    tokens: list[tuple[int, str]] = field(default_factory=list)
    """Push tokens to retire, each with its tenant's id."""
    suppressions: list[NewSuppression] = field(default_factory=list)


def gone_addresses(channel: Channel, handed: Iterable[Handed]) -> Gone:
    gone = Gone()
    reason = Suppression.Reason.UNREGISTERED if channel is Channel.PUSH else Suppression.Reason.BOUNCE
    for one in handed:
        tenant_id = one.delivery.tenant_id
        for attempt in one.attempts:
            outcome, dead = attempt.outcome, attempt.outcome.dead_addresses
            if channel is Channel.PUSH:
                gone.tokens.extend((tenant_id, token) for token in dead)
            # The sandbox's addresses are there to be tried again and again.
            if dead and attempt.provider and not attempt.provider.is_sandbox:
                detail = outcome.code if isinstance(outcome, Sent) else f"{outcome.code}: {outcome.message}"
                gone.suppressions.extend(
                    NewSuppression(tenant_id=tenant_id, channel=channel, address=address, reason=reason.value, detail=detail)
                    for address in dead
                )
    return gone
