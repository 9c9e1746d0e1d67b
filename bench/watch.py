"""What the service did, asked of its servers in ways that hardly disturb it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import redis

from bench.service import Service

_POLL_S = 0.02
_STILL_S = 30.0

# Each probe stops at the first row of a partial index that holds unfinished work only.
_DRAINED = """
SELECT NOT EXISTS (SELECT FROM notifications_event WHERE status = 0)
   AND NOT EXISTS (SELECT FROM deliveries_delivery WHERE status IN (0, 1))
"""
_COUNT_OPEN = """
SELECT (SELECT count(*) FROM notifications_event WHERE status = 0)
     + (SELECT count(*) FROM deliveries_delivery WHERE status IN (0, 1))
"""
_COUNTS = """
SELECT count(*), count(*) FILTER (WHERE d.status = 2), count(DISTINCT d.event_id), count(a.delivery_id)
FROM deliveries_delivery d LEFT JOIN deliveries_attempt a ON a.delivery_id = d.id
WHERE starts_with(d.event_id, %s)
"""


class StuckError(Exception):
    """Work was left that nobody finished."""


class Watch:
    def __init__(self, connection: psycopg.AsyncConnection[Any], client: redis.Redis) -> None:
        self._connection = connection
        self._redis = client

    async def drained(self) -> None:
        """Wait until no event and no delivery is unfinished; raises StuckError when nothing moves any more."""
        clock = asyncio.get_running_loop().time
        moved_at, left = clock(), -1
        while not (await self._row(_DRAINED))[0]:
            if clock() - moved_at > _STILL_S:
                (now_left,) = await self._row(_COUNT_OPEN)
                if now_left == left:
                    raise StuckError(f"{left} events or deliveries are unfinished and nobody moves them")
                moved_at, left = clock(), now_left
            await asyncio.sleep(_POLL_S)

    async def deliveries(self, run: str) -> tuple[int, int, int, int]:
        """Of a run's events: deliveries, those `sent`, events that have one, attempts recorded."""
        rows, sent, events, attempts = await self._row(_COUNTS, [f"{run}-"])
        return rows, sent, events, attempts

    async def events(self, run: str) -> int:
        (count,) = await self._row("SELECT count(*) FROM notifications_event WHERE starts_with(event_id, %s)", [f"{run}-"])
        return int(count)

    async def settle(self) -> None:
        """Give the planner the statistics that autovacuum would gather within a minute."""
        await self._connection.execute("ANALYZE")

    def published(self) -> int:
        """Messages published through Redis since it started, by its own count."""
        stats: Any = self._redis.info("commandstats")
        return int(stats.get("cmdstat_publish", {}).get("calls", 0))

    async def _row(self, statement: str, parameters: list[Any] | None = None) -> tuple[Any, ...]:
        cursor = await self._connection.execute(statement, parameters)
        row = await cursor.fetchone()
        assert row is not None
        return tuple(row)


@asynccontextmanager
async def watching(service: Service) -> AsyncIterator[Watch]:
    async with await psycopg.AsyncConnection.connect(service.database_url, autocommit=True) as connection:
        with redis.Redis.from_url(service.redis_url) as client:
            yield Watch(connection, client)
