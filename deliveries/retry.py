"""When to try again: a pure function of what failed, how often, and the clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from deliveries.providers.base import Failed, Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`delays_s[n]` is the wait after attempt n+1; when they are used up, the delivery is a dead letter."""

    delays_s: tuple[float, ...] = (1, 2, 4, 8, 16)
    jitter: float = 0.2
    """Each wait is lengthened by up to this share of itself, so that what failed together does not return together."""
    longest_wait_s: float = 3600
    """The longest `Retry-After` that is obeyed to the letter."""


@dataclass(frozen=True, slots=True)
class Retry:
    at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: str
    """`permanent`, `retries_exhausted` or `expired`."""


def decide(
    failed: Failed, *, attempt: int, now: datetime, chance: float, expires_at: datetime | None, policy: RetryPolicy
) -> Retry | GiveUp:
    """What becomes of a delivery whose attempt number `attempt` (from 1) failed. `chance` is in [0, 1)."""
    if failed.failure is Failure.PERMANENT:
        return GiveUp("permanent")
    if attempt > len(policy.delays_s):
        return GiveUp("retries_exhausted")
    wait_s = policy.delays_s[attempt - 1] * (1 + policy.jitter * chance)
    if failed.retry_after_s is not None:
        wait_s = max(wait_s, min(failed.retry_after_s, policy.longest_wait_s))
    at = now + timedelta(seconds=wait_s)
    if expires_at is not None and at >= expires_at:
        return GiveUp("expired")
    return Retry(at)
