"""When digests are due: whatever the zone, and whatever its clocks do."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications.digests.plans import USUAL, next_time, plan_for, window_at
from notifications.wire import DigestPlan
from tenants.vocabulary import Channel

ZONES = sorted(zoneinfo.available_timezones())
LONGEST = {"hourly": timedelta(minutes=90), "daily": timedelta(hours=26), "weekly": timedelta(days=8)}
"""The clocks of Lord Howe change by half an hour, those of Troll by two."""
HOUR = timedelta(hours=1)
SUMMER, WINTER = datetime(2031, 7, 1, tzinfo=UTC), datetime(2031, 12, 1, tzinfo=UTC)

cadences = st.sampled_from(sorted(LONGEST))
times = st.builds(time, st.integers(0, 23), st.integers(0, 59))


def shows(moment: datetime, cadence: str, at: time, weekday: int, zone: zoneinfo.ZoneInfo) -> bool:
    local = moment.astimezone(zone)
    if cadence == "hourly":
        return local.minute == at.minute
    return (local.hour, local.minute) == (at.hour, at.minute) and (cadence == "daily" or local.weekday() == weekday)


def is_change(moment: datetime, zone: zoneinfo.ZoneInfo) -> bool:
    """Whether clocks were put forward at this moment."""
    before, after = ((moment - step).astimezone(zone).utcoffset() for step in (timedelta(seconds=1), timedelta()))
    return before < after


def check(cadence: str, at: time, weekday: int, zone: zoneinfo.ZoneInfo, now: datetime) -> None:
    due = next_time(cadence, at, weekday, zone=zone, now=now)
    assert due > now
    assert due - now <= LONGEST[cadence]
    assert due.second == due.microsecond == 0
    assert due.utcoffset() == timedelta()
    assert shows(due, cadence, at, weekday, zone) or (cadence != "hourly" and is_change(due, zone))


@given(
    cadence=cadences,
    at=times,
    weekday=st.integers(0, 6),
    zone=st.sampled_from(ZONES),
    now=st.datetimes(datetime(2024, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC)),
)
@settings(max_examples=400, deadline=None)
def test_it_is_after_now_and_soon_and_as_the_clock_shows(cadence, at, weekday, zone, now):
    check(cadence, at, weekday, zoneinfo.ZoneInfo(zone), now)


moments = st.datetimes(datetime(2024, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC))


@given(at=times, weekday=st.integers(0, 6), zone=st.sampled_from(ZONES), now=moments)
@settings(max_examples=100, deadline=None)
def test_no_time_in_between_is_missed(at, weekday, zone, now):
    """Asked again at any moment before it is due, the answer is the same."""
    place = zoneinfo.ZoneInfo(zone)
    for cadence in LONGEST:
        due = next_time(cadence, at, weekday, zone=place, now=now)
        for part in (0.25, 0.5, 0.999):
            assert next_time(cadence, at, weekday, zone=place, now=now + (due - now) * part) == due


def changes(zone: zoneinfo.ZoneInfo) -> list[datetime]:
    """The moments of two years at which its clocks change, to the minute."""
    found = []
    moment, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    while moment < end:
        later = moment + timedelta(days=4)
        if moment.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            low, high = moment, later
            while high - low > timedelta(minutes=1):
                middle = (low + (high - low) / 2).replace(second=0, microsecond=0)
                if middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset():
                    low = middle
                else:
                    high = middle
            found.append(high)
        moment = later
    return found


def test_every_change_of_every_zones_clocks():
    """Around each, for times of day before, in and after the hour that is left out or comes twice."""
    seen = set()
    for name in ZONES:
        zone = zoneinfo.ZoneInfo(name)
        for change in changes(zone):
            sign = (change - HOUR).astimezone(zone).utcoffset(), change.astimezone(zone).utcoffset(), change
            if sign in seen:
                continue
            seen.add(sign)
            for minutes in (-90, -45, -15, -1, 0, 15, 30, 59, 60, 90):
                at = (change + timedelta(minutes=minutes)).astimezone(zone).time().replace(second=0, microsecond=0)
                for hours in (-26, -2, -1, -0.5, -0.1, 0, 0.1, 1, 3):
                    for cadence in LONGEST:
                        check(cadence, at, change.astimezone(zone).weekday(), zone, change + timedelta(hours=hours))
    assert len(seen) > 20


def test_where_clocks_change_by_half_an_hour_the_minute_is_the_one_they_show():
    zone = zoneinfo.ZoneInfo("Australia/Lord_Howe")
    skips = datetime(2026, 10, 3, 15, 30, tzinfo=UTC)  # two o'clock becomes half past two
    due = next_time("hourly", time(0, 15), 0, zone=zone, now=skips - timedelta(minutes=10))
    assert due.astimezone(zone).time() == time(3, 15)


@pytest.mark.parametrize(
    ("at", "now", "due"),
    [
        (time(2, 30), datetime(2031, 3, 29, 12, tzinfo=UTC), datetime(2031, 3, 30, 1, tzinfo=UTC)),  # skipped: when it is
        (time(2, 30), datetime(2031, 10, 25, 12, tzinfo=UTC), datetime(2031, 10, 26, 0, 30, tzinfo=UTC)),  # twice: the first
        (time(2, 30), datetime(2031, 10, 26, 0, 45, tzinfo=UTC), datetime(2031, 10, 27, 1, 30, tzinfo=UTC)),
    ],
)
def test_vienna(at, now, due):
    assert next_time("daily", at, 0, zone=zoneinfo.ZoneInfo("Europe/Vienna"), now=now) == due


def plan(**values) -> DigestPlan:
    defaults = {name: getattr(USUAL, name) for name in USUAL.__struct_fields__}
    return DigestPlan(**(defaults | {"id": UUID(int=7)} | values))


def test_the_first_schedule_that_fits_counts_and_without_any_it_is_daily():
    plans = (
        plan(event_type="order.*", channel=Channel.SMS),
        plan(event_type="order.*", category="sales"),
        plan(event_type="*", category="social"),
    )
    assert plan_for(plans, "order.paid", "", Channel.SMS) is plans[0]
    assert plan_for(plans, "order.paid", "sales", Channel.EMAIL) is plans[1]
    assert plan_for(plans, "comment", "social", Channel.EMAIL) is plans[2]
    assert plan_for(plans, "order.paid", "", Channel.EMAIL) is USUAL
    window = window_at(USUAL, timezone="Europe/Vienna", now=SUMMER)
    assert (window.schedule_id, window.due_at, window.template) == (None, SUMMER.replace(hour=7), "digest")
    assert window_at(USUAL, timezone="Nowhere/Known", now=WINTER).due_at == WINTER.replace(hour=9)


@given(window_s=st.integers(10, 10_000), longest_s=st.integers(10, 10_000), slides=st.booleans())
def test_a_window_never_closes_before_it_is_due(window_s, longest_s, slides):
    made = window_at(plan(cadence="window", window_s=window_s, longest_s=longest_s, slides=slides), timezone="UTC", now=SUMMER)
    assert made.due_at == SUMMER + timedelta(seconds=window_s)
    assert made.closes_by == SUMMER + timedelta(seconds=max(window_s, longest_s) if slides else window_s)
