"""How much one client may ask for."""

from __future__ import annotations

from typing import Final

_NOTICE_EVERY_S: Final = 1.0
_PATIENCE: Final = 500


class Rate:
    """A token bucket: `burst` at once, `per_second` for long. Times are seconds of a monotonic clock."""

    def __init__(self, *, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = float(burst)
        self._asked_at = 0.0
        self._told_at = -_NOTICE_EVERY_S
        self._refusals = 0

    def allows(self, now: float) -> bool:
        """Whether one more may pass; if so, it is counted."""
        self._left = min(self._left + (now - self._asked_at) * self._per_second, self._burst)
        self._asked_at = now
        if self._left == self._burst:
            self._refusals = 0
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def refuse(self, now: float) -> bool:
        """Count one that did not pass; returns whether to say so: once a second, or the answers are a flood themselves."""
        self._refusals += 1
        if now - self._told_at < _NOTICE_EVERY_S:
            return False
        self._told_at = now
        return True

    @property
    def hopeless(self) -> bool:
        """Refused again and again without ever pausing."""
        return self._refusals > _PATIENCE
