"""How much work waits, and how long the oldest of it has: counted in PostgreSQL at every scrape.

Each count is a few ranges of the index that the claims use, and stops at `CAP`; what is scheduled for later is never walked
over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from config.operations.checks import Check
from config.operations.postgres import short_cursor
from deliveries.claims import PLACES
from deliveries.queues import STATUS_WEBHOOKS
from notifications.claims import PAIRS
from notifications.queues import PIPELINE, send_queue
from tenants.vocabulary import Channel

CAP = 100_000
"""A queue is never counted further than this."""

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


@dataclass(frozen=True, slots=True)
class Backlog:
    queues: Mapping[str, tuple[int, float]]
    """For each queue: rows due, those being worked on included, and the age of the oldest in seconds."""
    retries: Mapping[Channel, int]
    """Deliveries that wait for another attempt: after a failure, or because their provider is left alone."""


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
    return Backlog(queues, retries)
