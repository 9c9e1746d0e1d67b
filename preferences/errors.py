"""What the services of this room refuse."""

from __future__ import annotations


class PreferenceError(Exception):
    """Refused; the message may be shown to the caller."""


class LadderFullError(PreferenceError):
    """A user has as many preferences as one may have; every message to the user has to read them all."""


class HalfQuietHoursError(PreferenceError):
    """Quiet hours need both a start and an end, and they must differ."""
