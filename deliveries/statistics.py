"""What became of the deliveries of the last hours: exact figures, in three statements whatever the period.

They read every delivery of the period: 70 ms for 33,000 of them, 2 s for 900,000 (measured on two cores, a million stored).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.contrib.postgres.fields import ArrayField
from django.db.models import Aggregate, Count, DurationField, F, Q, QuerySet, Sum
from django.db.models.functions import Trunc

from deliveries.models import Delivery
from deliveries.states import Status
from tenants.ids import created_within
from tenants.vocabulary import Channel

LONGEST_PERIOD_H = 2160
_HOURLY_UP_TO_H = 72
_TOP_EVENT_TYPES = 10

_SUCCEEDED = (Status.SENT, Status.DELIVERED)
_ENDED = (*_SUCCEEDED, Status.FAILED, Status.BOUNCED, Status.EXPIRED)
"""What the success rate is a share of. What is on its way is not known yet; what was suppressed or canceled was not meant
to arrive.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds from the event's acceptance to the hand-over; None where nothing was handed over."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    total: int
    sent: int
    delivered: int
    failed: int
    bounced: int
    suppressed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelMetrics(Counts):
    channel: Channel
    success_rate: float | None
    avg_attempts: float | None
    latency_ms: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket(Counts):
    """One hour or day of the timeline."""

    start: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTypeCount:
    event_type: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    period: str
    total_deliveries: int
    success_rate: float | None
    by_status: dict[str, int]
    channel_metrics: list[ChannelMetrics]
    top_event_types: list[EventTypeCount]
    timeline: list[Bucket]


@dataclass(frozen=True, slots=True)
class _Cell:
    """One group of the count: a channel's deliveries of one status in one bucket."""

    channel: int
    status: int
    start: datetime
    total: int
    tries: int
    tried: int


class _Percentiles(Aggregate):
    function = "PERCENTILE_CONT"
    template = "%(function)s(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = ArrayField(DurationField())


def statistics_of(deliveries: QuerySet[Delivery], *, hours: int, now: datetime) -> Statistics:
    """The statistics of those of `deliveries` that were created in the `hours` before `now`."""
    recent = deliveries.filter(created_within(now - timedelta(hours=hours), None)).order_by()
    unit = timedelta(hours=1) if hours <= _HOURLY_UP_TO_H else timedelta(days=1)
    cells = _cells(recent, unit)
    return Statistics(
        period=f"{hours}h",
        total_deliveries=sum(cell.total for cell in cells),
        success_rate=_success_rate(cells),
        by_status={str(status.label): total for status, total in _by_status(cells).items()},
        channel_metrics=_channel_metrics(cells, _latencies(recent)),
        top_event_types=_top_event_types(recent),
        timeline=_timeline(cells, since=now - timedelta(hours=hours), now=now, unit=unit),
    )


def _cells(recent: QuerySet[Delivery], unit: timedelta) -> list[_Cell]:
    start = Trunc("created_at", "hour" if unit < timedelta(days=1) else "day", tzinfo=UTC)
    rows = recent.values("channel", "status", start=start).annotate(
        total=Count("*"), tries=Sum("attempt_count"), tried=Count("id", filter=Q(attempt_count__gt=0))
    )
    return [_Cell(**row) for row in rows]


def _latencies(recent: QuerySet[Delivery]) -> dict[int, Latency]:
    rows = (
        recent.filter(sent_at__isnull=False)
        .values("channel")
        .annotate(percentiles=_Percentiles(F("sent_at") - F("accepted_at")))
    )
    return {
        row["channel"]: Latency(
            **dict(zip(("p50", "p95", "p99"), (1000 * wait.total_seconds() for wait in row["percentiles"]), strict=True))
        )
        for row in rows
    }


def _top_event_types(recent: QuerySet[Delivery]) -> list[EventTypeCount]:
    rows = recent.values("event_type").annotate(count=Count("*")).order_by("-count", "event_type")[:_TOP_EVENT_TYPES]
    return [EventTypeCount(**row) for row in rows]


def _channel_metrics(cells: list[_Cell], latencies: dict[int, Latency]) -> list[ChannelMetrics]:
    """One entry for each channel that had deliveries."""
    metrics = []
    for channel in Channel:
        mine = [cell for cell in cells if cell.channel == channel]
        if mine:
            tried = sum(cell.tried for cell in mine)
            metrics.append(
                ChannelMetrics(
                    channel=channel,
                    success_rate=_success_rate(mine),
                    avg_attempts=sum(cell.tries for cell in mine) / tried if tried else None,
                    latency_ms=latencies.get(channel, Latency()),
                    **_counts(mine),
                )
            )
    return metrics


def _timeline(cells: list[_Cell], *, since: datetime, now: datetime, unit: timedelta) -> list[Bucket]:
    """Every bucket the period touches, also the empty ones, oldest first."""
    by_start: dict[datetime, list[_Cell]] = {}
    for cell in cells:
        by_start.setdefault(cell.start, []).append(cell)
    start = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if unit >= timedelta(days=1):
        start = start.replace(hour=0)
    buckets = []
    while start <= now:
        buckets.append(Bucket(start=start, **_counts(by_start.get(start, []))))
        start += unit
    return buckets


def _by_status(cells: Iterable[_Cell]) -> dict[Status, int]:
    totals: Counter[int] = Counter()
    for cell in cells:
        totals[cell.status] += cell.total
    return {status: totals[status] for status in Status}


def _counts(cells: list[_Cell]) -> dict[str, int]:
    totals = _by_status(cells)
    shown = (Status.SENT, Status.DELIVERED, Status.FAILED, Status.BOUNCED, Status.SUPPRESSED)
    return {"total": sum(totals.values())} | {str(status.label): totals[status] for status in shown}


def _success_rate(cells: Iterable[_Cell]) -> float | None:
    totals = _by_status(cells)
    ended = sum(totals[status] for status in _ENDED)
    return sum(totals[status] for status in _SUCCEEDED) / ended if ended else None
