"""Which limits a message comes under, and what is counted for each. Pure functions."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Final

from notifications.limits.counting import Asked, Count
from notifications.limits.models import Excess, Per
from notifications.patterns import fits
from notifications.wire import LimitPlan, TenantFacts, Verdict, Work
from tenants.vocabulary import Channel


@functools.lru_cache(maxsize=4096)
def limits_on(limits: tuple[LimitPlan, ...], event_type: str, category: str, channel: int) -> tuple[LimitPlan, ...]:
    """Those of a tenant's limits that messages of this kind come under."""
    return tuple(
        limit
        for limit in limits
        if limit.channel in (None, channel)
        and (not limit.category or limit.category == category)
        and fits(limit.event_type, event_type)
    )


def asked_of(work: Work, tenant: TenantFacts, verdict: Verdict, recipient: str, *, passes: bool) -> Asked | None:
    """What one message asks of its limits; None if it comes under none.

    `recipient` is who or where; with `passes` it is only counted. Its name is the delivery's identity, so that asking again,
    for a chunk that is repeated or a delivery that was put off, takes no second place.
    """
    limits = limits_on(tenant.limits, work.event_type, work.category, verdict.channel)
    if not limits:
        return None
    name = _digest(f"{work.id.hex}\n{verdict.channel}\n{recipient}", 12)
    parts = {Per.RECIPIENT: recipient, Per.CHANNEL: str(verdict.channel), Per.EVENT_TYPE: work.event_type}
    excess = _excess_of_digests if work.options.digest else _excess
    return Asked(name, tuple(_count(limit, parts, work.sandbox, excess(limit)) for limit in limits), passes)


def _count(limit: LimitPlan, parts: Mapping[Per, str], sandbox: bool, excess: Excess) -> Count:
    counted = "\n".join(parts[Per(name)] for name in sorted(limit.per))
    key = f"limit:{limit.id.hex}:{_digest(counted, 12).hex()}{':sandbox' if sandbox else ''}"
    return Count(key, limit.count, limit.window_s, excess)


def _excess(limit: LimitPlan) -> Excess:
    return Excess(limit.excess)


def _excess_of_digests(limit: LimitPlan) -> Excess:
    """What was collected already is not collected again, nor thrown away: it waits."""
    return Excess.DEFER


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


REASONS: Final[Mapping[Excess, str]] = {Excess.SUPPRESS: "rate_limited", Excess.DEFER: "rate_limited", Excess.DIGEST: "digest"}
_ANSWERS: Final[Mapping[Excess, str]] = {
    Excess.SUPPRESS: "it is not sent",
    Excess.DEFER: "it waits for its turn",
    Excess.DIGEST: "it is collected in the digest",
}
_WHAT: Final[Mapping[str, str]] = {
    Per.RECIPIENT: " to this recipient",
    Per.CHANNEL: " by {channel}",
    Per.EVENT_TYPE: " of {event_type}",
}


def sentence(limit: LimitPlan, work: Work, verdict: Verdict, excess: Excess) -> str:
    """`The limit “marketing” (3 in 86400 s to this recipient) is reached: it is not sent.`"""
    what = "".join(_WHAT[name] for name in sorted(limit.per)).format(
        channel=Channel(verdict.channel).label, event_type=work.event_type
    )
    return f"The limit “{limit.name}” ({limit.count} in {limit.window_s} s{what}) is reached: {_ANSWERS[excess]}."
