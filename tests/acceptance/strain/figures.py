"""What became of the bystanders, as PostgreSQL and the servers say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.measure import percentile
from deliveries.states import HANDED_OVER, Status
from tenants.vocabulary import Channel
from tests.acceptance.strain.bystanders import CHANNELS, Stream
from tests.acceptance.strain.world import World, address_of, addressed, chat_of

_DELIVERIES = """
SELECT event_id, channel, status, extract(epoch FROM sent_at - accepted_at) * 1000
FROM deliveries_delivery WHERE starts_with(event_id, %s)
"""


@dataclass(frozen=True, slots=True)
class Latency:
    """From acceptance until sent, in milliseconds."""

    p50: float
    p99: float
    most: float

    @classmethod
    def of(cls, samples_ms: Sequence[float]) -> Latency:
        samples = samples_ms or [0.0]
        return cls(percentile(samples, 0.5), percentile(samples, 0.99), max(samples))

    def __str__(self) -> str:
        return f"{self.p50:,.0f} / {self.p99:,.0f} / {self.most:,.0f}"


@dataclass(frozen=True, slots=True)
class Seen:
    """A stream's deliveries."""

    events: int
    lost: list[str]
    """Each with its id and channel."""
    latencies: dict[str, Latency]
    """By channel."""


def look(world: World, stream: Stream) -> Seen:
    samples: dict[str, dict[str, float]] = {channel: {} for channel in CHANNELS}
    unsent = []
    for event_id, channel, status, took_ms in world.stand.rows(_DELIVERIES, [stream.prefix]):
        label = Channel(channel).label
        if Status(status) in HANDED_OVER and took_ms is not None:
            samples[label][event_id] = float(took_ms)
        else:
            unsent.append(f"{event_id}: {label} is {Status(status).label}")
    mailed = set().union(*(addressed(double) for double in (world.doubles.well, world.doubles.sick, world.doubles.spare)))
    chats = {str(request.json["chat_id"]) for request in list(world.doubles.telegram.received)}
    lost = list(unsent)
    for event_id in sorted(stream.accepted):
        lost += [f"{event_id}: no {channel} delivery sent" for channel in CHANNELS if event_id not in samples[channel]]
        if address_of(event_id) not in mailed:
            lost.append(f"{event_id}: no mail at the server")
        if chat_of(event_id) not in chats:
            lost.append(f"{event_id}: no chat message at the server")
    return Seen(len(stream.accepted), lost, {channel: Latency.of(list(found.values())) for channel, found in samples.items()})
