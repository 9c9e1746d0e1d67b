"""Where sockets do what blocks: a few threads, each with a database connection of its own, however many sockets there are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from channels.db import database_sync_to_async

from tenants.database.limits import REQUEST_S, statements_within

P = ParamSpec("P")
T = TypeVar("T")

THREADS: Final = 4
"""Also the number of database connections. A thousand sockets that reconnect at once queue here, not in PostgreSQL."""

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="inbox")


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`work`'s result. Its database connection is checked before and given up afterwards if it broke."""
    run = database_sync_to_async(_limited(work), thread_sensitive=False, executor=_pool)
    result: T = await run(*args, **kwargs)
    return result


def _limited(work: Callable[P, T]) -> Callable[P, T]:
    def limited(*args: P.args, **kwargs: P.kwargs) -> T:
        with statements_within(REQUEST_S):
            return work(*args, **kwargs)

    return limited
