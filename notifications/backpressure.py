"""Taking no more in than can be worked off: intake is closed while too many events wait, for everybody or for one tenant.

The scheduler counts and says so in Redis, for a while; the web processes look there once a second. Without a scheduler, or
without Redis, nobody is turned away.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

import msgspec
import structlog
from django.conf import settings
from django.db import connection
from django.utils.timezone import now as clock
from redis.exceptions import RedisError

from notifications.claims import PAIRS
from notifications.metrics import INTAKE_CLOSED
from tenants import redis

logger = structlog.get_logger(__name__)

WAIT_S: Final = 5
"""What a caller who is turned away is told to wait."""
_COUNTED_EVERY_S: Final = 5.0
_SAID_FOR_S: Final = 20
_LOOKED_AT_EVERY_S: Final = 1.0
_KEY: Final = "intake:closed"

# As for a claim, each (priority, tenant) is a range of event_due; none is counted beyond the limit.
_WAITING = f"""{PAIRS}
SELECT pair.tenant_id, due.waiting FROM pair, LATERAL (
    SELECT count(*) AS waiting FROM (
        SELECT FROM notifications_event e
        WHERE e.status = 0 AND e.priority = pair.priority AND e.tenant_id = pair.tenant_id AND e.due_at <= %(now)s
        ORDER BY e.due_at LIMIT %(limit)s
    ) capped
) due
"""  # noqa: S608 - made of constants


class Closed(msgspec.Struct, frozen=True):
    """To whom intake is closed."""

    everybody: bool = False
    tenants: frozenset[int] = frozenset()


_OPEN = Closed()


def count_and_say() -> Closed:
    """For the scheduler's turn: count what waits, and say to whom intake is closed."""
    limit: int = settings.BACKLOG_LIMIT
    share = max(limit // 2, 1)
    waiting: Counter[int] = Counter()
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, {"limit": limit, "now": clock()})
        for tenant_id, count in cursor.fetchall():
            waiting[tenant_id] += count
    full = frozenset(tenant_id for tenant_id, count in waiting.items() if count >= share)
    # A tenant that is turned away already counts for its share: what it got in before this was noticed, or had scheduled for
    # this moment, must not turn away everybody else.
    closed = Closed(everybody=sum(min(count, share) for count in waiting.values()) >= limit, tenants=full)
    try:
        if closed == _OPEN:
            redis.client().delete(_KEY)
        else:
            redis.client().set(_KEY, msgspec.json.encode(closed), ex=_SAID_FOR_S)
            logger.warning("intake_closed", everybody=closed.everybody, tenants=sorted(full), waiting=waiting.total())
    except RedisError as error:
        logger.warning("intake_not_told", error=type(error).__name__)
    return closed


class Counting:
    """Calls `count_and_say` every few of the scheduler's turns."""

    def __init__(self) -> None:
        self._next = 0.0

    def turn(self) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _COUNTED_EVERY_S
            count_and_say()


_seen: tuple[float, Closed] = (0.0, _OPEN)
"""When Redis was last asked (`time.monotonic`), and what it said."""


def is_closed_to(tenant_id: int) -> bool:
    """Whether this tenant's events, but urgent ones, are to be turned away now."""
    closed = _closed()
    if closed.everybody or tenant_id in closed.tenants:
        INTAKE_CLOSED.inc()
        return True
    return False


def _closed() -> Closed:
    global _seen  # noqa: PLW0603
    now = time.monotonic()
    if now - _seen[0] >= _LOOKED_AT_EVERY_S:
        _seen = now, _seen[1]  # one thread asks, the others go on with what is known
        try:
            said = redis.client().get(_KEY)
            _seen = now, msgspec.json.decode(said, type=Closed) if isinstance(said, bytes) else _OPEN
        except RedisError:
            _seen = now, _OPEN
    return _seen[1]
