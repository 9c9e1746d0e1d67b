"""Deliveries taken up under a lease, and given back: in two statements and one, whatever their number."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from django.db import connection

from deliveries.states import Status
from tenants.columns import int_array, time_array, uuid_array
from tenants.turns import Waiting, divide
from tenants.vocabulary import Channel

LEASE = timedelta(seconds=40)
"""How long a worker may keep what it claimed: longer than a claim's provider calls can take, all time limits used up."""
IN_APP_LEASE = timedelta(seconds=30)
"""In-app there is no provider: as long as a chunk may be on its way."""

# A loose index scan over delivery_due (channel, priority, tenant_id, next_attempt_at), as for events: each tenant in each class
# of priority is its own index range, so that neither a tenant's million messages nor a million retries in the future stand
# before another tenant's.
_WAITING = """
WITH RECURSIVE pair AS (
    (
        SELECT priority, tenant_id FROM deliveries_delivery WHERE channel = %(channel)s AND status IN (0, 1) AND NOT is_held
        ORDER BY priority, tenant_id LIMIT 1
    )
    UNION ALL
    SELECT next.priority, next.tenant_id FROM pair, LATERAL (
        SELECT priority, tenant_id FROM deliveries_delivery
        WHERE channel = %(channel)s AND status IN (0, 1) AND NOT is_held
            AND (priority, tenant_id) > (pair.priority, pair.tenant_id)
        ORDER BY priority, tenant_id LIMIT 1
    ) next
)
SELECT pair.priority, pair.tenant_id, due.waiting FROM pair, LATERAL (
    SELECT count(*) AS waiting FROM (
        SELECT FROM deliveries_delivery d
        WHERE d.channel = %(channel)s AND d.status IN (0, 1) AND NOT d.is_held
          AND d.priority = pair.priority AND d.tenant_id = pair.tenant_id
          AND d.next_attempt_at <= %(now)s AND (d.lease_until IS NULL OR d.lease_until < %(now)s)
        ORDER BY d.next_attempt_at LIMIT %(limit)s
    ) capped
) due
WHERE due.waiting > 0
"""

# `= ANY(…)` beside the join makes the planner look rows up by id; it would rather read a table it thinks small.
_CLAIM = """
WITH due AS (
    SELECT picked.id, picked.status, picked.lease_until
    FROM unnest(%(priorities)s::smallint[], %(tenants)s::int[], %(shares)s::int[]) AS pair (priority, tenant_id, share),
    LATERAL (
        SELECT d.id, d.status, d.lease_until FROM deliveries_delivery d
        WHERE d.channel = %(channel)s AND d.status IN (0, 1) AND NOT d.is_held
          AND d.priority = pair.priority AND d.tenant_id = pair.tenant_id
          AND d.next_attempt_at <= %(now)s AND (d.lease_until IS NULL OR d.lease_until < %(now)s)
        ORDER BY d.next_attempt_at LIMIT pair.share
        FOR UPDATE SKIP LOCKED
    ) picked
)
UPDATE deliveries_delivery d
SET status = 1, lease_until = %(lease_until)s, attempt_count = d.attempt_count + 1,
    interruption_count = d.interruption_count + (due.status = 1)::int
FROM due WHERE d.id = ANY(ARRAY(SELECT id FROM due)) AND d.id = due.id
RETURNING d.id, d.tenant_id, d.event_id, d.event_type, d.user_id, d.priority, d.sandbox, d.address, d.subject, d.body, d.html,
    d.data::text, d.attempt_count, d.retry_count, d.interruption_count, d.expires_at, d.accepted_at, d.created_at,
    d.lease_until, CASE WHEN due.status = 1 THEN COALESCE(due.lease_until, %(now)s) - %(lease)s * interval '1 second' END,
    COALESCE(d.explanation ? 'cancelRequested', false),
    (d.explanation ->> 'replayedAt')::timestamptz, d.unsubscribe_token
"""


class ClaimedDelivery(msgspec.Struct, frozen=True, gc=False):
    id: UUID
    tenant_id: int
    event_id: str
    event_type: str
    user_id: str
    priority: int
    sandbox: bool
    address: str
    subject: str
    body: str
    html: str
    data: str | None
    """JSON"""
    attempt: int
    """This attempt's number, from 1."""
    retry_count: int
    """Retries used up."""
    interruption_count: int
    """Times that a worker died with it in hand."""
    expires_at: datetime | None
    accepted_at: datetime
    created_at: datetime
    lease_until: datetime
    interrupted_at: datetime | None
    """When the attempt before this one was taken up, if it was never recorded: its worker died."""
    is_canceled: bool = False
    """Its event was canceled during an attempt; there is to be no other."""
    replayed_at: datetime | None = None
    """When it was last taken from the dead letters: its time begins anew."""
    unsubscribe_token: str = ""
    """E-mail that may be unsubscribed from: what the link in its header holds."""


def lease_of(channel: Channel) -> timedelta:
    return IN_APP_LEASE if channel is Channel.IN_APP else LEASE


def claim_deliveries(
    *, channel: Channel, limit: int, now: datetime, without: Container[tuple[int, int]] = ()
) -> list[ClaimedDelivery]:
    """Take up to `limit` due deliveries of a channel under a lease; they are `sending` from here on.

    The most urgent class first; in a class every tenant alike, but none of `without`, which are pairs of priority and tenant.
    """
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, {"channel": channel.value, "limit": limit, "now": now})
        shares = divide([Waiting(*row) for row in cursor.fetchall() if row[:2] not in without], limit)
        if not shares:
            return []
        cursor.execute(
            _CLAIM,
            {
                "channel": channel.value,
                "priorities": int_array(pair.priority for pair, _ in shares),
                "tenants": int_array(pair.tenant_id for pair, _ in shares),
                "shares": int_array(share for _, share in shares),
                "now": now,
                "lease_until": now + lease_of(channel),
                "lease": lease_of(channel).total_seconds(),
            },
        )
        rows = cursor.fetchall()
    return [ClaimedDelivery(*row) for row in rows]


def release_deliveries(*, rows: Sequence[ClaimedDelivery]) -> None:
    """Give back claimed deliveries that were not begun; it does not count as an attempt."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE deliveries_delivery d SET status = %s, lease_until = NULL, attempt_count = d.attempt_count - 1 "
            "FROM unnest(%s::uuid[], %s::timestamptz[]) AS r (id, lease_until) "
            "WHERE d.id = r.id AND d.lease_until = r.lease_until AND d.status = %s",
            [
                Status.PENDING.value,
                uuid_array([row.id for row in rows]),
                time_array([row.lease_until for row in rows]),
                Status.SENDING.value,
            ],
        )


PLACES = """
WITH RECURSIVE place AS (
    (
        SELECT channel, priority, tenant_id FROM deliveries_delivery WHERE status IN (0, 1) AND NOT is_held
        ORDER BY channel, priority, tenant_id LIMIT 1
    )
    UNION ALL
    SELECT next.channel, next.priority, next.tenant_id FROM place, LATERAL (
        SELECT channel, priority, tenant_id FROM deliveries_delivery
        WHERE status IN (0, 1) AND NOT is_held
            AND (channel, priority, tenant_id) > (place.channel, place.priority, place.tenant_id)
        ORDER BY channel, priority, tenant_id LIMIT 1
    ) next
)
"""
"""SQL that begins a statement: `place (channel, priority, tenant_id)` of all deliveries with work left to do."""

_DUE_CHANNELS = f"""{PLACES}
SELECT DISTINCT place.channel FROM place
WHERE EXISTS (
    SELECT FROM deliveries_delivery d
    WHERE d.channel = place.channel AND d.priority = place.priority AND d.tenant_id = place.tenant_id
      AND d.status IN (0, 1) AND NOT d.is_held
      AND d.next_attempt_at <= %(now)s AND (d.lease_until IS NULL OR d.lease_until < %(now)s)
)
"""  # noqa: S608 - made of constants


def channels_with_due_deliveries(*, now: datetime) -> list[Channel]:
    """The channels with something to send that nobody holds; one statement."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE_CHANNELS, {"now": now})
        return [Channel(row[0]) for row in cursor.fetchall()]
