"""How many circuits are open: read from Redis at every scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from deliveries.breaker import open_circuits


class CircuitCollector(Collector):
    """Adds the open circuits to a scrape; without Redis the scrape goes without them."""

    def collect(self) -> Iterable[Metric]:
        try:
            found = Counter((circuit.channel.label, circuit.provider) for circuit in open_circuits())
        except RedisError:
            return
        gauge = GaugeMetricFamily(
            "notifications_circuits_open", "Provider accounts that are left alone for a while.", labels=["channel", "provider"]
        )
        for labels, count in sorted(found.items()):
            gauge.add_metric(list(labels), count)
        yield gauge
