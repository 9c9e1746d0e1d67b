"""The admin's first page: what the last day's deliveries came to, what waits, what failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import DatabaseError
from django.http import HttpRequest
from django.urls import reverse
from django.utils.timezone import localtime
from django.utils.timezone import now as clock

from config.operations.backlog import Backlog, count_backlog
from deliveries.admin.presentation import link, shortened
from deliveries.explanations import sentence
from deliveries.models import Delivery
from deliveries.queues import STATUS_WEBHOOKS
from deliveries.selectors import every_tenant
from deliveries.states import Status
from deliveries.statistics import Bucket, Latency, Statistics, statistics_of
from notifications.queues import PIPELINE, send_queue
from tenants.ids import created_within
from tenants.vocabulary import Channel

HOURS: Final = 24
_FAILURES_SHOWN: Final = 8

# Mid-tones that can be told apart on a light and on a dark page.
_COLOURS: Final = {
    "arrived": "#22a06b",
    "failed": "#e2483d",
    "suppressed": "#e2a33d",
    "other": "#8590a2",
}
_CHART_WIDTH, _CHART_HEIGHT, _GAP = 720, 160, 4


@dataclass(frozen=True, slots=True)
class Segment:
    """A rectangle of the chart, in its own units."""

    x: float
    y: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour of the chart."""

    title: str
    label: str
    x: float
    segments: list[Segment]


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's `DASHBOARD_CALLBACK`: adds the figures for staff who may see deliveries."""
    if request.user.has_perm("deliveries.view_delivery"):
        now = clock()
        stats = statistics_of(Delivery.objects.all(), hours=HOURS, now=now)
        backlog = _backlog()
        context |= {
            "title": "Overview",
            "cards": list(_cards(stats, backlog)),
            "channels": _channel_table(stats, backlog or Backlog({}, {})),
            "statuses": list(_statuses(stats)),
            "bars": _bars(stats.timeline),
            "legend": _COLOURS,
            "chart": {
                "width": _CHART_WIDTH,
                "height": _CHART_HEIGHT,
                "foot": _CHART_HEIGHT + 16,
                "step": _CHART_WIDTH / len(stats.timeline),
            },
            "failures": _failure_table(now - timedelta(hours=HOURS)),
        }
    return context


def _backlog() -> Backlog | None:
    """None if PostgreSQL takes too long to count: the page is shown without."""
    try:
        return count_backlog()
    except DatabaseError:
        return None


def _cards(stats: Statistics, backlog: Backlog | None) -> Iterator[dict[str, str]]:
    """The figures at the top: a title, a number, what it means, where it leads."""
    failed = stats.by_status[str(Status.FAILED.label)]
    yield {
        "title": "Deliveries",
        "figure": f"{stats.total_deliveries:,}",
        "note": f"made in the last {HOURS} hours",
        "link": _deliveries(),
    }
    yield {
        "title": "Success rate",
        "figure": _share(stats.success_rate),
        "note": "of those that came to an end",
        "link": _deliveries(status__exact=Status.DELIVERED),
    }
    yield {
        "title": "Failed",
        "figure": f"{failed:,}",
        "note": "can be sent again",
        "link": _deliveries(status__exact=Status.FAILED),
    }
    if backlog is None:
        yield {"title": "Waiting", "figure": "unknown", "note": "too many to count in a second", "link": ""}
    else:
        events, _ = backlog.queues[PIPELINE]
        due = sum(depth for queue, (depth, _) in backlog.queues.items() if queue not in {PIPELINE, STATUS_WEBHOOKS})
        oldest_s = max(age for _, age in backlog.queues.values())
        again = sum(backlog.retries.values())
        notes = [f"{events:,} events, {due:,} deliveries"]
        if oldest_s:
            notes.append(f"the oldest for {_age(oldest_s)}")
        if again:
            notes.append(f"{again:,} to be tried again")
        yield {
            "title": "Waiting",
            "figure": f"{events + due + again:,}",
            "note": "; ".join(notes),
            "link": _deliveries(status__exact=Status.PENDING),
        }


def _channel_table(stats: Statistics, backlog: Backlog) -> dict[str, Any]:
    """As unfold's table component takes it."""
    metrics = {one.channel: one for one in stats.channel_metrics}
    headers = ["Channel", "Total", "Sent", "Delivered", "Failed", "Bounced", "Suppressed", "Success", "p50", "p95", "Waiting"]
    rows = []
    for channel in Channel:
        found = metrics.get(channel)
        depth, oldest_s = backlog.queues.get(send_queue(channel), (0, 0.0))
        if found or depth or backlog.retries.get(channel):
            counts = [getattr(found, name, 0) for name in ("total", "sent", "delivered", "failed", "bounced", "suppressed")]
            latency = found.latency_ms if found else Latency()
            rows.append(
                [
                    link(_deliveries(channel__exact=channel), str(channel.label)),
                    *(f"{count:,}" for count in counts),
                    _share(found.success_rate if found else None),
                    _ms(latency.p50),
                    _ms(latency.p95),
                    _waiting(depth, oldest_s, backlog.retries.get(channel, 0)),
                ]
            )
    return {"headers": headers, "rows": rows}


def _statuses(stats: Statistics) -> Iterator[dict[str, Any]]:
    for status in Status:
        count = stats.by_status[str(status.label)]
        if count:
            yield {"name": status.label, "count": count, "link": _deliveries(status__exact=status.value)}


def _deliveries(**filters: int) -> str:
    return reverse("admin:deliveries_delivery_changelist", query=filters)


def _failure_table(since: datetime) -> dict[str, Any]:
    """The newest first; through the index of what went wrong."""
    recent = Delivery.objects.filter(
        created_within(since, None), tenant_id__in=every_tenant(), status__in=(Status.FAILED, Status.BOUNCED)
    )
    newest = recent.select_related("tenant").defer("subject", "body", "html", "data").order_by("-id")[:_FAILURES_SHOWN]
    rows = [
        [
            link(reverse("admin:deliveries_delivery_change", args=[row.pk]), f"{localtime(row.created_at):%d %b %H:%M}"),
            str(row.tenant),
            str(row.get_channel_display()),
            row.event_type,
            row.user_id or shortened(row.address),
            sentence(row),
        ]
        for row in newest
    ]
    return {"headers": ["Created", "Tenant", "Channel", "Event type", "To", "What happened"], "rows": rows}


def _bars(timeline: Sequence[Bucket]) -> list[Bar]:
    """The timeline as stacked bars, the tallest as high as the chart."""
    tallest = max((bucket.total for bucket in timeline), default=0) or 1
    step = _CHART_WIDTH / max(len(timeline), 1)
    return [_bar(bucket, index * step, step - _GAP, _CHART_HEIGHT / tallest) for index, bucket in enumerate(timeline)]


def _bar(bucket: Bucket, x: float, width: float, scale: float) -> Bar:
    arrived, failed = bucket.sent + bucket.delivered, bucket.failed + bucket.bounced
    parts = {
        "arrived": arrived,
        "failed": failed,
        "suppressed": bucket.suppressed,
        "other": bucket.total - arrived - failed - bucket.suppressed,
    }
    segments, top = [], float(_CHART_HEIGHT)
    for name, count in parts.items():
        if count:
            top -= count * scale
            segments.append(Segment(round(x, 2), round(top, 2), round(width, 2), round(count * scale, 2), _COLOURS[name]))
    summary = ", ".join(f"{name} {count:,}" for name, count in parts.items() if count) or "nothing"
    label = f"{bucket.start:%H:%M}" if bucket.start.hour % 4 == 0 else ""
    return Bar(f"{bucket.start:%d %b %H:%M}: {summary}", label, round(x, 2), segments)


def _share(value: float | None) -> str:
    # Cut, not rounded: 100 % means all of them.
    return "–" if value is None else f"{int(value * 1000) / 10:g} %"


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def _waiting(depth: int, oldest_s: float, again: int) -> str:
    parts = [f"{depth:,}, for {_age(oldest_s)}"] if depth else []
    if again:
        parts.append(f"{again:,} again later")
    return "; ".join(parts) or "–"


def _age(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"
