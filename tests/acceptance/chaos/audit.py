"""What became of the accepted events: asked of PostgreSQL and of the mail server, and judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from deliveries.states import Status
from tenants.vocabulary import Channel
from tests.acceptance.chaos.load import address_of
from tests.acceptance.chaos.stand import StruckStand
from tests.acceptance.stand import PROCESSED

AMBIGUOUS = 4  # of deliveries.models.AttemptOutcome

_EVENTS = "SELECT event_id, status, attempt_count FROM notifications_event WHERE starts_with(event_id, %s)"
_DELIVERIES = """
SELECT d.event_id, d.channel, d.status, d.reason, count(a.id) FILTER (WHERE a.outcome = %s)
FROM deliveries_delivery d LEFT JOIN deliveries_attempt a ON a.delivery_id = d.id
WHERE starts_with(d.event_id, %s)
GROUP BY d.id
"""

_ARRIVED = frozenset({Status.SENT, Status.DELIVERED})
_CHANNELS = (Channel.EMAIL, Channel.IN_APP)


@dataclass(frozen=True, slots=True)
class Event:
    status: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Delivery:
    event_id: str
    channel: Channel
    status: Status
    reason: str = ""
    ambiguous: int = 0
    """Attempts whose message may have gone out."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a run."""

    events: Mapping[str, Event]
    deliveries: Collection[Delivery]
    mails: Mapping[tuple[str, str], int]
    """By recipient and event id."""


@dataclass(frozen=True, slots=True)
class Verdict:
    lost: list[str]
    """Each with its id: accepted, and not there, not final, or not in the mail server's hands."""
    doubled: list[str]
    """What came twice though nothing was ambiguous."""
    twice: int
    """Mails that came once more than they should, all told."""
    ambiguous: int
    """Attempts whose message may have gone out: the bound of `twice`."""
    again: int
    """Events and deliveries that a second worker took up."""


def find(stand: StruckStand, run: str) -> Found:
    events = {event_id: Event(status, attempts) for event_id, status, attempts in stand.rows(_EVENTS, [f"{run}-"])}
    deliveries = [
        Delivery(event_id, Channel(channel), Status(status), reason, ambiguous)
        for event_id, channel, status, reason, ambiguous in stand.rows(_DELIVERIES, [AMBIGUOUS, f"{run}-"])
    ]
    return Found(events, deliveries, stand.mails())


def judge(accepted: Collection[str], found: Found) -> Verdict:
    by_key = {(one.event_id, one.channel): one for one in found.deliveries}
    copies = {one.event_id: found.mails.get((address_of(one.event_id), one.event_id), 0) for one in by_key.values()}
    rows = Counter((one.event_id, one.channel) for one in found.deliveries)
    doubled = [f"{event_id}: {count} {channel.label} deliveries" for (event_id, channel), count in rows.items() if count > 1]
    for event_id, count in copies.items():
        mail = by_key.get((event_id, Channel.EMAIL))
        ambiguous = mail.ambiguous if mail else 0
        if count > 1 + ambiguous:
            doubled.append(f"{event_id}: {count} mails, {ambiguous} ambiguous attempts")
    return Verdict(
        lost=[line for event_id in sorted(accepted) for line in _missing(event_id, found, by_key, copies)],
        doubled=sorted(doubled),
        twice=sum(max(0, count - 1) for count in copies.values()),
        ambiguous=sum(one.ambiguous for one in found.deliveries),
        again=sum(one.attempts > 1 for one in found.events.values()) + sum(one.ambiguous > 0 for one in found.deliveries),
    )


def _missing(
    event_id: str, found: Found, deliveries: Mapping[tuple[str, Channel], Delivery], copies: Mapping[str, int]
) -> Iterator[str]:
    event = found.events.get(event_id)
    if event is None:
        yield f"{event_id}: no such event"
        return
    if event.status != PROCESSED:
        yield f"{event_id}: event in state {event.status}, taken up {event.attempts} times"
    for channel in _CHANNELS:
        delivery = deliveries.get((event_id, channel))
        if delivery is None:
            yield f"{event_id}: no {channel.label} delivery"
        elif delivery.status not in _ARRIVED:
            yield f"{event_id}: {channel.label} is {delivery.status.label} {delivery.reason}".rstrip()
    if not copies.get(event_id):
        yield f"{event_id}: no mail at the server"
