"""What the services of this room refuse."""

from __future__ import annotations


class PreferenceError(Exception):
    """Refused; the message may be shown to the caller."""


class LadderFullError(PreferenceError):
    """A user has as many preferences as one may have; every message to the user has to read them all."""


class BadQuietHoursError(PreferenceError):
    """A preference's quiet hours cannot be; `field` is the one at fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
