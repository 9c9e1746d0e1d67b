"""Quiet hours, by property, over every time zone there is and the days on which its clocks change."""

import datetime as dt
import functools
import zoneinfo

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from preferences.quiet_hours import DAYS, EVERY_DAY, QuietHours, covers_the_week, days_of, names_of, quiet_until, read, written

MINUTE, HOUR, DAY = dt.timedelta(minutes=1), dt.timedelta(hours=1), dt.timedelta(days=1)
ZONES = sorted(zoneinfo.available_timezones() - {"localtime"})
FIRST, LAST = dt.datetime(1972, 1, 1, tzinfo=dt.UTC), dt.datetime(2037, 12, 31, tzinfo=dt.UTC)


@functools.cache
def changes(name):
    """The moments, to the half hour before, at which a zone's clocks are put forward or back."""
    zone, found, moment = zoneinfo.ZoneInfo(name), [], FIRST
    offset = moment.astimezone(zone).utcoffset()
    while moment < LAST:
        later = moment + 7 * DAY
        if later.astimezone(zone).utcoffset() != offset:
            low, high = moment, later
            while high - low > MINUTE * 30:
                middle = low + (high - low) / 2
                low, high = (middle, high) if middle.astimezone(zone).utcoffset() == offset else (low, middle)
            found.append(low.replace(second=0, microsecond=0))
            offset = later.astimezone(zone).utcoffset()
        moment = later
    return found


clocks = st.builds(dt.time, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59]))
windows = st.builds(QuietHours, clocks, clocks, st.sampled_from([EVERY_DAY, 0b0011111, 0b1100000, 0b0000001, 0]))


@st.composite
def situations(draw):
    """A zone and a moment, as often as not around a change of its clocks."""
    name = draw(st.sampled_from(ZONES))
    near = changes(name)
    if near and draw(st.booleans()):
        moment = draw(st.sampled_from(near)) + draw(st.integers(-36 * 60, 36 * 60)) * MINUTE
    else:
        moment = draw(st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None), timezones=st.just(dt.UTC)))
    return name, moment


def says_quiet(window, wall):
    """Whether the clock on the wall, at `wall`, is inside the window, by its hands alone."""
    time, today = wall.time(), wall.date()
    begins_on = lambda date: bool(window.days >> date.weekday() & 1)  # noqa: E731
    if window.end > window.start:
        return begins_on(today) and window.start <= time < window.end
    return (begins_on(today) and time >= window.start) or (begins_on(today - DAY) and time < window.end)


@given(situations(), st.lists(windows, max_size=3))
@example(("Europe/Vienna", dt.datetime(2026, 10, 25, 0, 45, tzinfo=dt.UTC)), [QuietHours(dt.time(22), dt.time(2, 30))])
@example(("Europe/Vienna", dt.datetime(2026, 3, 29, 0, 59, tzinfo=dt.UTC)), [QuietHours(dt.time(22), dt.time(2, 30))])
@example(("Pacific/Apia", dt.datetime(2011, 12, 30, 9, 59, tzinfo=dt.UTC)), [QuietHours(dt.time(22), dt.time(7))])
@example(("Africa/Cairo", dt.datetime(2026, 4, 23, 22, 0, tzinfo=dt.UTC)), [QuietHours(dt.time(0), dt.time(6))])
def test_nobody_is_disturbed_while_their_clock_says_quiet(situation, hours):
    name, now = situation
    until = quiet_until(hours, timezone=name, now=now)
    wall = now.astimezone(zoneinfo.ZoneInfo(name)).replace(tzinfo=None)
    if any(says_quiet(window, wall) for window in hours):
        assert until is not None
    if until is not None:
        assert until > now


@given(situations(), st.lists(windows, max_size=3))
def test_at_the_end_it_is_over_and_until_then_it_is_not(situation, hours):
    name, now = situation
    until = quiet_until(hours, timezone=name, now=now)
    if until is None or covers_the_week(hours):
        return
    assert quiet_until(hours, timezone=name, now=until) is None
    for part in (0.01, 0.5, 0.99):
        assert quiet_until(hours, timezone=name, now=now + (until - now) * part) == until


@given(situations(), windows)
def test_it_lasts_no_longer_than_written_but_for_an_hour_that_comes_twice(situation, window):
    name, now = situation
    until = quiet_until([window], timezone=name, now=now)
    if until is None or covers_the_week([window]) or window.start == window.end:
        return
    zone = zoneinfo.ZoneInfo(name)
    length = (
        dt.datetime.combine(dt.date(2000, 1, 2), window.end) - dt.datetime.combine(dt.date(2000, 1, 2), window.start)
    ) % DAY
    offsets = {(now + hours * HOUR).astimezone(zone).utcoffset() for hours in range(-26, 27)}
    shift = max(offsets) - min(offsets)
    if length + shift >= DAY:  # the pause between two windows may be the very hour that does not come: then they are one
        return
    assert until - now <= length + shift
    if len(offsets) == 1:  # on all other days the end is what the clock shows
        assert until.astimezone(zone).time() == window.end


@given(
    windows, st.sampled_from(ZONES), st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2030, 1, 1), timezones=st.just(dt.UTC))
)
def test_a_day_that_is_not_named_is_not_quiet(window, name, now):
    never = window._replace(days=0)
    assert quiet_until([never], timezone=name, now=now) is None


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-07-01T19:59+00:00", None),  # 21:59 in Vienna
        ("2026-07-01T20:00+00:00", "2026-07-02T05:00+00:00"),
        ("2026-07-02T04:59+00:00", "2026-07-02T05:00+00:00"),
        ("2026-07-02T05:00+00:00", None),
        ("2026-10-24T20:00+00:00", "2026-10-25T06:00+00:00"),  # the night that is an hour longer
        ("2026-03-28T21:00+00:00", "2026-03-29T05:00+00:00"),  # and the one that is an hour shorter
    ],
)
def test_a_night_in_vienna(now, until):
    night = QuietHours(dt.time(22), dt.time(7))
    found = quiet_until([night], timezone="Europe/Vienna", now=dt.datetime.fromisoformat(now))
    assert found == (dt.datetime.fromisoformat(until) if until else None)


def test_a_weekend_is_one_window():
    hours = [QuietHours(dt.time(20), dt.time(0), days_of(["fri"])), QuietHours(dt.time(0), dt.time(0), days_of(["sat", "sun"]))]
    friday = dt.datetime(2026, 7, 3, 20, 30, tzinfo=dt.UTC)
    assert quiet_until(hours, timezone="UTC", now=friday) == dt.datetime(2026, 7, 6, tzinfo=dt.UTC)


def test_a_week_without_a_gap_is_told_apart():
    whole = QuietHours(dt.time(0), dt.time(0))
    assert covers_the_week([whole])
    assert covers_the_week([QuietHours(dt.time(22), dt.time(7)), QuietHours(dt.time(7), dt.time(22))])
    assert not covers_the_week([QuietHours(dt.time(0), dt.time(23, 59))])
    assert not covers_the_week([whole._replace(days=0b0111111)])


def test_a_zone_that_is_no_more_counts_as_utc():
    night, now = QuietHours(dt.time(22), dt.time(7)), dt.datetime(2026, 7, 1, 23, tzinfo=dt.UTC)
    assert quiet_until([night], timezone="Mars/Olympus", now=now) == dt.datetime(2026, 7, 2, 7, tzinfo=dt.UTC)


@given(st.lists(windows, max_size=4))
def test_what_is_written_is_read_again(hours):
    assert list(read(msgspec.json.encode(written(hours)).decode())) == hours
    assert all(days_of(names_of(one.days)) == one.days for one in hours)
    assert read("") == ()
    assert names_of(EVERY_DAY) == list(DAYS)
