"""Taking up digests whose time has come, under a lease, and reading what they have collected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from notifications.claims import claimed_event
from notifications.holds.claims import ClaimedHold
from notifications.holds.services import Note
from notifications.suspects import CHOSEN, parameters
from notifications.taking import is_due, take_up
from notifications.wire import Held
from tenants.columns import uuid_array
from tenants.turns import waiting_sql

CHUNK = 200
"""Digests taken up at once."""
PAGE = 1000
"""Items read at once."""
MOST_ITEMS = 20_000
"""Of the digests in a claim, and one digest's more: a few seconds' work, so that it ends well within its time limit."""
MAX_ATTEMPTS = 5
"""Times a digest may be taken up without coming to an end before what it has collected fails."""

_WAITING = waiting_sql("notifications_digest", "finished_at IS NULL")

# From `closed_at` on nothing joins it: an item that comes at this moment waits for the row, and then opens the next digest.
_CLAIM = f"""
WITH waiting AS (
    SELECT picked.*, pair.turn, pair.priority
    FROM unnest(%(priorities)s::smallint[], %(tenants)s::int[], %(shares)s::int[])
        WITH ORDINALITY AS pair (priority, tenant_id, share, turn),
    LATERAL (
        SELECT g.id, g.due_at, g.item_count AS size, g.attempt_count FROM notifications_digest g
        WHERE g.finished_at IS NULL AND g.priority = pair.priority AND g.tenant_id = pair.tenant_id AND g.due_at <= %(now)s
          AND (g.lease_until IS NULL OR g.lease_until < %(now)s)
        ORDER BY g.due_at LIMIT pair.share
        FOR UPDATE SKIP LOCKED
    ) picked
), chosen AS ({CHOSEN})
UPDATE notifications_digest g
SET closed_at = COALESCE(g.closed_at, %(now)s), lease_until = %(lease_until)s, lease_id = %(lease_id)s,
    attempt_count = g.attempt_count + 1
WHERE g.id = ANY(ARRAY(SELECT id FROM chosen))
RETURNING g.id, g.tenant_id, g.user_id, g.channel, g.digest_key, g.sandbox, g.priority, g.template, g.most_items, g.opened_at,
    g.closed_at, g.attempt_count
"""  # noqa: S608 - made of constants

# Items in the order in which they came. Their events' data is read later, for those that are shown.
_ITEMS = """
SELECT h.digest_id, h.delivery_id, COALESCE(h.due_at, h.created_at), h.step, h.target::text, h.attempt_count,
    d.user_id, d.channel, d.priority, d.address, e.*
FROM (
    SELECT * FROM notifications_hold
    WHERE (digest_id, delivery_id) > (%(digest)s, %(after)s) AND digest_id = ANY(%(digests)s::uuid[])
    ORDER BY digest_id, delivery_id LIMIT %(limit)s
) h
LEFT JOIN LATERAL (
    SELECT user_id, channel, priority, address FROM deliveries_delivery
    WHERE id = h.delivery_id AND status = 0 AND is_held LIMIT 1
) d ON true
LEFT JOIN LATERAL (
    SELECT id, tenant_id, event_id, event_type, user_id, "to"::text, channels, priority, '{}', metadata::text, sandbox,
        created_at, due_at, expires_at, 0, NULL, attempt_count, options::text
    FROM notifications_event WHERE id = h.event LIMIT 1
) e ON true
ORDER BY h.digest_id, h.delivery_id
"""


class ClaimedDigest(msgspec.Struct, frozen=True, gc=False):
    id: UUID
    tenant_id: int
    user_id: str
    channel: int
    digest_key: str
    sandbox: bool
    priority: int
    template: str
    most_items: int
    opened_at: datetime
    closed_at: datetime
    attempt_count: int


@dataclass(frozen=True, slots=True)
class Claim:
    lease_id: UUID
    digests: list[ClaimedDigest]
    more: bool
    """Whether due ones were left for the next claim, or may have been."""


@dataclass(frozen=True, slots=True)
class Item:
    """A delivery in a digest."""

    digest_id: UUID
    hold: ClaimedHold


def claim_digests(*, now: datetime, limit: int = CHUNK) -> Claim:
    """Close up to `limit` digests that are due to further items, and take them up under a lease."""
    taken = take_up(_WAITING, _CLAIM, now=now, limit=limit, **parameters(most=MOST_ITEMS))
    more = taken.more or len(taken.rows) < taken.shared_out
    return Claim(taken.lease_id, [ClaimedDigest(*row) for row in taken.rows], more=more)


def items_of(digest_ids: Sequence[UUID], *, page: int = PAGE) -> Iterator[list[Item]]:
    """What digests have collected, in pages; one statement each."""
    digest = after = UUID(int=0)
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_ITEMS, {"digests": uuid_array(digest_ids), "digest": digest, "after": after, "limit": page})
            rows = cursor.fetchall()
        if not rows:
            return
        yield [_item(row) for row in rows if row[_CHANNEL] is not None and row[_EVENT] is not None]
        digest, after, *_ = rows[-1]


_CHANNEL, _EVENT = 7, 10
"""Columns that are NULL where the delivery was canceled, or its event is gone."""


def _item(row: tuple[Any, ...]) -> Item:
    digest_id, delivery_id, due_at, step, target, attempts, user_id, channel, priority, address, *event = row
    note = msgspec.json.decode(target, type=Note)
    held = Held(delivery_id, due_at, step, note.past)
    return Item(digest_id, ClaimedHold(held, note, attempts, user_id, channel, priority, address, claimed_event(event)))


def digests_are_due(*, now: datetime) -> bool:
    """Whether a digest is due that nobody has taken up."""
    return is_due(_WAITING, now=now)
