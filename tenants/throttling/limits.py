"""Limits as people write them: `600/minute`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from django.core.exceptions import ValidationError

OFF: Final = "off"
MOST: Final = 1_000_000
_UNITS: Final = {"s": 1, "second": 1, "m": 60, "minute": 60, "h": 3600, "hour": 3600}
_FORM: Final = re.compile(r"([0-9]{1,7})/([a-z]+)")
EXPECTED: Final = f"a number from 1 to {MOST} and a unit, such as 50/second, 600/minute or 10000/hour, or {OFF}"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`count` requests in `seconds`: as many at once, and over time no more than that rate (a token bucket)."""

    count: int
    seconds: int

    @property
    def per_second(self) -> float:
        return self.count / self.seconds


def parse_rate_limit(text: str) -> RateLimit | None:
    """`600/minute` (or `/m`), `50/second`, `10000/hour`; None for `off`. Raises ValueError for anything else."""
    if text == OFF:
        return None
    form = _FORM.fullmatch(text)
    seconds = _UNITS.get(form[2]) if form else None
    if form is None or seconds is None or not 1 <= int(form[1]) <= MOST:
        raise ValueError(f"must be {EXPECTED}, not {text!r}")
    return RateLimit(int(form[1]), seconds)


def validate_rate_limit(text: str) -> None:
    """A model field's validator."""
    try:
        parse_rate_limit(text)
    except ValueError as error:
        raise ValidationError(f"This {error}.", code="rate_limit") from error
