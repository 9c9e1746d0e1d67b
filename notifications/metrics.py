"""What is counted of events. Each function takes a whole chunk."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Counter

from tenants.vocabulary import Priority

ACCEPTED = Counter("notifications_events_accepted", "Events stored and acknowledged.", ["priority"])
PROCESSED = Counter("notifications_events_processed", "Events whose deliveries are all written.")
INTAKE_CLOSED = Counter("notifications_intake_closed", "Requests turned away because too many events were waiting.")
UNLIMITED = Counter("notifications_limits_unasked", "Messages that passed because Redis could not be asked about their limits.")
FAILED = Counter("notifications_events_failed", "Events given up.", ["reason"])


def count_accepted(counts: Mapping[Priority, int]) -> None:
    """Add to the accepted events of each priority; duplicates do not count."""
    for priority, count in counts.items():
        ACCEPTED.labels(priority.label).inc(count)


def count_processed(count: int) -> None:
    if count:
        PROCESSED.inc(count)


def count_unlimited(count: int) -> None:
    UNLIMITED.inc(count)


def count_failed(counts: Mapping[str, int]) -> None:
    """Add to the events given up, by a reason from a small fixed set (never free text: each is a series)."""
    for reason, count in counts.items():
        FAILED.labels(reason).inc(count)
