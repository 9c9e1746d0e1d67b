"""How much work waits, and how long the oldest of it has: counted in PostgreSQL at every scrape.

Each count is a few ranges of the index that the claims use, and stops at `CAP`; what is scheduled for later is never walked
over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from config.operations.checks import Check
from config.operations.postgres import short_cursor
from deliveries.claims import PLACES
from deliveries.queues import STATUS_WEBHOOKS
from notifications.claims import PAIRS
from notifications.filter import DELAYED, QUIET_HOURS
from notifications.limits.asking import REASONS
from notifications.limits.models import Excess
from notifications.queues import PIPELINE, send_queue
from notifications.wire import DIGEST, ESCALATION
from tenants.turns import pairs_sql
from tenants.vocabulary import Channel

CAP = 100_000
"""A queue is never counted further than this."""
HELD = (DELAYED, DIGEST, ESCALATION, QUIET_HOURS, REASONS[Excess.DEFER])
"""Reasons for which deliveries wait for their time."""

# Hops along event_due from one (priority, tenant) to the next, then counts what is due of each; so along delivery_due below.
_EVENTS = f"""{PAIRS}
SELECT least(coalesce(sum(due.waiting), 0), %(cap)s)::bigint, extract(epoch FROM now() - min(due.since))::float
FROM pair, LATERAL (
    SELECT count(*) AS waiting, min(due_at) AS since FROM (
        SELECT due_at FROM notifications_event event
        WHERE status = 0 AND event.priority = pair.priority AND event.tenant_id = pair.tenant_id AND due_at <= now()
        ORDER BY due_at LIMIT %(cap)s
    ) capped
) due
"""  # noqa: S608 - made of constants

_DELIVERIES = f"""{PLACES}
SELECT place.channel, least(coalesce(sum(due.waiting), 0), %(cap)s)::bigint, extract(epoch FROM now() - min(due.since))::float
FROM place, LATERAL (
    SELECT count(*) AS waiting, min(next_attempt_at) AS since FROM (
        SELECT next_attempt_at FROM deliveries_delivery delivery
        WHERE status IN (0, 1) AND NOT is_held AND delivery.channel = place.channel AND delivery.priority = place.priority
          AND delivery.tenant_id = place.tenant_id AND next_attempt_at <= now()
        ORDER BY next_attempt_at LIMIT %(cap)s
    ) capped
) due
GROUP BY place.channel
"""  # noqa: S608 - made of constants

# What has a time to come: it was tried, or could not be, and is to be tried again.
_LATER = f"""{PLACES}
SELECT place.channel, least(sum(later.waiting), %(cap)s)::bigint
FROM place, LATERAL (
    SELECT count(*) AS waiting FROM (
        SELECT FROM deliveries_delivery delivery
        WHERE status IN (0, 1) AND NOT is_held AND delivery.channel = place.channel AND delivery.priority = place.priority
          AND delivery.tenant_id = place.tenant_id AND next_attempt_at > now()
        LIMIT %(cap)s
    ) capped
) later
GROUP BY place.channel
"""  # noqa: S608 - made of constants

# Hops from one endpoint to the next. What is there for one that fails, or is disabled, waits for that server and not for us.
_STATUS_MESSAGES = """
WITH RECURSIVE waiting AS (
    (SELECT endpoint_id FROM deliveries_statusmessage WHERE state = 0 ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT next.endpoint_id FROM waiting, LATERAL (
        SELECT endpoint_id FROM deliveries_statusmessage WHERE state = 0 AND endpoint_id > waiting.endpoint_id
        ORDER BY endpoint_id LIMIT 1
    ) next
)
SELECT least(coalesce(sum(due.waiting), 0), %(cap)s)::bigint, extract(epoch FROM now() - min(due.since))::float
FROM waiting JOIN deliveries_statusendpoint endpoint ON endpoint.id = waiting.endpoint_id
    AND endpoint.is_active AND endpoint.failing_since IS NULL, LATERAL (
    SELECT count(*) AS waiting, min(next_attempt_at) AS since FROM (
        SELECT next_attempt_at FROM deliveries_statusmessage message
        WHERE state = 0 AND message.endpoint_id = endpoint.id AND next_attempt_at <= now()
        ORDER BY next_attempt_at LIMIT %(cap)s
    ) capped
) due
"""

# An index of these alone, with the reason in it. In the order of the index, so that it is not read further than the cap.
_HELD = """
SELECT reason, count(*) FROM (
    SELECT reason FROM deliveries_delivery WHERE is_held ORDER BY tenant_id, id LIMIT %(cap)s
) capped
GROUP BY reason
"""


def _overdue(table: str, is_open: str) -> str:
    """Of each (priority, tenant) the first row that is due, by the index that its claim uses."""
    return f"""{pairs_sql(table, is_open)}
SELECT extract(epoch FROM now() - min(earliest.due_at))::float FROM pair, LATERAL (
    SELECT due_at FROM {table} waits
    WHERE {is_open} AND waits.priority = pair.priority AND waits.tenant_id = pair.tenant_id AND due_at <= now()
    ORDER BY due_at LIMIT 1
) earliest
"""  # noqa: S608 - made of constants


_OVERDUE = {
    "delivery": _overdue("notifications_hold", "digest_id IS NULL"),
    "digest": _overdue("notifications_digest", "finished_at IS NULL"),
}


@dataclass(frozen=True, slots=True)
class Backlog:
    queues: Mapping[str, tuple[int, float]]
    """For each queue: rows due, those being worked on included, and the age of the oldest in seconds."""
    retries: Mapping[Channel, int]
    """Deliveries that wait for another attempt: after a failure, or because their provider is left alone."""
    held: Mapping[str, int] = field(default_factory=dict)
    """Deliveries that wait for their time, by reason."""
    overdue: Mapping[str, float] = field(default_factory=dict)
    """Of held deliveries, and of digests: for how many seconds the oldest has been due."""


class BacklogCollector(Collector):
    """Adds the backlog to a scrape; without PostgreSQL the scrape goes without it."""

    def __init__(self) -> None:
        self._check = Check("backlog", count_backlog)

    def collect(self) -> Iterable[Metric]:
        self._check.start()
        backlog = self._check.verdict().answer
        if backlog is None:
            return
        depth = GaugeMetricFamily("notifications_queue_depth", f"Rows due, counted up to {CAP}.", labels=["queue"])
        oldest = GaugeMetricFamily("notifications_queue_oldest_seconds", "How long the oldest has been due.", labels=["queue"])
        for queue, (waiting, seconds) in backlog.queues.items():
            depth.add_metric([queue], waiting)
            oldest.add_metric([queue], seconds)
        yield depth
        yield oldest
        retries = GaugeMetricFamily(
            "notifications_waiting_for_retry",
            f"Deliveries that wait for another attempt, counted up to {CAP}.",
            labels=["channel"],
        )
        for channel, waiting in backlog.retries.items():
            retries.add_metric([channel.label], waiting)
        yield retries
        held = GaugeMetricFamily(
            "notifications_held", f"Deliveries that wait for their time, counted up to {CAP}.", labels=["reason"]
        )
        for reason, waiting in backlog.held.items():
            held.add_metric([reason], waiting)
        yield held
        overdue = GaugeMetricFamily("notifications_held_overdue_seconds", "How long the oldest has been due.", labels=["kind"])
        for kind, seconds in backlog.overdue.items():
            overdue.add_metric([kind], seconds)
        yield overdue


def count_backlog() -> Backlog:
    with short_cursor(statement_timeout_ms=1000) as cursor:
        cursor.execute(_EVENTS, {"cap": CAP})
        waiting, seconds = cursor.fetchone()
        queues = {PIPELINE: (waiting, seconds or 0.0)}
        queues |= {send_queue(channel): (0, 0.0) for channel in Channel}
        cursor.execute(_DELIVERIES, {"cap": CAP})
        for channel, waiting, seconds in cursor.fetchall():
            queues[send_queue(Channel(channel))] = (waiting, seconds or 0.0)
        cursor.execute(_LATER, {"cap": CAP})
        retries = dict.fromkeys(Channel, 0) | {Channel(channel): waiting for channel, waiting in cursor.fetchall()}
        cursor.execute(_STATUS_MESSAGES, {"cap": CAP})
        waiting, seconds = cursor.fetchone()
        queues[STATUS_WEBHOOKS] = (waiting, seconds or 0.0)
        cursor.execute(_HELD, {"cap": CAP})
        held = dict.fromkeys(HELD, 0) | dict(cursor.fetchall())
        overdue = {}
        for kind, statement in _OVERDUE.items():
            cursor.execute(statement)
            overdue[kind] = cursor.fetchone()[0] or 0.0
    return Backlog(queues, retries, held, overdue)
