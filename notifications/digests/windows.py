"""Joining a digest: the open one, or a new one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from uuid_utils.compat import uuid7

from notifications.wire import Window
from tenants.columns import bool_array, int_array, text_array, time_array, uuid_array

MOST_COLLECTED = 20_000
"""A digest with so many items is due at once: closing it must stay a matter of seconds, and nobody waits for that much."""


class DigestKey(NamedTuple):
    """Whose digest of what; one is open at a time."""

    tenant_id: int
    user_id: str
    address: str
    """Empty for a recipient with a user id."""
    channel: int
    digest_key: str
    schedule_id: UUID | None
    sandbox: bool


class Wanted(NamedTuple):
    """A digest that items of a chunk join."""

    key: DigestKey
    window: Window
    priority: int


# A further item puts the end off as far as the window slides: until `closes_by`, which of others is when they are due anyway.
# The row that is there is locked: who closes it must wait until the items are written, or has closed it, and then it is not
# found here any more. Rows come sorted, so that two writers wait for one another rather than deadlock.
_OPEN = """
INSERT INTO notifications_digest AS old (
    id, tenant_id, user_id, address, channel, digest_key, schedule_id, sandbox, priority, template, most_items, opened_at,
    due_at, closes_by, item_count, sent_count, event_id, error, attempt_count
)
SELECT id, tenant_id, user_id, address, channel, digest_key, schedule_id, sandbox, priority, template, most_items, %(now)s,
    due_at, closes_by, item_count, 0, '', '', 0
FROM unnest(
    %(id)s::uuid[], %(tenant_id)s::int[], %(user_id)s::text[], %(address)s::text[], %(channel)s::smallint[],
    %(digest_key)s::text[], %(schedule_id)s::uuid[], %(sandbox)s::bool[], %(priority)s::smallint[], %(template)s::text[],
    %(most_items)s::smallint[], %(due_at)s::timestamptz[], %(closes_by)s::timestamptz[],
    %(item_count)s::int[]
) AS row (
    id, tenant_id, user_id, address, channel, digest_key, schedule_id, sandbox, priority, template, most_items, due_at,
    closes_by, item_count
)
ON CONFLICT (tenant_id, user_id, md5(address), channel, digest_key, schedule_id, sandbox) WHERE closed_at IS NULL
DO UPDATE SET
    priority = LEAST(old.priority, EXCLUDED.priority),
    due_at = CASE WHEN old.item_count + EXCLUDED.item_count < %(most_collected)s
        THEN LEAST(GREATEST(old.due_at, EXCLUDED.due_at), old.closes_by) ELSE LEAST(old.due_at, %(now)s) END,
    item_count = old.item_count + EXCLUDED.item_count
RETURNING tenant_id, user_id, address, channel, digest_key, schedule_id, sandbox, id, due_at
"""


def open_digests(*, wanted: Collection[Wanted], now: datetime) -> dict[DigestKey, tuple[UUID, datetime]]:
    """The id of each open digest, made if there is none, and when it is due. They stay locked until the transaction ends.

    Each of `wanted` is one item more.
    """
    if not wanted:
        return {}
    items = Counter(one.key for one in wanted)
    unique: dict[DigestKey, Wanted] = {}
    for one in wanted:
        known = unique.get(one.key)
        unique[one.key] = one if known is None else known._replace(priority=min(known.priority, one.priority))
    rows = sorted(unique.values(), key=lambda one: (*one.key[:5], str(one.key.schedule_id), one.key.sandbox))
    keys, windows = [row.key for row in rows], [row.window for row in rows]
    with connection.cursor() as cursor:
        cursor.execute(
            _OPEN,
            {
                "id": uuid_array(uuid7() for _ in rows),
                "tenant_id": int_array(key.tenant_id for key in keys),
                "user_id": text_array(key.user_id for key in keys),
                "address": text_array(key.address for key in keys),
                "channel": int_array(key.channel for key in keys),
                "digest_key": text_array(key.digest_key for key in keys),
                "schedule_id": uuid_array(key.schedule_id for key in keys),
                "sandbox": bool_array(key.sandbox for key in keys),
                "priority": int_array(row.priority for row in rows),
                "template": text_array(window.template for window in windows),
                "most_items": int_array(window.most_items for window in windows),
                "due_at": time_array(window.due_at for window in windows),
                "closes_by": time_array(window.closes_by for window in windows),
                "item_count": int_array(items[key] for key in keys),
                "most_collected": MOST_COLLECTED,
                "now": now,
            },
        )
        return {DigestKey(*row[:7]): (row[7], row[8]) for row in cursor.fetchall()}
