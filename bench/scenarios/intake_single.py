"""Single-event intake: fifty clients that each post one event after the other, while the workers work on what came in."""

from __future__ import annotations

import asyncio
import time

import msgspec

from bench.client import Connection, connections, expected
from bench.cpu import usage
from bench.measure import Bounds, Check, Figure, Result, latency_figures
from bench.progress import Progress
from bench.service import Service
from bench.watch import watching
from bench.workload import USERS, event

CONNECTIONS = 50
SECONDS = 10.0
_WARM_UP_S = 1.0


async def run(service: Service, bounds: Bounds, progress: Progress) -> Result:
    seconds = bounds.seconds or SECONDS
    async with (
        watching(service) as watch,
        connections(CONNECTIONS, port=service.port, api_key=service.api_key) as clients,
    ):
        await _Load("warm-single", clients, _WARM_UP_S, None, Progress("")).post_all()
        await watch.drained()
        await watch.settle()
        load = _Load("single", clients, seconds, bounds.events, progress)
        with usage(service.paths.pids) as used:
            elapsed_s = await load.post_all()
        await watch.drained()
        stored = await watch.events("single")
        _, sent, _, _ = await watch.deliveries("single")
    accepted = len(load.times_ms)
    return Result(
        parameters={"connections": CONNECTIONS, "seconds": round(elapsed_s, 2), "events": accepted},
        figures=[
            Figure("intake", accepted / elapsed_s, "events/s"),
            *latency_figures("request ", load.times_ms),
            Figure("CPU", used.per_event_us(accepted), "µs/event"),
        ],
        checks=[Check("events stored", accepted, stored), Check("deliveries sent", accepted, sent)],
        cpu_s=used.cpu_s,
    )


class _Load:
    def __init__(self, run: str, clients: list[Connection], seconds: float, most: int | None, progress: Progress) -> None:
        self.times_ms: list[float] = []
        self._run = run
        self._clients = clients
        self._seconds = seconds
        self._most = most
        self._progress = progress
        self._number = 0

    async def post_all(self) -> float:
        """Post until the time is up or `most` events are accepted; returns the seconds it took."""
        started = time.perf_counter()
        await asyncio.gather(*(self._post(client, started) for client in self._clients))
        return time.perf_counter() - started

    async def _post(self, client: Connection, started: float) -> None:
        while (now := time.perf_counter()) - started < self._seconds and (self._most is None or self._number < self._most):
            self._number += 1
            body = msgspec.json.encode(event(self._run, USERS[self._number % len(USERS)], self._number))
            expected(await client.post("/api/events", body), 202)
            self.times_ms.append((time.perf_counter() - now) * 1000)
            self._progress.show(now - started, self._seconds)
