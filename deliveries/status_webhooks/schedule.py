"""When a status event is sent again: a pure function, over hours, so that a night's outage loses nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

DELAYS_S: Final = (5.0, 30.0, 120.0, 900.0, 3600.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0)
"""Before each retry; about 46 hours in all."""
JITTER: Final = 0.2
"""A wait is longer or shorter by at most this share, so that what failed together does not return together."""
GIVE_UP_AFTER: Final = timedelta(days=5)
"""An endpoint without a single success for so long is disabled at its next failure."""


def wait_s(*, attempt: int, chance: float, retry_after_s: float | None) -> float | None:
    """Seconds until the next attempt after the failed `attempt` (from 1); None: that was the last.

    `chance` in [0, 1) spreads. A receiver that said `Retry-After` is left alone for that long at least.
    """
    if attempt > len(DELAYS_S):
        return None
    delay = DELAYS_S[attempt - 1] * (1 - JITTER + 2 * JITTER * chance)
    return max(delay, retry_after_s or 0.0)
