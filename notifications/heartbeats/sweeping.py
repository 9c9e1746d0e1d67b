"""The sweep's part: keys whose deadline has passed become missing, and those that were seen again are back.

State and event are written in one transaction, and rows are taken with `SKIP LOCKED`: two schedulers at once, or one that
dies, raise each event once.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from notifications.heartbeats.deadlines import HELD, Verdict, judge
from notifications.heartbeats.events import Raised, in_words, store_raised
from tenants.columns import bool_array, time_array, uuid_array

AT_ONCE: Final = 1000
"""Keys in a transaction; the others follow in the next turn, a second later."""
_LOOKED_AT: Final = 1000
"""Waiting events of a tenant, in each class of priority, among which beats are looked for. Behind them, any may be one."""

_ANYTHING = """
SELECT
    EXISTS (SELECT FROM notifications_heartbeatkey WHERE NOT is_missing AND check_at <= %(now)s),
    EXISTS (SELECT FROM notifications_heartbeatkey WHERE is_missing AND due_at > %(now)s),
    EXISTS (
        SELECT FROM notifications_heartbeat h JOIN tenants_tenant t ON t.id = h.tenant_id
        WHERE NOT h.is_watching AND h.is_active AND t.is_active
    ) OR EXISTS (
        SELECT FROM tenants_tenant t JOIN notifications_heartbeat h ON h.tenant_id = t.id
        WHERE NOT t.is_active AND h.is_watching
    )
"""

_SLEEP = """
UPDATE notifications_heartbeat h SET is_watching = false FROM tenants_tenant t
WHERE t.id = h.tenant_id AND h.is_watching AND NOT t.is_active
"""

# The keys are locked in the order in which beats are written.
_WAKE = """
WITH woken AS (
    UPDATE notifications_heartbeat h SET is_watching = true FROM tenants_tenant t
    WHERE t.id = h.tenant_id AND NOT h.is_watching AND h.is_active AND t.is_active
    RETURNING h.id, make_interval(secs => h.every_s + h.grace_s) AS patience
), locked AS (
    SELECT k.id, w.patience FROM notifications_heartbeatkey k JOIN woken w ON w.id = k.heartbeat_id
    WHERE NOT k.is_missing ORDER BY k.heartbeat_id, k.key FOR UPDATE OF k
)
UPDATE notifications_heartbeatkey k SET due_at = %(now)s + l.patience, check_at = %(now)s + l.patience
FROM locked l WHERE k.id = l.id
"""

_FIELDS = "k.id, k.heartbeat_id, k.tenant_id, k.key, k.last_seen_at, k.due_at, k.check_at, k.missing_since, k.silent_since, "
_COUNT = "k.miss_count"

_DUE = f"""
SELECT {_FIELDS}{_COUNT} FROM notifications_heartbeatkey k
WHERE NOT k.is_missing AND k.check_at <= %(now)s
ORDER BY k.check_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - made of constants

_BACK = f"""
SELECT {_FIELDS}{_COUNT} FROM notifications_heartbeatkey k JOIN notifications_heartbeat h ON h.id = k.heartbeat_id
WHERE k.is_missing AND k.due_at > %(now)s AND h.is_watching
ORDER BY k.due_at LIMIT %(limit)s FOR UPDATE OF k SKIP LOCKED
"""  # noqa: S608 - made of constants

# An event counts as waiting until its deliveries are written. Whatever else is known of a backlog that is longer than what is
# looked at, its last event looked at is waiting, and may be a beat.
_ABOUT = """
SELECT h.id, h.name, h.every_s, h.grace_s, h.missed_event_type, h.recovered_event_type,
    h.is_watching AND h.is_active AND t.is_active, t.sandbox, waiting.since
FROM notifications_heartbeat h JOIN tenants_tenant t ON t.id = h.tenant_id, LATERAL (
    SELECT min(one.due_at) AS since FROM generate_series(0, 3) AS class (priority), LATERAL (
        SELECT e.due_at, e.event_type, row_number() OVER (ORDER BY e.due_at) AS place FROM (
            SELECT e.due_at, e.event_type FROM notifications_event e
            WHERE e.status = 0 AND e.priority = class.priority AND e.tenant_id = h.tenant_id AND e.due_at <= %(now)s
                AND e.cursor = 0
            ORDER BY e.due_at LIMIT %(looked_at)s
        ) e
    ) one
    WHERE one.place = %(looked_at)s
        OR one.event_type LIKE replace(replace(h.event_type, '_', '\\_'), '*', '%%')
) waiting
WHERE h.id = ANY(%(ids)s::uuid[])
"""

_CHANGE = """
UPDATE notifications_heartbeatkey k
SET is_missing = c.is_missing, due_at = c.due_at, check_at = c.check_at, missing_since = c.missing_since,
    silent_since = c.silent_since, miss_count = k.miss_count + (c.is_missing AND NOT k.is_missing)::int
FROM unnest(
    %(ids)s::uuid[], %(is_missing)s::boolean[], %(due_at)s::timestamptz[], %(check_at)s::timestamptz[],
    %(missing_since)s::timestamptz[], %(silent_since)s::timestamptz[]
) AS c (id, is_missing, due_at, check_at, missing_since, silent_since)
WHERE k.id = c.id
"""


class Key(NamedTuple):
    """A locked row."""

    id: UUID
    heartbeat_id: UUID
    tenant_id: int
    key: str
    last_seen_at: datetime | None
    due_at: datetime
    check_at: datetime | None
    missing_since: datetime | None
    silent_since: datetime | None
    miss_count: int
    is_missing: bool = False


class About(NamedTuple):
    """Its heartbeat."""

    id: UUID
    name: str
    every_s: int
    grace_s: int
    missed_event_type: str
    recovered_event_type: str
    is_watching: bool
    sandbox: bool
    waiting_since: datetime | None

    @property
    def patience(self) -> timedelta:
        return timedelta(seconds=self.every_s + self.grace_s)


def sweep_heartbeats(*, now: datetime) -> bool:
    """One statement if there is nothing to do. Returns whether events were stored, for which to ring."""
    with connection.cursor() as cursor:
        cursor.execute(_ANYTHING, {"now": now})
        due, back, restart = cursor.fetchone()
    if restart:
        _restart(now)
    raised = _missing(now) if due else 0
    raised += _back(now) if back else 0
    return raised > 0


def _restart(now: datetime) -> None:
    """Heartbeats that were changed or switched on begin with new deadlines; those of tenants switched off have none."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_SLEEP)
        cursor.execute(_WAKE, {"now": now})


def _missing(now: datetime) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        keys = _locked(cursor, _DUE, now)
        about = _heartbeats_of(cursor, keys, now)
        changed: list[Key] = []
        raised: list[Raised] = []
        for key in keys:
            if heartbeat := about.get(key.heartbeat_id):
                changed.append(_after_deadline(key, heartbeat, now))
                if changed[-1].is_missing:
                    raised.append(_missed(changed[-1], heartbeat))
        return _write(cursor, changed, raised, now)


def _back(now: datetime) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        keys = _locked(cursor, _BACK, now)
        about = _heartbeats_of(cursor, keys, now)
        known = [(key, about[key.heartbeat_id]) for key in keys if key.heartbeat_id in about]
        changed = [key._replace(check_at=key.due_at, missing_since=None, silent_since=None) for key, _ in known]
        return _write(cursor, changed, [_recovered(key, heartbeat) for key, heartbeat in known], now)


def _locked(cursor: CursorWrapper, statement: str, now: datetime) -> list[Key]:
    cursor.execute(statement, {"now": now, "limit": AT_ONCE})
    return [Key(*row) for row in cursor.fetchall()]


def _heartbeats_of(cursor: CursorWrapper, keys: list[Key], now: datetime) -> dict[UUID, About]:
    ids = uuid_array({key.heartbeat_id for key in keys})
    cursor.execute(_ABOUT, {"ids": ids, "now": now, "looked_at": _LOOKED_AT})
    return {row[0]: About(*row) for row in cursor.fetchall()}


def _after_deadline(key: Key, heartbeat: About, now: datetime) -> Key:
    assert key.check_at is not None
    verdict = judge(
        due_at=key.due_at,
        check_at=key.check_at,
        is_watching=heartbeat.is_watching,
        waiting_since=heartbeat.waiting_since,
        now=now,
    )
    if verdict is Verdict.ASLEEP:
        return key._replace(check_at=None)
    if verdict is Verdict.ANEW:
        return key._replace(due_at=now + heartbeat.patience, check_at=now + heartbeat.patience)
    if verdict is Verdict.WAIT:
        return key._replace(check_at=now + HELD)
    return key._replace(
        is_missing=True,
        missing_since=key.due_at,
        silent_since=key.last_seen_at or key.due_at - heartbeat.patience,
        miss_count=key.miss_count + 1,
    )


def _write(cursor: CursorWrapper, changed: list[Key], raised: list[Raised], now: datetime) -> int:
    cursor.execute(
        _CHANGE,
        {
            "ids": uuid_array(key.id for key in changed),
            "is_missing": bool_array(key.is_missing for key in changed),
            **{
                name: time_array(getattr(key, name) for key in changed)
                for name in ("due_at", "check_at", "missing_since", "silent_since")
            },
        },
    )
    return store_raised(cursor, raised, now=now) if raised else 0


def _missed(key: Key, heartbeat: About) -> Raised:
    return _raised(key, heartbeat, "missed", heartbeat.missed_event_type, {"missedSince": in_words(key.missing_since)})


def _recovered(key: Key, heartbeat: About) -> Raised:
    assert key.last_seen_at is not None
    assert key.silent_since is not None
    away_s = round((key.last_seen_at - key.silent_since).total_seconds())
    data = {"missedSince": in_words(key.missing_since), "awayFor": away_s}
    return _raised(key, heartbeat, "recovered", heartbeat.recovered_event_type, data)


def _raised(key: Key, heartbeat: About, kind: str, event_type: str, data: dict[str, Any]) -> Raised:
    return Raised(
        tenant_id=key.tenant_id,
        sandbox=heartbeat.sandbox,
        key_id=key.id,
        count=key.miss_count,
        kind=kind,
        event_type=event_type,
        data={
            "heartbeat": heartbeat.name,
            "key": key.key,
            "lastSeenAt": in_words(key.last_seen_at),
            "expectedEvery": heartbeat.every_s,
            **data,
        },
    )
