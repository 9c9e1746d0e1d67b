"""Reads of inboxes: lists, counts, and what a reconnecting client missed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from deliveries.inbox.frames import Counts
from deliveries.models import INBOX_STATES, Attempt, AttemptOutcome, Delivery
from deliveries.states import Status
from tenants.vocabulary import Channel

SHOWN: Final = (Status.SENT.value, Status.DELIVERED.value)
"""States of the items that lists show."""
HIGHEST_COUNT: Final = 10_000
"""Counting ends here, which bounds what a count costs; no badge shows more."""

LISTS: Final = {
    None: Q(archived_at=None),
    "unread": Q(archived_at=None, read_at=None),
    "read": Q(archived_at=None, read_at__isnull=False),
    "archived": Q(archived_at__isnull=False),
}
"""The lists by name; None is the inbox as it opens."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END_MS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """Whose inbox: one user of one tenant."""

    tenant_id: int
    user_id: str


@dataclass(frozen=True, slots=True)
class Position:
    """A place in an inbox's order of publication. No id: behind everything published at that moment."""

    moment: datetime
    id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CountRequest:
    inbox: Inbox
    received: Sequence[UUID] = ()
    """Items that a socket has shown already: counted although their hand-over is not recorded yet."""


def items_of(inbox: Inbox, *, listed: str | None = None) -> QuerySet[Delivery]:
    """The inbox's items on one of `LISTS`, unordered."""
    return deliveries_of(inbox).filter(LISTS[listed], status__in=SHOWN)


def item_by_id(inbox: Inbox, item_id: UUID) -> Delivery | None:
    """An item of this inbox. One that is being published is found too: its frame may overtake the record of it."""
    return deliveries_of(inbox).filter(pk=item_id, status__in=INBOX_STATES).first()


_COUNT = f"""
SELECT wanted.tenant_id, wanted.user_id, unread.items, unread.unseen, everything.items
FROM unnest(%(tenants)s::bigint[], %(users)s::text[]) AS wanted (tenant_id, user_id),
LATERAL (
    SELECT count(*) AS items, count(*) FILTER (WHERE found.seen_at IS NULL) AS unseen FROM (
        SELECT d.seen_at FROM deliveries_delivery d
        WHERE d.tenant_id = wanted.tenant_id AND d.user_id = wanted.user_id AND d.channel = {Channel.IN_APP.value}
          AND d.status IN (1, 2, 3) AND d.read_at IS NULL AND d.archived_at IS NULL
          AND (d.status <> 1 OR d.id = ANY(%(received)s::uuid[]))
        LIMIT %(highest)s
    ) found
) unread,
LATERAL (
    SELECT count(*) AS items FROM (
        SELECT FROM deliveries_delivery d
        WHERE d.tenant_id = wanted.tenant_id AND d.user_id = wanted.user_id AND d.channel = {Channel.IN_APP.value}
          AND d.status IN (1, 2, 3) AND d.archived_at IS NULL
          AND (d.status <> 1 OR d.id = ANY(%(received)s::uuid[]))
        LIMIT %(highest)s
    ) found
) everything
"""  # noqa: S608 - constants; the states are written out so that the partial indexes apply


def count_inboxes(requests: Collection[CountRequest]) -> dict[Inbox, Counts]:
    """The counts of many inboxes, of whichever tenants, in one statement."""
    inboxes = {request.inbox for request in requests}
    with connection.cursor() as cursor:
        cursor.execute(
            _COUNT,
            {
                "tenants": [inbox.tenant_id for inbox in inboxes],
                "users": [inbox.user_id for inbox in inboxes],
                "received": [item for request in requests for item in request.received],
                "highest": HIGHEST_COUNT,
            },
        )
        return {
            Inbox(tenant_id=tenant_id, user_id=user_id): Counts(unread=unread, unseen=unseen, total=total)
            for tenant_id, user_id, unread, unseen, total in cursor.fetchall()
        }


def being_published(inbox: Inbox) -> frozenset[UUID]:
    """Items handed to a worker and not recorded yet: each may have been published, or may be at any moment."""
    return frozenset(deliveries_of(inbox).filter(status=Status.SENDING, sent_at=None).values_list("id", flat=True))


def still_being_published(inbox: Inbox, ids: Collection[UUID]) -> frozenset[UUID]:
    return frozenset(deliveries_of(inbox).filter(pk__in=ids, status=Status.SENDING).values_list("id", flat=True))


def page_after(inbox: Inbox, after: Position | UUID, until: datetime, limit: int) -> list[Delivery]:
    """The first items behind `after` (an id: behind that item) and published by `until`, in the order of publication.

    Archived ones are left out.
    """
    if isinstance(after, UUID):
        after = _surely_before(inbox, after)
    rows = deliveries_of(inbox).filter(status__in=SHOWN, archived_at=None, sent_at__gte=after.moment, sent_at__lte=until)
    passed = Q(sent_at=after.moment) if after.id is None else Q(sent_at=after.moment, id__lte=after.id)
    return list(rows.exclude(passed).order_by("sent_at", "id").only(*_FRAME_FIELDS)[:limit])


def _surely_before(inbox: Inbox, item_id: UUID) -> Position:
    """A position behind which lies all that a client missed whose last item this is.

    That is the item's own. But one that is gone has none, and one whose worker died may have been published before the time
    that is recorded: for these it is when the item was made, behind which some may lie that the client has seen.
    """
    position = position_of(inbox, item_id)
    doubtful = Attempt.objects.filter(delivery=item_id, outcome=AttemptOutcome.AMBIGUOUS)
    return Position(made_at(item_id)) if position is None or doubtful.exists() else position


def position_of(inbox: Inbox, item_id: UUID) -> Position | None:
    """Where an item stands; None if this inbox has none like it, or its publication is not recorded yet."""
    moment = deliveries_of(inbox).filter(pk=item_id).values_list("sent_at", flat=True).first()
    return Position(moment, item_id) if moment else None


def made_at(item_id: UUID) -> datetime:
    """The time in a UUIDv7 (RFC 9562, section 5.7), or the end of time for one that lies behind it."""
    milliseconds = item_id.int >> 80
    return _EPOCH + timedelta(milliseconds=milliseconds) if milliseconds < _END_MS else datetime.max.replace(tzinfo=UTC)


def deliveries_of(inbox: Inbox) -> QuerySet[Delivery]:
    """The inbox's deliveries, whatever became of them."""
    return Delivery.objects.for_tenant(inbox.tenant_id).filter(user_id=inbox.user_id, channel=Channel.IN_APP)


_FRAME_FIELDS = ("id", "tenant_id", "user_id", "event_type", "subject", "body", "data", "created_at", "sent_at")
