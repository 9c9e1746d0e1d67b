"""Writes to deliveries that are held, until their time has come or until they are part of a digest; one statement each.

A delivery whose event was canceled, or whose recipient was erased, while it was held is none of these any more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from deliveries.services import NOTHING, Changed, NewDelivery
from deliveries.states import Status
from deliveries.status_webhooks.outbox import announcing
from tenants.columns import columns_of, uuid_array

# Locked in the order of their ids, as by those who cancel and erase: so whoever comes second waits rather than deadlocks.
_STILL_HELD = """d.id = ANY(ARRAY(
    SELECT id FROM deliveries_delivery WHERE id = ANY(%(id)s::uuid[]) AND status = 0 AND is_held ORDER BY id FOR NO KEY UPDATE
)) AND d.status = 0 AND d.is_held"""

_RELEASE = announcing(
    f"""
UPDATE deliveries_delivery d
SET status = r.status, reason = r.reason, priority = r.priority, address = r.address,
    explanation = NULLIF(
        COALESCE(r.explanation::jsonb, '{{}}')
            || jsonb_strip_nulls(jsonb_build_object('replayedAt', d.explanation -> 'replayedAt')),
        '{{}}'
    ),
    locale = r.locale, template_version_id = r.template_version_id, subject = r.subject, body = r.body, html = r.html,
    data = r.data::jsonb, attempt_count = r.attempt_count, lease_until = r.lease_until, error = r.error,
    accepted_at = GREATEST(d.accepted_at, r.accepted_at), is_held = r.is_held,
    next_attempt_at = COALESCE(r.next_attempt_at, %(now)s), unsubscribe_token = r.unsubscribe_token
FROM unnest(
    %(id)s::uuid[], %(priority)s::smallint[], %(status)s::smallint[], %(reason)s::text[], %(explanation)s::text[],
    %(address)s::text[], %(locale)s::text[], %(template_version_id)s::uuid[], %(subject)s::text[], %(body)s::text[],
    %(html)s::text[], %(data)s::text[], %(attempt_count)s::smallint[], %(lease_until)s::timestamptz[], %(error)s::text[],
    %(accepted_at)s::timestamptz[], %(is_held)s::bool[], %(next_attempt_at)s::timestamptz[],
    %(unsubscribe_token)s::text[]
) AS r (
    id, priority, status, reason, explanation, address, locale, template_version_id, subject, body, html, data, attempt_count,
    lease_until, error, accepted_at, is_held, next_attempt_at, unsubscribe_token
)
WHERE d.id = r.id AND {_STILL_HELD}
""",  # noqa: S608 - made of constants
    was="0",
)


def release_held(*, rows: Sequence[NewDelivery], now: datetime) -> Changed:
    """Let held deliveries go on as `rows` (by their ids) say, or be held further; returns those that were still waiting."""
    if not rows:
        return NOTHING
    columns: dict[str, Any] = columns_of(NewDelivery, rows)
    with connection.cursor() as cursor:
        cursor.execute(_RELEASE, {**columns, "now": now})
        return Changed.of(cursor.fetchall())


class Settled(msgspec.Struct, frozen=True, gc=False):
    """How a held delivery ends without being sent by itself."""

    id: UUID
    status: int
    reason: str
    explanation: str
    """JSON; replaces what was there, but for the rule that asked for the delivery."""


_SETTLE = announcing(f"""
UPDATE deliveries_delivery d
SET status = r.status, reason = r.reason, is_held = false,
    explanation = r.explanation::jsonb || jsonb_strip_nulls(jsonb_build_object('routedByRule', d.explanation -> 'routedByRule'))
FROM unnest(%(id)s::uuid[], %(status)s::smallint[], %(reason)s::text[], %(explanation)s::text[])
    AS r (id, status, reason, explanation)
WHERE d.id = r.id AND {_STILL_HELD}
""")  # noqa: S608 - made of constants


def settle_held(*, rows: Sequence[Settled]) -> Changed:
    """End held deliveries, in the caller's transaction; returns those that were still waiting."""
    if not rows:
        return NOTHING
    columns: dict[str, Any] = columns_of(Settled, rows)
    with connection.cursor() as cursor:
        cursor.execute(_SETTLE, columns)
        return Changed.of(cursor.fetchall())


_FAIL_HELD = announcing(f"""
UPDATE deliveries_delivery d SET status = %(failed)s, reason = %(reason)s, error = %(error)s, is_held = false
WHERE {_STILL_HELD}
""")  # noqa: S608 - made of constants


def fail_held(*, delivery_ids: Collection[UUID], reason: str, error: str) -> None:
    """Let held deliveries fail, in the caller's transaction."""
    parameters: dict[str, Any] = {
        "id": uuid_array(delivery_ids),
        "failed": Status.FAILED.value,
        "reason": reason,
        "error": error,
    }
    with connection.cursor() as cursor:
        cursor.execute(_FAIL_HELD, parameters)
