"""The floor: what the database and Redis work alone costs on this machine, in a database of its own on the same server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from typing import Any

import psycopg

from bench.cpu import usage
from bench.measure import Bounds, Check, Figure, Result
from bench.progress import Progress
from bench.service import Service, ServiceError
from bench.service import run as run_program
from config.stack.paths import PROJECT_DIR

EVENTS = 20_000
PROCESSES = 2
"""As many as the service has pipeline workers."""
_DATABASE = "bench_floor"


async def run(service: Service, bounds: Bounds, progress: Progress) -> Result:
    events = bounds.events or EVENTS
    database = service.database_url.replace("/notifications?", f"/{_DATABASE}?")
    with psycopg.connect(service.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {_DATABASE}")
        try:
            run_program("manage.py", "migrate", "--verbosity", "0", DATABASE_URL=database)
            environment = os.environ | {"BENCH_FLOOR_DATABASE": database, "BENCH_FLOOR_REDIS": service.redis_url}
            await _work(environment, [1], 2000)
            progress.show(1, 3)
            with usage(service.paths.pids) as used:
                (alone,) = await _work(environment, [2], events)
            progress.show(2, 3)
            several = await _work(environment, list(range(3, 3 + PROCESSES)), events // PROCESSES)
            sent = _count_sent(database)
        finally:
            connection.execute(f"DROP DATABASE {_DATABASE} WITH (FORCE)")
    slowest_s = max(one["totalS"] for one in several)
    return Result(
        parameters={"events": events, "processes": PROCESSES},
        figures=[
            Figure("insert", events / alone["storeS"], "events/s"),
            Figure("whole", events / alone["totalS"], "events/s"),
            Figure("CPU", used.per_event_us(events) + alone["cpuS"] / events * 1_000_000, "µs/event"),
            Figure(f"whole, {PROCESSES} processes", events // PROCESSES * PROCESSES / slowest_s, "events/s"),
        ],
        checks=[Check("deliveries sent", 2000 + events + events // PROCESSES * PROCESSES, sent)],
    )


async def _work(environment: dict[str, str], tenants: list[int], events: int) -> list[Any]:
    """Have one process for each tenant work, all at once; returns what they say."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bench.floor", str(tenant), str(events)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=PROJECT_DIR,
            env=environment,
        )
        for tenant in tenants
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            await process.stdout.readline()
        answers = await asyncio.gather(*(process.communicate(b"begin\n") for process in processes))
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    for out, errors in answers:
        if not out:
            raise ServiceError(f"the floor failed:\n{errors[-2000:].decode(errors='replace')}")
    return [json.loads(out) for out, _ in answers]


def _count_sent(database: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT count(*) FROM deliveries_delivery d JOIN deliveries_attempt a ON a.delivery_id = d.id WHERE d.status = 2"
        ).fetchone()
        assert row is not None
        return int(row[0])
