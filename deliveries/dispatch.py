"""Sending: claim → sort out → hand over → judge → record, in parts. The whole life of a claim reads from `dispatch` down.

A worker that dies anywhere in here leaves a lease behind; when it runs out, the delivery is claimed again, and its lost
attempt is written down as ambiguous.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.utils.timezone import now as clock

from deliveries import bells, desks, metrics
from deliveries.claims import ClaimedDelivery, claim_deliveries, release_deliveries
from deliveries.handover import Handed, hand_over
from deliveries.outcomes import (
    attempt_outcome,
    attempts_of,
    gone_addresses,
    interrupted_attempt,
    judge,
    outcome_of,
    without_words,
)
from deliveries.patience import BEYOND_LEASE, patiently
from deliveries.providers.messages import Failed, Sent
from deliveries.retry_schedules import policies_for
from deliveries.services import Changed, NewAttempt, Recorded, create_attempts, record_outcomes
from deliveries.states import Status
from preferences.services import add_suppressions, retire_devices
from tenants.vocabulary import Channel

logger = structlog.get_logger(__name__)

CLAIM_SIZE: dict[Channel, int] = {
    # In-app publishes a claim in one trip. The others hand over many at a time, but no more than a lease can cover.
    Channel.EMAIL: 128,
    Channel.SMS: 128,
    Channel.PUSH: 128,
    Channel.IN_APP: 500,
    Channel.CHAT: 64,
    Channel.WEBHOOK: 128,
}

SUSPECT_AFTER = 2
"""Workers that died with a delivery in hand, after which it works alone."""
MOST_INTERRUPTIONS = 5
"""More, and it is set aside as a dead letter."""


def dispatch(channel: Channel) -> int:
    """Send what is due on `channel`, one claim's worth; returns how many deliveries were claimed."""
    with transaction.atomic():  # a lost attempt is written down with the claim that finds it, or by the next
        claimed = claim_deliveries(channel=channel, limit=CLAIM_SIZE[channel], now=clock(), without=desks.waited_for(channel))
        chosen = _triage(channel, claimed)
    if chosen:
        with desks.in_hand(channel, map(_party, chosen)) as hand:
            for part in send_claimed(channel, chosen):
                hand.put_away(map(_party, part))
    return len(claimed)


def _party(delivery: ClaimedDelivery) -> desks.Party:
    return desks.Party(delivery.priority, delivery.tenant_id)


def _triage(channel: Channel, claimed: Sequence[ClaimedDelivery]) -> Sequence[ClaimedDelivery]:
    """What of a claim is worked on now; the rest is given back.

    A delivery that was in hand when workers died may be why they died: it works alone, so that it neither takes others with
    it nor makes them suspects. Whether a claim goes to the sound or to one suspect is tossed for; neither waits for ever.
    """
    lost = [one for one in claimed if one.interrupted_at is not None]
    if lost:
        create_attempts(rows=[interrupted_attempt(one) for one in lost])
        metrics.count_interrupted(channel, len(lost))
        logger.warning("attempts_interrupted", channel=channel.label, delivery_ids=[str(one.id) for one in lost])
    suspects = [one for one in claimed if one.interruption_count >= SUSPECT_AFTER]
    if not suspects:
        return claimed
    sound = [one for one in claimed if one.interruption_count < SUSPECT_AFTER]
    chosen = sound if sound and random.random() < 0.5 else [random.choice(suspects)]  # noqa: S311 - a toss, no secret
    taken = {one.id for one in chosen}
    release_deliveries(rows=[one for one in claimed if one.id not in taken])
    return chosen


def send_claimed(channel: Channel, claimed: Sequence[ClaimedDelivery]) -> Iterator[list[ClaimedDelivery]]:
    """Hand deliveries under lease to their providers and record what became of each; yields them as they are recorded."""
    now = clock()
    live, over = [], []
    for delivery in claimed:
        if delivery.is_canceled:
            over.append(_ended(delivery, Status.CANCELED, ""))
        elif delivery.expires_at is not None and delivery.expires_at <= now:
            over.append(_ended(delivery, Status.EXPIRED, "expired"))
        elif delivery.interruption_count > MOST_INTERRUPTIONS:
            over.append(_ended(delivery, Status.FAILED, "interrupted"))
        else:
            live.append(delivery)
    until = min(one.lease_until for one in claimed) + BEYOND_LEASE
    if over:
        _settle(channel, [], over, until)
    for part in hand_over(channel, live):
        # The providers have spoken: what they said must not be lost with a database that is away for a moment.
        _settle(channel, part, patiently(functools.partial(_judge_all, channel, part, clock()), until=until), until)
        yield [handed.delivery for handed in part]


def _settle(channel: Channel, handed: Sequence[Handed], results: Sequence[Recorded], until: datetime) -> None:
    attempts = [attempt for one in handed for attempt in attempts_of(one)]
    held = patiently(lambda: _record(channel, results, handed, attempts), until=until)
    if held.announced:
        bells.ring_status_webhooks()
    _report(channel, handed, {result.id: Status(result.status) for result in results if result.id in held.ids})


def _ended(delivery: ClaimedDelivery, status: Status, reason: str) -> Recorded:
    return Recorded(
        id=delivery.id,
        lease_until=delivery.lease_until,
        status=status,
        reason=reason,
        attempt_count=delivery.attempt - 1,
        retry_count=delivery.retry_count,
    )


def _record(channel: Channel, results: Sequence[Recorded], handed: Sequence[Handed], attempts: Sequence[NewAttempt]) -> Changed:
    """Write down outcomes and attempts; returns the deliveries that took the state recorded."""
    with transaction.atomic():
        held = record_outcomes(rows=results)
        create_attempts(rows=without_words(attempts, held.erased))
        gone = gone_addresses(channel, [one for one in handed if one.delivery.id not in held.erased])
        retire_devices(tokens=gone.tokens)
        add_suppressions(suppressions=gone.suppressions)
    return held


def _judge_all(channel: Channel, handed: Sequence[Handed], now: datetime) -> list[Recorded]:
    failed = {one.delivery.tenant_id for one in handed if isinstance(outcome_of(one), Failed)}
    policies = policies_for(channel, failed) if failed else {}
    return [
        judge(one, now=now, chance=random.random(), policy=policies.get(one.delivery.tenant_id))  # noqa: S311 - spreads retries
        for one in handed
    ]


def _report(channel: Channel, handed: Sequence[Handed], held: Mapping[UUID, Status]) -> None:
    attempted = [(one.delivery, attempt) for one in handed for attempt in one.attempts]
    for name in {attempt.provider.name for _, attempt in attempted if attempt.provider}:
        outcomes = [attempt_outcome(one) for _, one in attempted if one.provider and one.provider.name == name]
        metrics.count_attempts(channel, name, outcomes)
    metrics.count_outcomes(channel, held.values())
    now = clock()
    metrics.observe_latency(
        channel,
        [(now - delivery.accepted_at) / timedelta(seconds=1) for delivery, one in attempted if isinstance(one.outcome, Sent)],
    )
    for delivery, attempt in attempted:
        if isinstance(attempt.outcome, Failed):
            logger.info(
                "attempt_failed",
                channel=channel.label,
                event_id=delivery.event_id,
                delivery_id=str(delivery.id),
                attempt=attempt.number,
                provider=attempt.provider.name if attempt.provider else "",
                failure=attempt.outcome.failure.value,
                code=attempt.outcome.code,
            )
