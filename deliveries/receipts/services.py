"""Receipts: what providers report of messages they took, applied a batch at a time.

Receipts come late, twice, in any order, and sometimes before the record that the message was sent. So a receipt never sets a
state: it asks for one, and the table in `deliveries.states` says from where that may be reached. `bounced` may follow
`delivered` and not the other way round, so any order of the same receipts ends in the same state.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from django.db import connection, transaction
from django.utils.timezone import now as clock
from uuid_utils.compat import uuid7

from deliveries import metrics
from deliveries.models import ReceiptKind
from deliveries.providers.excerpts import LONGEST_CODE, LONGEST_EXCERPT
from deliveries.states import Status, sources_of
from deliveries.status_webhooks.outbox import announcing
from preferences.contact_points import comparable
from preferences.models import Suppression
from preferences.services import NewSuppression, add_suppressions
from tenants.columns import columns_of, storable
from tenants.vocabulary import Channel

_OLDEST: Final = timedelta(days=366)
"""A vendor's clock that is further behind, or ahead of ours, is not believed."""

_KINDS_OF: Final[Mapping[Status, frozenset[ReceiptKind]]] = {
    # Who complains of a message has it.
    Status.DELIVERED: frozenset({ReceiptKind.DELIVERED, ReceiptKind.COMPLAINED}),
    Status.BOUNCED: frozenset({ReceiptKind.BOUNCED}),
}
"""The kinds that ask for each state, in the order in which a batch asks. The other kinds ask for none."""


class NewReceipt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a vendor reported, in our words. It names its delivery by our id, or else by the vendor's own for the message."""

    tenant_id: int | None
    """Whose deliveries it may speak of; None: the installation's account serves every tenant."""
    channel: int
    delivery_id: UUID | None
    provider_message_id: str | None = None
    address: str = ""
    """Whom the vendor speaks of, if it says: of a delivery that was sent again to a corrected address, perhaps the old one."""
    kind: int
    code: str = ""
    text: str = ""
    at: datetime | None = None
    """By the vendor's clock, if it says."""
    is_lasting: bool = False
    """Of a bounce: the address is gone for good, not just full or asleep."""


class Result(enum.StrEnum):
    """What became of a receipt that was believed."""

    RECORDED = "recorded"
    REPEATED = "repeated"
    UNKNOWN = "unknown"
    """It speaks of no delivery of its tenant and channel."""


class _Asked(msgspec.Struct, frozen=True, gc=False):
    number: int
    tenant_id: int | None
    channel: int
    delivery_id: UUID | None
    provider_message_id: str | None


class _Row(msgspec.Struct, frozen=True, gc=False):
    """A row of `deliveries_receipt`."""

    id: UUID
    delivery_id: UUID
    kind: int
    code: str
    response: str
    at: datetime


class _Change(msgspec.Struct, frozen=True, gc=False):
    id: UUID
    reason: str
    error: str
    at: datetime


class _Known(msgspec.Struct, frozen=True, gc=False):
    """A receipt with the delivery it speaks of, its row to be."""

    row: _Row
    tenant_id: int
    channel: Channel
    address: str
    is_lasting: bool

    @property
    def key(self) -> tuple[UUID, int, str]:
        """What makes two receipts the same one."""
        return self.row.delivery_id, self.row.kind, self.row.code


# Locked in the order of their ids, so that batches with the same deliveries wait for each other rather than deadlock.
_FIND = """
WITH asked AS (
    SELECT * FROM unnest(
        %(number)s::int[], %(tenant_id)s::bigint[], %(channel)s::smallint[], %(delivery_id)s::uuid[],
        %(provider_message_id)s::text[]
    ) AS asked (number, tenant_id, channel, delivery_id, provider_message_id)
), found AS (
    SELECT a.number, d.id FROM asked a JOIN deliveries_delivery d ON d.id = a.delivery_id
    WHERE d.channel = a.channel AND (a.tenant_id IS NULL OR d.tenant_id = a.tenant_id)
    UNION ALL
    SELECT a.number, d.id FROM asked a JOIN deliveries_delivery d ON d.provider_message_id = a.provider_message_id
    WHERE a.delivery_id IS NULL AND d.channel = a.channel AND d.tenant_id = a.tenant_id
), locked AS (
    SELECT d.id, d.tenant_id, d.address, d.explanation ->> 'correctedFrom' AS corrected_from,
        d.user_id = '' AND COALESCE(d.explanation ? 'erasedAt', false) AS is_erased
    FROM deliveries_delivery d
    WHERE d.id = ANY(ARRAY(SELECT id FROM found)) ORDER BY d.id FOR NO KEY UPDATE
)
SELECT found.number, locked.id, locked.tenant_id, locked.address, locked.corrected_from, locked.is_erased
FROM found JOIN locked ON locked.id = found.id
ORDER BY found.number
"""

_WRITE_DOWN = """
INSERT INTO deliveries_receipt (id, delivery_id, kind, code, response, at, received_at)
SELECT id, delivery_id, kind, code, response, at, %(now)s
FROM unnest(
    %(id)s::uuid[], %(delivery_id)s::uuid[], %(kind)s::smallint[], %(code)s::text[], %(response)s::text[], %(at)s::timestamptz[]
) AS row (id, delivery_id, kind, code, response, at)
ON CONFLICT (delivery_id, kind, code) DO NOTHING
RETURNING delivery_id, kind, code
"""

# The lease stays: whoever is just recording that it was sent still finds its row by it, and adds who sent it.
_ADVANCE = announcing(
    """
UPDATE deliveries_delivery d
SET status = %(target)s, reason = r.reason, error = r.error, sent_at = COALESCE(d.sent_at, r.at),
    delivered_at = CASE WHEN %(arrived)s THEN r.at END
FROM unnest(%(id)s::uuid[], %(reason)s::text[], %(error)s::text[], %(at)s::timestamptz[]) AS r (id, reason, error, at)
WHERE d.id = ANY(%(id)s::uuid[]) AND d.id = r.id AND d.status = ANY(%(sources)s)
""",
    returning=("d.channel",),
)


def apply_receipts(*, receipts: Sequence[NewReceipt]) -> Counter[tuple[ReceiptKind, Result]]:
    """Write receipts down, change the states that may change, suppress addresses that are gone or whose owners complained.

    Five statements at most, however many receipts. Returns how many of each kind came to what.
    """
    if not receipts:
        return Counter()
    with transaction.atomic():
        known = list(_known(receipts, clock()))
        new = _write_down(known)
        advanced = {target: _advance(target, known) for target in _KINDS_OF}
        # Not for one that was written down before: its address may have been taken off the list since.
        add_suppressions(suppressions=[entry for receipt in new for entry in _suppressions(receipt)])
    metrics.count_deliveries(
        {(channel, target): count for target, counts in advanced.items() for channel, count in counts.items()}
    )
    return _tally(receipts, known, new)


def _known(receipts: Sequence[NewReceipt], now: datetime) -> Iterator[_Known]:
    """Those whose delivery there is, and still goes where they say, in their order."""
    asked = [
        _Asked(number, one.tenant_id, one.channel, one.delivery_id, storable(one.provider_message_id or "") or None)
        for number, one in enumerate(receipts)
    ]
    with connection.cursor() as cursor:
        cursor.execute(_FIND, columns_of(_Asked, asked))
        found = cursor.fetchall()
    for number, delivery_id, tenant_id, address, corrected_from, is_erased in found:
        receipt = receipts[number]
        channel = Channel(receipt.channel)
        if corrected_from and comparable(channel, receipt.address) == comparable(channel, corrected_from):
            continue
        row = _Row(
            uuid7(),
            delivery_id,
            receipt.kind,
            storable(receipt.code)[:LONGEST_CODE],
            "" if is_erased else storable(receipt.text)[:LONGEST_EXCERPT],
            _credible(receipt.at, now),
        )
        # Of an erased recipient's, what became of the message still counts; neither words nor address are known any more.
        yield _Known(row, tenant_id, channel, "" if is_erased else address, receipt.is_lasting)


def _write_down(known: Sequence[_Known]) -> list[_Known]:
    """Returns those that were not written down before."""
    once = {one.key: one for one in reversed(known)}
    if not once:
        return []
    columns: dict[str, Any] = columns_of(_Row, [once[key].row for key in sorted(once)])
    with connection.cursor() as cursor:
        cursor.execute(_WRITE_DOWN, {**columns, "now": clock()})
        return [once[key] for key in cursor.fetchall()]


def _advance(target: Status, known: Sequence[_Known]) -> Counter[Channel]:
    """Take deliveries to the state that their receipts ask for; how many went, by channel."""
    asking = [one.row for one in known if one.row.kind in _KINDS_OF[target]]
    # Of several for one delivery the earliest counts.
    first = {row.delivery_id: row for row in sorted(asking, key=lambda row: row.at, reverse=True)}
    if not first:
        return Counter()
    changes = [_change(target, row) for row in first.values()]
    parameters: dict[str, Any] = columns_of(_Change, changes)
    parameters |= {"target": target.value, "arrived": target is Status.DELIVERED, "sources": sources_of(target)}
    with connection.cursor() as cursor:
        cursor.execute(_ADVANCE, parameters)
        return Counter(Channel(channel) for _, _, channel in cursor.fetchall())


def _change(target: Status, row: _Row) -> _Change:
    if target is Status.DELIVERED:
        return _Change(row.delivery_id, reason="", error="", at=row.at)
    return _Change(row.delivery_id, reason=row.code or "bounced", error=row.response, at=row.at)


def _suppressions(receipt: _Known) -> Iterator[NewSuppression]:
    reasons = {ReceiptKind.COMPLAINED.value: Suppression.Reason.COMPLAINT}
    if receipt.is_lasting:
        reasons[ReceiptKind.BOUNCED.value] = Suppression.Reason.BOUNCE
    reason = reasons.get(receipt.row.kind)
    if reason is not None and receipt.address:
        yield NewSuppression(
            tenant_id=receipt.tenant_id,
            channel=receipt.channel,
            address=receipt.address,
            reason=reason.value,
            detail=": ".join(part for part in (receipt.row.code, receipt.row.response) if part),
        )


def _tally(
    receipts: Sequence[NewReceipt], known: Sequence[_Known], new: Sequence[_Known]
) -> Counter[tuple[ReceiptKind, Result]]:
    given, found, recorded = (
        Counter(ReceiptKind(kind) for kind in kinds)
        for kinds in (
            [one.kind for one in receipts],
            [one.row.kind for one in known],
            [one.row.kind for one in new],
        )
    )
    return +Counter(
        {
            (kind, result): count
            for kind in given
            for result, count in (
                (Result.RECORDED, recorded[kind]),
                (Result.REPEATED, found[kind] - recorded[kind]),
                (Result.UNKNOWN, given[kind] - found[kind]),
            )
        }
    )


def _credible(at: datetime | None, now: datetime) -> datetime:
    if at is None:
        return now
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at if now - _OLDEST < at <= now else now
