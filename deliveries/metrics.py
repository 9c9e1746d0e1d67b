"""What is counted of deliveries. Each function takes a whole chunk, so its cost is per label, not per delivery."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from prometheus_client import Counter, Histogram

from deliveries.models import AttemptOutcome
from deliveries.states import Status
from tenants.vocabulary import Channel


class BulkHistogram(Histogram):
    """A histogram that takes many observations at the price of one for each bucket they fall into."""

    def observe_many(self, amounts: Sequence[float]) -> None:
        self._sum.inc(sum(amounts))
        for bucket, count in Tally(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[bucket].inc(count)


# Seconds. From an in-app item pushed at once to a delivery that went through every retry.
_LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_CALLS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

DELIVERIES = Counter(
    "notifications_deliveries",
    "Deliveries that entered a state; pending: written, or put back to be tried again.",
    ["channel", "status"],
)
LATENCY = BulkHistogram(
    "notifications_delivery_seconds",
    "From the event's acceptance, or its scheduled time, to the hand-over.",
    ["channel"],
    buckets=_LATENCIES,
)
ATTEMPTS = Counter("notifications_attempts", "Tries to hand a delivery over.", ["channel", "provider", "outcome"])
CALLS = BulkHistogram(
    "notifications_provider_call_seconds",
    "Time a provider took for what it was given.",
    ["channel", "provider"],
    buckets=_CALLS,
)
DOORBELLS = Counter(
    "notifications_doorbells", "Doorbell messages to workers; lost: the broker did not take it.", ["bell", "outcome"]
)
RECEIPTS = Counter(
    "notifications_receipts",
    "Receipts from providers; unknown: of no delivery of ours; unsigned, malformed: requests that were refused.",
    ["provider", "kind", "result"],
)
CIRCUIT_TRIPS = Counter(
    "notifications_circuit_trips", "Times a provider account failed so often that it was left alone.", ["channel", "provider"]
)
CIRCUITS_UNKNOWN = Counter("notifications_circuits_unknown", "Times Redis could not be asked, and a circuit passed for closed.")


def count_deliveries(counts: Mapping[tuple[Channel, Status], int]) -> None:
    """Add to the deliveries that entered each state."""
    for (channel, status), count in counts.items():
        DELIVERIES.labels(channel.label, status.label).inc(count)


def count_outcomes(channel: Channel, statuses: Iterable[Status]) -> None:
    """Count deliveries of one channel by the state each entered."""
    count_deliveries({(channel, status): count for status, count in Tally(statuses).items()})


def observe_latency(channel: Channel, seconds: Sequence[float]) -> None:
    """Record the time from acceptance to hand-over of each delivery sent."""
    if seconds:
        LATENCY.labels(channel.label).observe_many(seconds)


def count_interrupted(channel: Channel, count: int) -> None:
    """Count attempts whose worker died: nobody knows any more with which provider."""
    ATTEMPTS.labels(channel.label, "", AttemptOutcome.AMBIGUOUS.label).inc(count)


def count_attempts(channel: Channel, provider: str, outcomes: Iterable[AttemptOutcome]) -> None:
    """Count attempts with one provider by how each ended."""
    for outcome, count in Tally(outcomes).items():
        ATTEMPTS.labels(channel.label, provider, outcome.label).inc(count)


@contextmanager
def provider_call(channel: Channel, provider: str) -> Iterator[None]:
    """Time a provider's work on what it was given, whether it ends well or not."""
    started = time.perf_counter()
    try:
        yield
    finally:
        CALLS.labels(channel.label, provider).observe(time.perf_counter() - started)


def count_receipts(provider: str, kind: str, result: str, count: int) -> None:
    """Count receipts; `kind` is empty for a request that was not read."""
    RECEIPTS.labels(provider, kind, result).inc(count)


def count_doorbell(bell: str, *, rung: bool) -> None:
    """Count a message published to wake a worker, or one that could not be."""
    DOORBELLS.labels(bell, "rung" if rung else "lost").inc()
