"""What `route` writes of deliveries that wait: what for, and what has to be known again when they go on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from deliveries.services import NewDelivery
from deliveries.states import Status
from notifications.digests.windows import DigestKey, Wanted, open_digests
from notifications.holds.services import NewHold, Note, keep
from notifications.wire import Chunk, Past, Target, Verdict, Work


class Row(NamedTuple):
    """A delivery to be written, and what it comes from."""

    delivery: NewDelivery
    target: Target
    verdict: Verdict
    digest_id: UUID | None = None


def join_digests(chunk: Chunk, rows: Sequence[Row], *, now: datetime) -> list[Row]:
    """Open the digests that rows join, or find them open; the rows then say which, and when it is due.

    Before the deliveries are written: digests are locked before deliveries, as by who closes them.
    """
    wanted = {row.delivery.id: _digest_of(chunk, row) for row in rows if row.verdict.window}
    if not wanted:
        return list(rows)
    digests = open_digests(wanted=wanted.values(), now=now)
    return [_joined(row, *digests[wanted[row.delivery.id].key]) if row.verdict.window else row for row in rows]


def _joined(row: Row, digest_id: UUID, due_at: datetime) -> Row:
    return row._replace(delivery=msgspec.structs.replace(row.delivery, next_attempt_at=due_at), digest_id=digest_id)


def _digest_of(chunk: Chunk, row: Row) -> Wanted:
    assert row.verdict.window is not None
    delivery, work = row.delivery, chunk.works[row.target.work]
    key = DigestKey(
        delivery.tenant_id,
        delivery.user_id,
        "" if delivery.user_id else delivery.address,
        delivery.channel,
        work.options.digest_key,
        row.verdict.window.schedule_id,
        work.sandbox,
    )
    return Wanted(key, row.verdict.window, delivery.priority)


def hold(chunk: Chunk, rows: Sequence[Row], *, now: datetime) -> None:
    """Write down what those of the rows wait for that were written as held: a time, or their digest."""
    holds = [_hold(chunk, row, now) for row in rows if row.delivery.is_held]
    keep(holds=holds, now=now)


def _hold(chunk: Chunk, row: Row, now: datetime) -> NewHold:
    work = chunk.works[row.target.work]
    return NewHold(
        delivery_id=row.delivery.id,
        tenant_id=row.delivery.tenant_id,
        event=work.id,
        channel=row.delivery.channel,
        priority=row.delivery.priority,
        due_at=row.verdict.until if row.digest_id is None else None,
        digest_id=row.digest_id,
        step=row.verdict.step,
        target=msgspec.json.encode(_note(row, work, now)).decode(),
    )


def _note(row: Row, work: Work, now: datetime) -> Note:
    target, until = row.target, row.delivery.next_attempt_at
    past = target.held.past if target.held else ()
    return Note(
        given=target.given,
        rule=target.rule,
        delivery=target.delivery,
        template=target.template,
        past=(*past, Past(row.verdict.reason, now, until or now)),
        size=len(work.data) if row.verdict.window else 0,
    )


def refused_steps(chunk: Chunk, rows: Sequence[Row]) -> list[tuple[UUID, str, int]]:
    """The steps of escalations that came to nothing, (event, user id, step): the next one need not wait."""
    return [
        (chunk.works[row.target.work].id, row.delivery.user_id, row.verdict.step)
        for row in rows
        if row.verdict.step is not None and row.delivery.status in {Status.SUPPRESSED, Status.FAILED}
    ]
