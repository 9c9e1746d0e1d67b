"""A user that is erased is erased from the history. What was sent when, by whom and with what outcome stays, for the
statistics; to whom, where and in which words does not.

A delivery that waits is canceled, with the reason `erased`. One that is just being sent may go out, but is not tried again:
its outcome is recorded without the provider's words. `explanation.erasedAt` says that a delivery was erased; nothing but its
state changes afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final, TypeAlias
from uuid import UUID

from django.db import connection, transaction
from django.utils.timezone import now as clock

from deliveries.services import WITHOUT_WAITING
from deliveries.states import Status, sources_of
from deliveries.status_webhooks.outbox import announcing
from tenants.models import Tenant
from tenants.times import written_utc

BATCH: Final = 500
"""Deliveries erased in one transaction: their rows are locked for a fraction of a second."""
ERASED: Final = "erased"
"""The reason of what is canceled because its recipient was erased."""

ContentsEraser: TypeAlias = Callable[[int, Collection[str]], None]
"""Tenant id, event ids: these events reached nobody but users who are erased, so that what they say is about them."""

RowsEraser: TypeAlias = Callable[[Collection[UUID]], None]
"""Deliveries that were erased: whatever else is kept of one goes too."""

_contents_erasers: list[ContentsEraser] = []
_rows_erasers: list[RowsEraser] = []


def register_rows(eraser: RowsEraser) -> None:
    """Called by a room that keeps something of deliveries, when its app is ready."""
    _rows_erasers.append(eraser)


def register_contents(eraser: ContentsEraser) -> None:
    """Called by the room that owns events, when its app is ready."""
    _contents_erasers.append(eraser)


_BATCH_OF_USER: Final = """
SELECT id, event_id FROM deliveries_delivery WHERE tenant_id = %s AND user_id = %s ORDER BY id LIMIT %s
"""

_OF_NOBODY_ELSE: Final = """
SELECT asked.event_id FROM unnest(%s::text[]) AS asked (event_id)
WHERE NOT EXISTS (
    SELECT FROM deliveries_delivery d
    WHERE d.tenant_id = %s AND d.event_id = asked.event_id AND d.user_id <> %s
      AND NOT (d.user_id = '' AND COALESCE(d.explanation ? 'erasedAt', false))
)
"""

# The address keeps the erased recipients of one event apart, as the constraint `delivery_once` asks. Locked in the order of
# their ids, so that who else locks several waits rather than deadlocks.
_FORGET: Final = announcing(
    f"""
WITH held AS (
    SELECT id, status, status = ANY(%(withdrawn)s) AS is_withdrawn, status = %(sending)s AS is_sending
    FROM deliveries_delivery WHERE id = ANY(%(ids)s) AND tenant_id = %(tenant_id)s AND user_id = %(user_id)s
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE deliveries_delivery d
SET user_id = '', address = 'erased:' || d.id, subject = '', body = '', html = '', data = NULL, error = '',
    provider_message_id = NULL,
    explanation = ({WITHOUT_WAITING} - 'correctedFrom') || jsonb_build_object('erasedAt', %(erased_at)s::text)
        || CASE WHEN held.is_sending THEN '{{"cancelRequested": true}}' ELSE '{{}}' END::jsonb,
    status = CASE WHEN held.is_withdrawn THEN %(canceled)s ELSE d.status END,
    reason = CASE WHEN held.is_withdrawn THEN %(erased)s ELSE d.reason END,
    lease_until = CASE WHEN held.is_withdrawn THEN NULL ELSE d.lease_until END, is_held = d.is_held AND NOT held.is_withdrawn
FROM held WHERE d.id = ANY(%(ids)s) AND d.id = held.id
""",  # noqa: S608 - made of constants
    was="held.status",
)

# Per push token, the detail has its outcome; the accounts that were passed over are nobody's personal data.
_FORGET_ANSWERS: Final = """
UPDATE deliveries_attempt SET response = '',
    detail = CASE WHEN detail ? 'passedOver' THEN jsonb_build_object('passedOver', detail -> 'passedOver') END
WHERE delivery_id = ANY(%s) AND (response <> '' OR detail IS NOT NULL)
"""
_FORGET_REPORTS: Final = "UPDATE deliveries_receipt SET response = '' WHERE delivery_id = ANY(%s) AND response <> ''"


def forget_deliveries(tenant: Tenant, user_id: str) -> bool:
    """Erase the user from up to `BATCH` deliveries, with their attempts, receipts and events; whether there were any.

    Events are locked before deliveries, and so is what else is kept of a delivery, as everywhere.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_BATCH_OF_USER, [tenant.pk, user_id, BATCH])
        found = cursor.fetchall()
        if not found:
            return False
        ids = [row_id for row_id, _ in found]
        cursor.execute(_OF_NOBODY_ELSE, [sorted({event_id for _, event_id in found}), tenant.pk, user_id])
        for erase in _contents_erasers:
            erase(tenant.pk, [event_id for (event_id,) in cursor.fetchall()])
        for forget in _rows_erasers:
            forget(ids)
        cursor.execute(_FORGET, _parameters(tenant, user_id, ids))
        # Statements of their own, so that they see what a worker recorded while its rows were waited for.
        cursor.execute(_FORGET_ANSWERS, [ids])
        cursor.execute(_FORGET_REPORTS, [ids])
    return True


def _parameters(tenant: Tenant, user_id: str, ids: list[UUID]) -> dict[str, Any]:
    return {
        "tenant_id": tenant.pk,
        "user_id": user_id,
        "ids": ids,
        "erased_at": written_utc(clock()),
        "erased": ERASED,
        "canceled": Status.CANCELED.value,
        "sending": Status.SENDING.value,
        "withdrawn": [source for source in sources_of(Status.CANCELED) if source != Status.SENDING],
    }
