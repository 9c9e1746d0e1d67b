"""Closing digests: their items are asked about once more, and what is left becomes one event, which carries the message.

So a digest goes the way of everything else: gates, templates, retries, dead letters. All that closing writes, it writes in one
transaction: however often it is tried, and by however many, there is one event.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, transaction
from uuid_utils.compat import uuid7

from deliveries.held import Settled, fail_held, settle_held
from deliveries.states import Status
from notifications.digests.claims import ClaimedDigest, Item, items_of
from notifications.digests.leases import lock_ours
from notifications.filter import decide_items
from notifications.holds.release import chunk_of
from notifications.holds.services import EVENT_GONE, WITHOUT_EVENT, drop_digests
from notifications.options import Options, written_options
from notifications.wire import DIGEST, EXPIRED, Verdict
from tenants.columns import columns_of, int_array, text_array, uuid_array
from tenants.times import written_utc
from tenants.vocabulary import Channel

MOST_BYTES = 256 * 1024
"""Of the data of the items that are shown; those beyond it are counted."""
MOST_BYTES_AT_ONCE = 8 * 1024 * 1024
"""Of the data in a worker at a time, and one digest's more."""


MOST_AT_ONCE = 10_000
"""Items, of all digests that one transaction closes (a digest that has more is closed alone): about a second and a half."""


@dataclass(frozen=True, slots=True)
class Closed:
    """What closing came to."""

    events: int
    """Raised: ring for them."""
    statuses: Mapping[tuple[Channel, Status], int]
    announced: bool


@dataclass(frozen=True, slots=True)
class _Asked:
    """An item, and what was said of it."""

    item: Item
    verdict: Verdict

    def settled(self, event_id: str) -> Settled:
        """What becomes of its delivery."""
        if not self.verdict.reason:
            status, explanation = Status.DIGESTED, {"why": "It went out with others in a digest.", "digestEventId": event_id}
        else:
            status = Status.EXPIRED if self.verdict.reason == EXPIRED else Status.SUPPRESSED
            explanation = self.verdict.explanation or {}
        explanation = {**explanation, "heldFor": msgspec.to_builtins(self.item.hold.held.past)}
        reason = self.verdict.reason or DIGEST
        return Settled(self.item.hold.held.delivery_id, status.value, reason, msgspec.json.encode(explanation).decode())


class NewDigestEvent(msgspec.Struct, frozen=True, gc=False):
    """A row to be of `notifications_event`."""

    id: UUID
    tenant_id: int
    event_id: str
    event_type: str
    user_id: str
    to: str | None
    channels: str
    """A PostgreSQL smallint[] literal"""
    priority: int
    data: str
    sandbox: bool
    options: str | None
    content_hash: bytes


_RAISE = """
INSERT INTO notifications_event (
    id, tenant_id, event_id, event_type, user_id, "to", channels, priority, data, metadata, sandbox, options, content_hash,
    status, reason, error, due_at, cursor, attempt_count, created_at
)
SELECT id, tenant_id, event_id, event_type, user_id, audience::jsonb, channels::smallint[], priority, data::jsonb, '{}',
    sandbox, options::jsonb, content_hash, 0, '', '', %(now)s, 0, 0, %(now)s
FROM unnest(
    %(id)s::uuid[], %(tenant_id)s::int[], %(event_id)s::text[], %(event_type)s::text[], %(user_id)s::text[], %(to)s::text[],
    %(channels)s::text[], %(priority)s::smallint[], %(data)s::text[], %(sandbox)s::bool[], %(options)s::text[],
    %(content_hash)s::bytea[]
) AS row (
    id, tenant_id, event_id, event_type, user_id, audience, channels, priority, data, sandbox, options, content_hash
)
ON CONFLICT (tenant_id, event_id) DO NOTHING
"""

_FINISH = """
UPDATE notifications_digest g
SET finished_at = %(now)s, lease_until = NULL, lease_id = NULL, item_count = f.items, sent_count = f.sent, event_id = f.event_id
FROM unnest(%(id)s::uuid[], %(items)s::int[], %(sent)s::int[], %(event_id)s::text[]) AS f (id, items, sent, event_id)
WHERE g.id = f.id
"""


def parts(digests: Sequence[ClaimedDigest]) -> Iterator[list[ClaimedDigest]]:
    """The digests in parts that are closed one after the other, so that much is not undone by little time; one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT digest_id, count(*) FROM notifications_hold WHERE digest_id = ANY(%s::uuid[]) GROUP BY digest_id",
            [uuid_array(digest.id for digest in digests)],
        )
        sizes = dict(cursor.fetchall())
    part: list[ClaimedDigest] = []
    room = MOST_AT_ONCE
    for digest in digests:
        size = sizes.get(digest.id, 0)
        if part and size > room:
            yield part
            part, room = [], MOST_AT_ONCE
        part.append(digest)
        room -= size
    yield part


def close(digests: Sequence[ClaimedDigest], *, lease_id: UUID, now: datetime) -> Closed:
    """Close digests that are under our lease; those that are not any more are left alone."""
    asked: dict[UUID, list[_Asked]] = {one.id: [] for one in digests}
    for page in items_of(list(asked)):
        for one in _ask(page, lease_id, now):
            asked[one.item.digest_id].append(one)
    with transaction.atomic():
        ours = [digest for digest in digests if digest.id in lock_ours(list(asked), lease_id)]
        rows = [one.settled(event_id_of(digest)) for digest in ours for one in asked[digest.id]]
        dropped = drop_digests(digest_ids=[digest.id for digest in ours])
        if gone := set(dropped) - {row.id for row in rows}:  # they were canceled, or their events deleted
            fail_held(delivery_ids=gone, reason=EVENT_GONE, error=WITHOUT_EVENT)
        settled = settle_held(rows=rows)
        kept = {digest.id: [one.item for one in asked[digest.id] if _is_kept(one, settled.ids)] for digest in ours}
        raised = [digest for digest in ours if kept[digest.id]]
        _raise(raised, kept, now)
        _finish(ours, asked, kept, now)
    channels = {one.item.hold.held.delivery_id: one.item.hold.channel for found in asked.values() for one in found}
    return Closed(
        events=len(raised),
        statuses=Counter((Channel(channels[row.id]), Status(row.status)) for row in rows if row.id in settled.ids),
        announced=settled.announced,
    )


def event_id_of(digest: ClaimedDigest) -> str:
    return f"digest-{digest.id}"


def _ask(page: Sequence[Item], lease_id: UUID, now: datetime) -> list[_Asked]:
    """Ask the gates about a page of items."""
    chunk = decide_items(chunk_of([item.hold for item in page], lease_id=lease_id), now=now)
    return [_Asked(page[verdict.target], verdict) for verdict in chunk.verdicts]


def _is_kept(one: _Asked, settled: Collection[UUID]) -> bool:
    """Whether an item goes into the message: it may, and was not canceled until now."""
    return not one.verdict.reason and one.item.hold.held.delivery_id in settled


def _raise(digests: Sequence[ClaimedDigest], kept: Mapping[UUID, Sequence[Item]], now: datetime) -> None:
    """One statement, or a few if there is much to be shown."""
    for some in _in_parts(digests, kept):
        data = _data_of([item for digest in some for item in _shown(digest, kept[digest.id])])
        rows = [_event(digest, kept[digest.id], data) for digest in some]
        with connection.cursor() as cursor:
            cursor.execute(_RAISE, {**columns_of(NewDigestEvent, rows), "now": now})


def _in_parts(digests: Sequence[ClaimedDigest], kept: Mapping[UUID, Sequence[Item]]) -> Iterator[list[ClaimedDigest]]:
    part: list[ClaimedDigest] = []
    size = 0
    for digest in digests:
        part.append(digest)
        size += sum(item.hold.note.size for item in _shown(digest, kept[digest.id]))
        if size > MOST_BYTES_AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _shown(digest: ClaimedDigest, items: Sequence[Item]) -> Sequence[Item]:
    """Those whose data the template gets, `MOST_BYTES` of it: the first in any case."""
    size = 0
    for place, item in enumerate(items[: digest.most_items]):
        size += item.hold.note.size
        if place and size > MOST_BYTES:
            return items[:place]
    return items[: digest.most_items]


def _data_of(items: Iterable[Item]) -> dict[UUID, str]:
    """The data of the items' events, by the id of their rows; one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, data::text FROM notifications_event WHERE id = ANY(%s::uuid[])",
            [uuid_array({item.hold.event.id for item in items})],
        )
        return dict(cursor.fetchall())


def _event(digest: ClaimedDigest, items: Sequence[Item], data: Mapping[UUID, str]) -> NewDigestEvent:
    event_id = event_id_of(digest)
    # Where the last item says it is to go: an address may have been given with the event only.
    given = {**(items[-1].hold.note.given or {}), **({"userId": digest.user_id} if digest.user_id else {})}
    return NewDigestEvent(
        id=uuid7(),
        tenant_id=digest.tenant_id,
        event_id=event_id,
        event_type=digest.template,
        user_id=digest.user_id if given.keys() == {"userId"} else "",
        to=None if given.keys() == {"userId"} else msgspec.json.encode(given).decode(),
        channels=f"{{{digest.channel}}}",
        priority=digest.priority,
        data=msgspec.json.encode(_content(digest, items, data)).decode(),
        sandbox=digest.sandbox,
        options=written_options(Options(digest=str(digest.id))),
        content_hash=hashlib.blake2b(event_id.encode(), digest_size=16).digest(),
    )


def _content(digest: ClaimedDigest, items: Sequence[Item], data: Mapping[UUID, str]) -> dict[str, Any]:
    """What the template gets."""
    shown = [
        {
            "eventId": item.hold.event.event_id,
            "eventType": item.hold.event.event_type,
            "createdAt": written_utc(item.hold.event.created_at),
            "data": msgspec.Raw(data.get(item.hold.event.id, "{}").encode()),
        }
        for item in _shown(digest, items)
    ]
    return {
        "items": shown,
        "count": len(items),
        "more": len(items) - len(shown),
        "digestKey": digest.digest_key,
        "since": written_utc(digest.opened_at),
        "until": written_utc(digest.closed_at),
    }


def _finish(
    digests: Sequence[ClaimedDigest],
    asked: Mapping[UUID, Sequence[_Asked]],
    kept: Mapping[UUID, Sequence[Item]],
    now: datetime,
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            _FINISH,
            {
                "id": uuid_array(digest.id for digest in digests),
                "items": int_array(len(asked[digest.id]) for digest in digests),
                "sent": int_array(len(kept[digest.id]) for digest in digests),
                "event_id": text_array(event_id_of(digest) if kept[digest.id] else "" for digest in digests),
                "now": now,
            },
        )
