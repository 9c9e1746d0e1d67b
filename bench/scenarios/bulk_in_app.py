"""In-app events in bulk: accepted, expanded, filtered, rendered, stored, published, recorded as sent."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from bench.client import Connection, connections, expected
from bench.cpu import memory_mb, usage
from bench.measure import Bounds, Check, Figure, Result, percentile
from bench.progress import Progress
from bench.service import Service
from bench.sockets import Frames, open_inboxes
from bench.watch import Watch, watching
from bench.workload import BULK, USERS, WATCHED, bulk_bodies

EVENTS = 20_000
CONNECTIONS = 4


async def run(service: Service, bounds: Bounds, progress: Progress) -> Result:
    events = bounds.events or EVENTS
    users = [WATCHED[0], *USERS]
    to_watched = len(range(0, events, len(users)))
    frames = Frames("bulk", to_watched)
    async with (
        watching(service) as watch,
        connections(CONNECTIONS, port=service.port, api_key=service.api_key) as clients,
        open_inboxes(service, users[:1], frames),
    ):
        await _warm_up(clients, watch, users)
        bodies = bulk_bodies("bulk", users, events)
        published = watch.published()
        with usage(service.paths.pids) as used:
            started = time.perf_counter()
            accepted, times = await _post_all(clients, bodies, progress)
            intake_s = time.perf_counter() - started
            await watch.drained()
            total_s = time.perf_counter() - started
        published = watch.published() - published
        rows, sent, of_events, attempts = await watch.deliveries("bulk")
        await frames.complete()
    memory = memory_mb(service.paths.pids)
    return Result(
        parameters={"events": events, "perRequest": BULK, "connections": CONNECTIONS, "users": len(users), "memoryMb": memory},
        figures=[
            Figure("intake", accepted / intake_s, "events/s", floor="insert"),
            Figure("request p50", percentile(times, 0.5), "ms"),
            Figure("request p99", percentile(times, 0.99), "ms"),
            Figure("end to end", sent / total_s, "events/s", floor="whole"),
            Figure("CPU", used.per_event_us(sent), "µs/event"),
        ],
        checks=[
            Check("events accepted", events, accepted),
            Check("deliveries", events, rows),
            Check("deliveries sent", events, sent),
            Check("events with a delivery", events, of_events),
            Check("attempts recorded", events, attempts),
            Check("messages published", events, published, at_least=True),  # sockets and workers publish a few of their own
            Check("frames in the open socket", to_watched, frames.count),
        ],
        cpu_s=used.cpu_s,
    )


async def _warm_up(clients: Sequence[Connection], watch: Watch, users: Sequence[str]) -> None:
    """One event for every user: what is made or loaded once is there, in every process."""
    for attempt in range(2):
        await _post_all(clients, bulk_bodies(f"warm-bulk-{attempt}", users, len(users)), Progress(""))
        await watch.drained()
    await watch.settle()


async def _post_all(clients: Sequence[Connection], bodies: Sequence[bytes], progress: Progress) -> tuple[int, list[float]]:
    """Post every body, as fast as the replies come; returns the events accepted and each request's milliseconds."""
    waiting = deque(bodies)
    accepted = 0
    times: list[float] = []

    async def post(client: Connection) -> None:
        nonlocal accepted
        while waiting:
            body = waiting.popleft()
            started = time.perf_counter()
            reply = expected(await client.post("/api/events/bulk", body), 202)
            times.append((time.perf_counter() - started) * 1000)
            accepted += reply.json()["accepted"]
            progress.show(len(bodies) - len(waiting), len(bodies))

    await asyncio.gather(*map(post, clients))
    return accepted, times
