"""Quiet hours: when a recipient is not to be disturbed, and when that ends. Pure functions of windows, time zone and moment.

A window is written as its recipient reads the clock. It begins the first time that clock shows its start, and ends for good
the last time it shows its end, so that nobody is disturbed while their own clock says quiet:

- Where clocks go back, an hour comes twice: a window that ends in it ends the second time.
- Where clocks go forward, an hour does not come: a window that begins or ends in it does so when the clocks change.
"""

from __future__ import annotations

import datetime as dt
import functools
import zoneinfo
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY: Final = 0b1111111
"""A set of days as bits, Monday the lowest."""
MOST_WINDOWS: Final = 14

_DAY: Final = dt.timedelta(days=1)
_MINUTES: Final = 24 * 60
_UTC: Final = zoneinfo.ZoneInfo("UTC")


class QuietHours(NamedTuple):
    """In the recipient's time zone; an end that is not after the start is on the next day."""

    start: dt.time
    end: dt.time
    days: int = EVERY_DAY
    """On which days it begins, as bits. None: never, which a preference says to be free of the user's quiet hours."""


NEVER: Final = QuietHours(dt.time.min, dt.time.min, 0)
"""A preference's way to be free of the quiet hours that else would hold."""

Windows = Sequence[QuietHours]


class InvalidQuietHoursError(ValueError):
    """Windows that cannot be; the message may be shown to whoever wrote them."""


def quiet_until(windows: Windows, *, timezone: str, now: dt.datetime) -> dt.datetime | None:
    """When quiet hours that hold `now` (aware) end; None if none do. Windows that touch or overlap are one."""
    zone = zone_of(timezone)
    moment = now
    while ends := [end for begin, end in _around(windows, zone, moment) if begin <= moment < end]:
        moment = max(ends)
        if moment - now > 8 * _DAY:  # the windows leave no gap in the week; `covers_the_week` keeps them from being stored
            break
    return moment if moment > now else None


def _around(windows: Windows, zone: zoneinfo.ZoneInfo, moment: dt.datetime) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """The windows that may hold a moment, with their first moment and the first after them, in UTC."""
    today = moment.astimezone(zone).date()
    for date in (today - _DAY, today):
        for start, end, days in windows:
            if days >> date.weekday() & 1:
                until = date if end > start else date + _DAY
                yield first_shown(dt.datetime.combine(date, start), zone), _last(dt.datetime.combine(until, end), zone)


def first_shown(wall: dt.datetime, zone: zoneinfo.ZoneInfo) -> dt.datetime:
    """The first moment at which clocks show this time, or a later one if they skip it."""
    return min(_readings(wall, zone))


def _last(wall: dt.datetime, zone: zoneinfo.ZoneInfo) -> dt.datetime:
    return max(_readings(wall, zone))


def _readings(wall: dt.datetime, zone: zoneinfo.ZoneInfo) -> tuple[dt.datetime, ...]:
    """The moments at which clocks show a time: one, two, or that at which they skip it (PEP 495, "fold")."""
    early, late = (wall.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC) for fold in (0, 1))
    return (_change_between(late, early, zone),) if late < early else (early, late)


def _change_between(before: dt.datetime, after: dt.datetime, zone: zoneinfo.ZoneInfo) -> dt.datetime:
    """The first moment, to the second, with the offset that holds `after`."""
    old = before.astimezone(zone).utcoffset()
    while (gap := after - before) > dt.timedelta(seconds=1):
        middle = before + dt.timedelta(seconds=gap // dt.timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """UTC for a zone that the time zone database, which is updated now and then, no longer has."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return _UTC


def covers_the_week(windows: Windows) -> bool:
    """Whether windows leave no minute of the week to send anything in."""
    quiet: set[int] = set()
    for start, end, days in windows:
        first, last = (time.hour * 60 + time.minute for time in (start, end))
        length = last - first if last > first else last - first + _MINUTES
        for day in range(7):
            if days >> day & 1:
                quiet.update((day * _MINUTES + first + minute) % (7 * _MINUTES) for minute in range(length))
    return len(quiet) == 7 * _MINUTES


def checked(windows: Sequence[QuietHours]) -> tuple[QuietHours, ...]:
    """The windows, if they may be somebody's; raises InvalidQuietHoursError."""
    if len(windows) > MOST_WINDOWS:
        raise InvalidQuietHoursError(f"There may be at most {MOST_WINDOWS} windows.")
    if covers_the_week(windows):
        raise InvalidQuietHoursError("These quiet hours leave no minute of the week to send anything in.")
    return tuple(windows)


def fault_of(start: dt.time | None, end: dt.time | None, days: int | None) -> tuple[str, str] | None:
    """What is wrong with the quiet hours of a preference: which of its fields, and a sentence. On no day they need no times."""
    if (start is None) != (end is None):
        return "quiet_hours_end", "Quiet hours need a start and an end."
    if start is None or end is None:
        return ("quiet_hours_days", "Quiet hours on some days need a start and an end.") if days else None
    if covers_the_week([QuietHours(start, end, EVERY_DAY if days is None else days)]):
        return "quiet_hours_end", "Quiet hours on every day need a start and an end that differ."
    return None


def of_preference(start: dt.time | None, end: dt.time | None, days: int | None) -> QuietHours | None:
    """What a preference says of quiet hours: None, nothing; on no day, that there are none."""
    if days == 0:
        return NEVER
    return None if start is None or end is None else QuietHours(start, end, EVERY_DAY if days is None else days)


def in_preference(hours: QuietHours | None) -> dict[str, Any]:
    """The columns in which a preference says so; the inverse of `of_preference`."""
    if hours is None or not hours.days:
        return {"quiet_hours_start": None, "quiet_hours_end": None, "quiet_hours_days": None if hours is None else 0}
    days = None if hours.days == EVERY_DAY else hours.days
    return {"quiet_hours_start": hours.start, "quiet_hours_end": hours.end, "quiet_hours_days": days}


def days_of(names: Collection[str]) -> int:
    """Names of `DAYS` as bits."""
    return sum(1 << DAYS.index(name) for name in set(names))


def names_of(days: int) -> list[str]:
    return [name for index, name in enumerate(DAYS) if days >> index & 1]


class _Stored(msgspec.Struct):
    start: str
    end: str
    days: list[str] | None = None


_decoder = msgspec.json.Decoder(list[_Stored])


@functools.lru_cache(maxsize=4096)
def read(text: str) -> tuple[QuietHours, ...]:
    """Windows from their stored form, JSON; an empty text is none."""
    return tuple(_window(one) for one in _decoder.decode(text)) if text else ()


def of_model(stored: Any) -> tuple[QuietHours, ...]:
    """Windows from the value of a model's field: what `written` returns, or None."""
    return tuple(_window(one) for one in msgspec.convert(stored or (), list[_Stored]))


def _window(stored: _Stored) -> QuietHours:
    days = EVERY_DAY if stored.days is None else days_of(stored.days)
    return QuietHours(dt.time.fromisoformat(stored.start), dt.time.fromisoformat(stored.end), days)


def written(windows: Iterable[QuietHours]) -> list[dict[str, Any]]:
    """Windows as the API and the database have them: `[{"start": "22:00", "end": "07:00", "days": ["mon", …]}]`."""
    return [{"start": f"{one.start:%H:%M}", "end": f"{one.end:%H:%M}", "days": names_of(one.days)} for one in windows]
