"""Writes to inboxes: read, seen, archived. One statement each, whatever the number of items.

Whoever reads or sees an item shows that it arrived, so the delivery becomes `delivered`, by the table of
`deliveries.states` as everywhere. An item may be read before the record that it was sent: its worker then finds it past
that state and leaves it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Case, F, Q, QuerySet, SmallIntegerField, Value, When
from django.db.models.functions import Coalesce
from django.utils.timezone import now as clock

from deliveries.inbox.selectors import SHOWN, Inbox, Position, deliveries_of
from deliveries.models import INBOX_STATES, Delivery
from deliveries.states import Status, sources_of
from deliveries.status_webhooks.outbox import update_announced


def mark_item(*, inbox: Inbox, item_id: UUID, read: bool | None = None, archived: bool | None = None) -> bool:
    """Set or take back the marks given (None leaves a mark as it is); returns whether there is such an item."""
    now = clock()
    changes: dict[str, Any] = {}
    if read is not None:
        changes["read_at"] = _once("read_at", now) if read else None
    if archived is not None:
        changes["archived_at"] = _once("archived_at", now) if archived else None
    if read or archived:
        changes |= _seen(now)
    item = deliveries_of(inbox).filter(pk=item_id, status__in=INBOX_STATES)
    return update_announced(item, **changes) > 0 if changes else item.exists()


def mark_all_read(*, inbox: Inbox, until: Position | None = None, received: Collection[UUID] = ()) -> int:
    """Mark as read what is unread, or only what was published by `until`; returns how many items that were.

    `received`: items that a socket has shown already, marked although their hand-over is not recorded yet.
    """
    now = clock()
    return update_announced(_open_items(inbox, until, received).filter(read_at=None), read_at=now, **_seen(now))


def mark_all_seen(*, inbox: Inbox, until: Position | None = None) -> int:
    return update_announced(_open_items(inbox, until).filter(read_at=None, seen_at=None), **_seen(clock()))


def _open_items(inbox: Inbox, until: Position | None, received: Collection[UUID] = ()) -> QuerySet[Delivery]:
    items = deliveries_of(inbox).filter(Q(status__in=SHOWN) | Q(pk__in=received), status__in=INBOX_STATES, archived_at=None)
    if until is None:
        return items
    return items.filter(Q(sent_at__lt=until.moment) | Q(sent_at=until.moment, id__lte=until.id))


def _seen(now: datetime) -> dict[str, Any]:
    arrived = When(status__in=sources_of(Status.DELIVERED), then=Value(Status.DELIVERED.value))
    return {
        "seen_at": _once("seen_at", now),
        "status": Case(arrived, default=F("status"), output_field=SmallIntegerField()),
        "delivered_at": _once("delivered_at", now),
        "sent_at": _once("sent_at", now),
    }


def _once(field: str, now: datetime) -> Coalesce:
    """The time already there, else now: a mark keeps its first moment."""
    return Coalesce(field, Value(now))
