"""Quiet hours as people write and read them: one window a line, `mon-fri 22:00-07:00`."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Final

from preferences.quiet_hours import DAYS, EVERY_DAY, InvalidQuietHoursError, QuietHours, checked, days_of, names_of

_NAMES: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MIDNIGHT: Final = "24:00"
"""May be written for the end of a day; it is the start of the next."""
_CLOCK: Final = r"[0-9]{1,2}:[0-9]{2}"
_LINE: Final = re.compile(rf"(?P<days>[^0-9]*)(?P<start>{_CLOCK})\s*(?:-|–|to)\s*(?P<end>{_CLOCK})", re.IGNORECASE)


def parsed(text: str) -> tuple[QuietHours, ...]:
    """The windows of a text; raises InvalidQuietHoursError naming the line. Without days, a window is every day's."""
    lines = enumerate(text.splitlines(), start=1)
    return checked([_window(number, line.strip()) for number, line in lines if line.strip()])


def as_text(windows: Iterable[QuietHours]) -> str:
    """What `parsed` reads."""
    return "\n".join(f"{','.join(_runs(one.days, '-'))} {one.start:%H:%M}-{one.end:%H:%M}" for one in windows)


def shown(window: QuietHours) -> str:
    """`22:00 – 07:00`, `Mon–Fri 22:00 – 07:00`, `Sat, Sun all day`; `none` for one that never begins."""
    if not window.days:
        return "none"
    days = "" if window.days == EVERY_DAY else ", ".join(_runs(window.days, "–")).title()
    if window.start == window.end == dt.time.min:
        return f"{days} all day".strip()
    return f"{days} {window.start:%H:%M} – {window.end:%H:%M}{' (24 hours)' if window.start == window.end else ''}".strip()


def _runs(days: int, dash: str) -> Iterator[str]:
    """Three days or more on end as `mon-fri`, the others one by one."""
    for _, group in itertools.groupby(enumerate(map(DAYS.index, names_of(days))), key=lambda one: one[1] - one[0]):
        run = [DAYS[day] for _, day in group]
        if len(run) > 2:
            yield f"{run[0]}{dash}{run[-1]}"
        else:
            yield from run


def _window(number: int, line: str) -> QuietHours:
    found = _LINE.fullmatch(line)
    if found is None:
        raise _unreadable(number)
    days = found["days"].strip().strip(",")
    bits = _days(number, days) if days else EVERY_DAY
    end = "00:00" if found["end"] == _MIDNIGHT else found["end"]
    return QuietHours(_clock(number, found["start"]), _clock(number, end), bits)


def _unreadable(number: int) -> InvalidQuietHoursError:
    return InvalidQuietHoursError(f"Line {number} is not written like mon-fri 22:00-07:00.")


def _clock(number: int, text: str) -> dt.time:
    try:
        return dt.time.fromisoformat(text.zfill(5))
    except ValueError as error:
        raise InvalidQuietHoursError(f"Line {number}: {text} is not a time of day.") from error


def _days(number: int, text: str) -> int:
    """`mon`, `mon-fri`, `fri-mon`, `mon,wed`, `Monday, Friday` as bits."""
    bits = 0
    for part in re.split(r"[,\s]+", re.sub(r"\s*[-–]\s*", "-", text)):
        first, *last = [_day(number, name) for name in part.split("-", 1)]
        length = (last[0] - first) % len(DAYS) if last else 0
        bits |= days_of([DAYS[(first + step) % len(DAYS)] for step in range(length + 1)])
    return bits


def _day(number: int, name: str) -> int:
    for index, (short, long) in enumerate(zip(DAYS, _NAMES, strict=True)):
        if name.lower() in {short, long}:
            return index
    if not name:
        raise _unreadable(number)
    raise InvalidQuietHoursError(f"Line {number}: {name} is not a day of the week; days are {', '.join(DAYS)}.")
