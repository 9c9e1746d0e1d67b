"""Which digest a delivery joins, and when that goes out. Pure functions of schedule, time zone and moment."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from notifications.digests.models import DIGEST_TYPE, Cadence
from notifications.patterns import fits
from notifications.wire import DigestPlan, Window
from preferences.quiet_hours import first_shown, zone_of

USUAL: Final = DigestPlan(
    id=UUID(int=0),
    event_type="*",
    category="",
    channel=None,
    cadence=Cadence.DAILY.value,
    at="09:00",
    weekday=0,
    window_s=600,
    slides=False,
    longest_s=3600,
    template=DIGEST_TYPE,
    most_items=20,
)
"""Where a tenant's own schedules say nothing: once a day."""


@functools.lru_cache(maxsize=4096)
def plan_for(plans: tuple[DigestPlan, ...], event_type: str, category: str, channel: int) -> DigestPlan:
    """The first schedule that is for deliveries of this kind."""
    for plan in plans:
        if (
            plan.channel in (None, channel)
            and (not plan.category or plan.category == category)
            and fits(plan.event_type, event_type)
        ):
            return plan
    return USUAL


def window_at(plan: DigestPlan, *, timezone: str, now: datetime) -> Window:
    """The window that a digest has which is opened now."""
    schedule_id = None if plan is USUAL else plan.id
    if plan.cadence == Cadence.WINDOW:
        due = now + timedelta(seconds=plan.window_s)
        closes_by = now + timedelta(seconds=max(plan.longest_s, plan.window_s)) if plan.slides else due
    else:
        due = closes_by = next_time(plan.cadence, time.fromisoformat(plan.at), plan.weekday, zone=zone_of(timezone), now=now)
    return Window(schedule_id, due, closes_by, plan.template, plan.most_items)


def next_time(cadence: str, at: time, weekday: int, *, zone: ZoneInfo, now: datetime) -> datetime:
    """The first moment after `now` at which the clocks of `zone` show the time (hourly: the minute), on the day (weekly).

    On days on which clocks skip that time it is when they do; of a time that comes twice, the first.
    """
    local = now.astimezone(zone)
    if cadence == Cadence.HOURLY:
        return _next_minute(now.astimezone(UTC).replace(second=0, microsecond=0), at.minute, zone)
    days = range(-1, 3) if cadence == Cadence.DAILY else range(-1, 9)
    return min(moment for moment in _moments(local.date(), days, at, zone, _weekday(cadence, weekday)) if moment > now)


def _next_minute(now: datetime, minute: int, zone: ZoneInfo) -> datetime:
    """The first whole minute after `now`, itself one, at which clocks show `minute`."""
    local = now.astimezone(zone)
    usual = now + timedelta(minutes=60 - (local.minute - minute) % 60)
    if usual.astimezone(zone).utcoffset() == local.utcoffset():
        return usual
    # Clocks change by less than an hour in some places, and may leave the minute out, or show it once more.
    ahead = (now + timedelta(minutes=count) for count in range(1, 2 * 60))
    return next((moment for moment in ahead if moment.astimezone(zone).minute == minute), usual)


def _weekday(cadence: str, weekday: int) -> int | None:
    return weekday if cadence == Cadence.WEEKLY else None


def _moments(today: date, days: Sequence[int], at: time, zone: ZoneInfo, weekday: int | None) -> list[datetime]:
    dates = [today + timedelta(days=offset) for offset in days]
    return [
        first_shown(datetime.combine(one, at), zone).astimezone(UTC)
        for one in dates
        if weekday is None or one.weekday() == weekday
    ]
