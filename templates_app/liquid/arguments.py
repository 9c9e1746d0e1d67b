"""What the filters that format take: values and arguments, read strictly. Raises FormatError with a text that says what is
wrong, and of a value from an event no more than its kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from babel import Locale
from babel.core import get_global
from babel.dates import PATTERN_CHARS, DateTimePattern, parse_pattern
from liquid.exceptions import FilterArgumentError
from liquid.undefined import Undefined

from templates_app.liquid.regions import known_locale, known_zone

STYLES: Final = ("short", "medium", "long", "full")
MOST_DIGITS: Final = 8
"""Of a fraction."""
MOST: Final = 10**18
"""Numbers are smaller than this, whatever their sign."""
_LONGEST: Final = 100
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_EPOCH = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_MOMENT = re.compile(_DATE + r"(?P<time>[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?([Zz]|[+-][0-9:]+)?)?")
_QUOTED = re.compile(r"'[^']*'")
_TIME_FIELDS: Final = frozenset("abBhHKkmsSAzZOvVxX")
_SAMPLE: Final = datetime(2026, 3, 1, 14, 30, 5, tzinfo=UTC)
_CURRENCIES: Final = frozenset(get_global("all_currencies"))


class FormatError(FilterArgumentError):
    """A value or an argument that cannot be formatted."""

    def __init__(self, message: str) -> None:
        super().__init__(message, token=None)


class Pattern:
    """A pattern of CLDR's date fields (UTS 35, part 4)."""

    __slots__ = ("has_time", "parsed")

    def __init__(self, parsed: DateTimePattern, *, has_time: bool) -> None:
        self.parsed = parsed
        self.has_time = has_time


def kind_of(value: object) -> str:
    """What a value is, for people; never the value itself."""
    if isinstance(value, bool):
        return "true or false"
    for kinds, name in _KINDS:
        if isinstance(value, kinds):
            return name
    return f"of the type {type(value).__name__}"


_KINDS: Final[tuple[tuple[Any, str], ...]] = (
    (str, "text"),
    (int | float | Decimal, "a number"),
    (list | tuple | range, "a list"),
    (dict, "an object"),
    (date, "a date"),
)


def number(value: object) -> Decimal:
    """A JSON number, or text that is written like one."""
    if isinstance(value, str):
        if len(value) > _LONGEST or not _NUMBER.fullmatch(value):
            raise FormatError("the value is text that is no number")
        amount = Decimal(str(value))
    elif isinstance(value, int) and not isinstance(value, bool):
        amount = Decimal(max(-MOST, min(value, MOST)))  # a Decimal of a million bits takes seconds
    elif isinstance(value, float | Decimal):
        amount = Decimal(str(value))
    else:
        raise FormatError(f"the value must be a number, but is {kind_of(value)}")
    if not amount.is_finite():
        raise FormatError("the value is a number without an end")
    if abs(amount) >= MOST:
        raise FormatError("the value is a number of more than 18 digits")
    return amount


def moment(value: object, zone: ZoneInfo) -> datetime | date:
    """RFC 3339 (a date and time with its offset, or a date alone), seconds since 1970, `now` or `today`; in `zone`, unless
    it is a date alone.
    """
    try:
        found = _moment(value)
        return found.astimezone(zone) if isinstance(found, datetime) else found
    except (ValueError, OverflowError, OSError) as error:
        raise FormatError(f"the value is {kind_of(value)} that is no date between the years 1 and 9999") from error


def _moment(value: object) -> datetime | date:
    if isinstance(value, str):
        return _written_moment(str(value))
    if isinstance(value, datetime):
        return _with_offset(value)
    if isinstance(value, date):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    raise FormatError(f"the value must be a date, but is {kind_of(value)}")


def _written_moment(text: str) -> datetime | date:
    if text in {"now", "today"}:
        return datetime.now(UTC)
    if len(text) > _LONGEST:
        raise FormatError("the value is text that is no date")
    if _EPOCH.fullmatch(text):
        return datetime.fromtimestamp(float(text), UTC)
    found = _MOMENT.fullmatch(text)
    if not found:
        raise FormatError("the value is text that is no date; write dates as RFC 3339 does, 2026-03-01T14:30:00Z")
    if not found["time"]:
        return date.fromisoformat(text)
    return _with_offset(datetime.fromisoformat(text.upper()))


def _with_offset(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise FormatError("the value is a time without an offset; RFC 3339 ends it in Z or +02:00")
    return value


def style(value: object) -> str | Pattern:
    """`short`, `medium`, `long`, `full`, or a pattern of CLDR's."""
    if not isinstance(value, str):
        raise FormatError(f"the format must be text, but is {kind_of(value)}")
    return str(value) if value in STYLES else _pattern(str(value))


@lru_cache(maxsize=1024)
def _pattern(text: str) -> Pattern:
    letters = {each for each in _QUOTED.sub("", text) if each.isascii() and each.isalpha()}
    if unknown := sorted(letters - PATTERN_CHARS.keys()):
        raise _no_pattern(text, f"{unknown[0]} is no field of one; words stand in ' '")
    if not letters or len(text) > _LONGEST:
        raise _no_pattern(text, "it is too long" if letters else "it has no field")
    try:
        parsed = parse_pattern(text)
        parsed.apply(_SAMPLE, Locale("en"))
    except (ValueError, LookupError, NotImplementedError) as error:
        raise _no_pattern(text, str(error)) from error
    return Pattern(parsed, has_time=not letters.isdisjoint(_TIME_FIELDS))


def _no_pattern(text: str, reason: str) -> FormatError:
    return FormatError(f"the format {text[:20]!r} is none of {', '.join(STYLES)} and no date pattern: {reason}"[:300])


def digits(value: object) -> int:
    """How many digits a fraction has."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_DIGITS:
        raise FormatError(f"the number of digits must be a whole number from 0 to {MOST_DIGITS}")
    return value


def currency(value: object) -> str:
    """An ISO 4217 code, in capitals."""
    code = str(value).upper() if isinstance(value, str) else ""
    if code not in _CURRENCIES:
        raise FormatError(f"the currency must be an ISO 4217 code like EUR, but is {_shown(value)}")
    return code


def locale(value: object) -> Locale:
    """The locale an argument names."""
    found = known_locale(str(value)) if isinstance(value, str) else None
    if found is None:
        raise FormatError(f"the locale must be a known one like de-AT, but is {_shown(value)}")
    return found


def zone(value: object) -> ZoneInfo:
    """The time zone an argument, or the recipient, names."""
    found = known_zone(str(value)) if isinstance(value, str) else None
    if found is None:
        raise FormatError(f"the time zone must be an IANA name like Europe/Vienna, but is {_shown(value)}")
    return found


def _shown(name: object) -> str:
    """A name that was given, for the message that refuses it; of anything else only the kind."""
    return str(name)[:20] or "empty" if isinstance(name, str) else kind_of(name)


def given(value: object, read: Callable[[object], Any], default: Any) -> Any:
    """An argument as `read` takes it; `default` if it is null or an optional variable that was not given."""
    return default if value is None or isinstance(value, Undefined) else read(value)
