"""Latency at rest: 20 single events a second, from the begin of the POST to the frame in the recipient's websocket."""

from __future__ import annotations

import asyncio
import time

import msgspec

from bench.client import Connection, connections, expected
from bench.measure import Bounds, Check, Result, latency_figures
from bench.progress import Progress
from bench.service import Service
from bench.sockets import Frames, open_inboxes
from bench.watch import watching
from bench.workload import WATCHED, event

RATE = 20
SECONDS = 30.0
CONNECTIONS = 8
"""More than are ever busy at once: a late reply does not delay the next event."""
_WARM_UP = 40


async def run(service: Service, bounds: Bounds, progress: Progress) -> Result:
    count = bounds.events or round((bounds.seconds or SECONDS) * RATE)
    frames = Frames("latency", count)
    async with (
        watching(service) as watch,
        connections(CONNECTIONS, port=service.port, api_key=service.api_key) as clients,
        open_inboxes(service, WATCHED, frames),
    ):
        await _Load("warm-latency", clients, Progress("")).post_all(_WARM_UP)
        await watch.drained()
        await watch.settle()
        load = _Load("latency", clients, progress)
        await load.post_all(count)
        await frames.complete()
        await watch.drained()
        rows, sent, _, _ = await watch.deliveries("latency")
    # One clock for both ends: sockets and posts live in one process.
    frame_ms = [(moment - load.started[number]) * 1000 for number, moment in frames.moments.items()]
    return Result(
        parameters={"eventsPerSecond": RATE, "events": count, "sockets": len(WATCHED)},
        figures=[
            *latency_figures("frame ", frame_ms, (0.5, 0.95, 0.99, 1)),
            *latency_figures("reply ", load.reply_ms, (0.5, 0.99)),
        ],
        checks=[
            Check("deliveries", count, rows),
            Check("deliveries sent", count, sent),
            Check("events with a frame", count, len(frames.moments)),
            Check("frames", count, frames.count),
        ],
        samples_ms=frame_ms,
    )


class _Load:
    """Open loop: event number n is due at n / RATE seconds, whatever became of those before it."""

    def __init__(self, run: str, clients: list[Connection], progress: Progress) -> None:
        self.started: dict[int, float] = {}
        self.reply_ms: list[float] = []
        self._run = run
        self._progress = progress
        self._free: asyncio.Queue[Connection] = asyncio.Queue()
        for client in clients:
            self._free.put_nowait(client)

    async def post_all(self, count: int) -> None:
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                await asyncio.sleep(begun + number / RATE - time.perf_counter())
                group.create_task(self._post(number, await self._free.get()))
                self._progress.show(number, count)

    async def _post(self, number: int, client: Connection) -> None:
        body = msgspec.json.encode(event(self._run, WATCHED[number % len(WATCHED)], number))
        self.started[number] = started = time.perf_counter()
        expected(await client.post("/api/events", body), 202)
        self.reply_ms.append((time.perf_counter() - started) * 1000)
        self._free.put_nowait(client)
