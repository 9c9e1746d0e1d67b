"""Seeing beats: of a chunk of events, which keys of which heartbeats they are, in one statement for all.

The time of a beat is when its event was accepted: however long it waited for a worker, and however often its chunk is begun
anew, it says the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import structlog
from django.db import IntegrityError, connection
from django.utils.timezone import now as clock
from uuid_utils.compat import uuid7

from notifications.audience import variables_of
from notifications.claims import ClaimedEvent
from notifications.expressions.evaluation import ExpressionError, evaluate
from notifications.heartbeats.models import Heartbeat
from notifications.patterns import fits
from tenants.columns import text_array, time_array, uuid_array

logger = structlog.get_logger(__name__)

MOST_KEYS: Final = 10_000
"""Of a heartbeat; further ones are passed over. Counted before a chunk's new ones are added, so a few more may get in."""
LONGEST_KEY: Final = 255
_OWN: Final = re.compile(r"heartbeat-[0-9a-f-]{36}-\d+-(?:missed|recovered)")
"""The ids of heartbeats' own events. They are no beats, or a heartbeat on `*` would hear itself."""

# Keys are written in one order by everybody, so that two chunks wait for each other but never both.
_SEE = """
WITH beat AS (
    SELECT b.id, b.heartbeat_id, b.key, b.at, h.tenant_id, make_interval(secs => h.every_s + h.grace_s) AS patience
    FROM unnest(%(ids)s::uuid[], %(heartbeats)s::uuid[], %(keys)s::text[], %(times)s::timestamptz[])
        AS b (id, heartbeat_id, key, at)
    JOIN notifications_heartbeat h ON h.id = b.heartbeat_id
), fresh AS (
    SELECT b.heartbeat_id, b.key, row_number() OVER (PARTITION BY b.heartbeat_id ORDER BY b.key) AS place FROM beat b
    WHERE NOT EXISTS (SELECT FROM notifications_heartbeatkey k WHERE k.heartbeat_id = b.heartbeat_id AND k.key = b.key)
), room AS MATERIALIZED (
    SELECT one.heartbeat_id, %(most)s - (
        SELECT count(*) FROM notifications_heartbeatkey k WHERE k.heartbeat_id = one.heartbeat_id
    ) AS places
    FROM (SELECT DISTINCT heartbeat_id FROM fresh) one
), refused AS (
    SELECT f.heartbeat_id, f.key FROM fresh f JOIN room r ON r.heartbeat_id = f.heartbeat_id WHERE f.place > r.places
)
INSERT INTO notifications_heartbeatkey AS k
    (id, tenant_id, heartbeat_id, key, last_seen_at, due_at, check_at, is_missing, miss_count, created_at)
SELECT b.id, b.tenant_id, b.heartbeat_id, b.key, b.at, b.at + b.patience, b.at + b.patience, false, 0, %(now)s
FROM beat b
WHERE NOT EXISTS (SELECT FROM refused r WHERE r.heartbeat_id = b.heartbeat_id AND r.key = b.key)
ORDER BY b.heartbeat_id, b.key
ON CONFLICT (heartbeat_id, key) DO UPDATE SET
    last_seen_at = GREATEST(k.last_seen_at, EXCLUDED.last_seen_at),
    due_at = GREATEST(k.due_at, EXCLUDED.due_at),
    check_at = GREATEST(k.due_at, EXCLUDED.due_at)
"""

Beats = Mapping[tuple[UUID, str], datetime]
"""(heartbeat, key) → when the latest of its events was accepted."""


class Watch(NamedTuple):
    """An active heartbeat, as far as seeing takes it."""

    id: UUID
    event_type: str
    key: str


def watches_of(tenant_ids: Iterable[int]) -> dict[int, list[Watch]]:
    """The active heartbeats of each tenant that has any; one statement."""
    watches: dict[int, list[Watch]] = {}
    active = Heartbeat.objects.filter(tenant_id__in=list(tenant_ids), is_active=True)
    for tenant_id, heartbeat_id, event_type, key in active.values_list("tenant_id", "id", "event_type", "key"):
        watches.setdefault(tenant_id, []).append(Watch(heartbeat_id, event_type, key))
    return watches


def see(events: Sequence[ClaimedEvent], watches: Mapping[int, Sequence[Watch]]) -> None:
    """Note the beats among `events`; `watches` are the active heartbeats of each tenant that has any."""
    beats = beats_of(events, watches)
    if not beats:
        return
    try:
        written = _write(beats)
    except IntegrityError:  # a heartbeat was deleted at this very moment; it is not found any more
        written = _write(beats)
    if written < len(beats):
        logger.warning("heartbeat_keys_refused", keys=len(beats) - written)


def beats_of(events: Sequence[ClaimedEvent], watches: Mapping[int, Sequence[Watch]]) -> Beats:
    """Only of what is taken up for the first time: a broadcast that goes on was seen when it began."""
    beats: dict[tuple[UUID, str], datetime] = {}
    for event in events:
        if event.cursor or event.tenant_id not in watches or _OWN.fullmatch(event.event_id):
            continue
        for watch, key in _keys(event, watches[event.tenant_id]):
            place = watch.id, key
            beats[place] = max(beats.get(place, event.created_at), event.created_at)
    return beats


def _keys(event: ClaimedEvent, watches: Sequence[Watch]) -> Iterator[tuple[Watch, str]]:
    variables: dict[str, Any] = {}
    for watch in watches:
        if not fits(watch.event_type, event.event_type):
            continue
        if not watch.key:
            yield watch, ""
            continue
        variables = variables or variables_of(event)
        try:
            value = evaluate(watch.key, variables, tenant_id=event.tenant_id, rule_id=watch.id)
            yield watch, _as_key(value)
        except ExpressionError as error:
            logger.warning("heartbeat_key_failed", heartbeat_id=str(watch.id), event_id=event.event_id, error=str(error))


def _as_key(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not 0 < len(str(value)) <= LONGEST_KEY:
        raise ExpressionError(f"the key is {type(value).__name__}, not a text of 1 to {LONGEST_KEY} characters or a number")
    return str(value)


def _write(beats: Beats) -> int:
    """Returns how many keys were written."""
    places = sorted(beats)
    with connection.cursor() as cursor:
        cursor.execute(
            _SEE,
            {
                "ids": uuid_array(uuid7() for _ in places),
                "heartbeats": uuid_array(heartbeat_id for heartbeat_id, _ in places),
                "keys": text_array(key for _, key in places),
                "times": time_array(beats[place] for place in places),
                "most": MOST_KEYS,
                "now": clock(),
            },
        )
        return int(cursor.rowcount)
