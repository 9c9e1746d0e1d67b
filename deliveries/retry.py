"""When to try again: a pure function of what failed, how often, and the clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from deliveries.providers.messages import Failed, Failure

LONGEST_DELAY_S = 86_400
MOST_RETRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`delays_s[n]` is the wait before retry n+1; when they are used up, the delivery is a dead letter."""

    delays_s: tuple[float, ...] = (1, 2, 4, 8, 16)
    jitter: float = 0.2
    """Each wait is lengthened by up to this share of itself, so that what failed together does not return together."""
    longest_wait_s: float = 3600
    """The longest `Retry-After` that is obeyed to the letter."""
    most_attempts: int = 100
    """A provider that asks for patience does not use up retries, but this often it is asked at most."""
    longest_life: timedelta = timedelta(days=3)
    """A delivery that waits for its provider so long is given up, whenever it expires."""


@dataclass(frozen=True, slots=True)
class Retry:
    at: datetime
    is_charged: bool = True
    """Whether one of the policy's retries is used up."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: str
    """`permanent`, `retries_exhausted` or `expired`."""


def decide(
    failed: Failed,
    *,
    attempt: int,
    retries: int,
    created_at: datetime,
    expires_at: datetime | None,
    now: datetime,
    chance: float,
    policy: RetryPolicy,
) -> Retry | GiveUp:
    """What becomes of a delivery whose attempt number `attempt` (from 1) failed, `retries` having been used up before.

    `chance` is in [0, 1). What was not begun, and what was throttled, is not charged.
    """
    is_charged = failed.is_begun and failed.failure is not Failure.THROTTLED
    if failed.failure is Failure.PERMANENT:
        return GiveUp("permanent")
    if (is_charged and retries >= len(policy.delays_s)) or attempt >= policy.most_attempts:
        return GiveUp("retries_exhausted")
    at = now + timedelta(seconds=_wait_s(failed, retries, policy) * (1 + policy.jitter * chance))
    if expires_at is not None and at >= expires_at:
        return GiveUp("expired")
    if now - created_at > policy.longest_life:
        return GiveUp("retries_exhausted")
    return Retry(at, is_charged)


def _wait_s(failed: Failed, retries: int, policy: RetryPolicy) -> float:
    asked_s = min(failed.retry_after_s or 0.0, policy.longest_wait_s)
    if not failed.is_begun:
        return max(asked_s, _SHORTEST_WAIT_S) if failed.retry_after_s is not None else _NOT_BEGUN_WAIT_S
    own_s = policy.delays_s[min(retries, len(policy.delays_s) - 1)] if policy.delays_s else 1.0
    return max(own_s, asked_s)


_NOT_BEGUN_WAIT_S = 1.0
_SHORTEST_WAIT_S = 0.1
