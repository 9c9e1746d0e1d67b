"""Giving work back, and setting aside what no chunk can digest."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
import structlog
from django.db import connection
from django.utils.timezone import now as clock

from deliveries.patience import patiently
from notifications import metrics
from notifications.claims import MAX_ATTEMPTS, SUSPECT_AFTER, SUSPECTS_TOGETHER, Claim, ClaimedEvent
from notifications.holds import leases as hold_leases
from notifications.holds.leases import POISON
from notifications.models import Event, EventStatus
from notifications.wire import Chunk

logger = structlog.get_logger(__name__)

_PATIENCE = timedelta(seconds=10)
"""How long a database that is away is waited for: longer than its restart takes, and well within a stage's time limit."""


def give_back(ids: Sequence[UUID], lease_id: UUID) -> None:
    """End our lease on events that were not begun; it does not count as an attempt.

    What fails it is often the database itself, on its way down: it is asked again, or the events would wait for their lease.
    """
    patiently(lambda: _give_back(ids, lease_id), until=clock() + _PATIENCE)


def _give_back(ids: Sequence[UUID], lease_id: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notifications_event SET lease_until = NULL, lease_id = NULL, attempt_count = attempt_count - 1 "
            "WHERE id = ANY(%s) AND lease_id = %s",
            [list(ids), lease_id],
        )


def fail_event(event_id: UUID, lease_id: UUID, error: Exception) -> None:
    """Make a dead letter of an event that a stage cannot digest."""
    changed = Event.objects.filter(pk=event_id, lease_id=lease_id, status=EventStatus.ACCEPTED).update(
        status=EventStatus.FAILED,
        reason=POISON,
        error=hold_leases.in_words(error),
        processed_at=clock(),
        lease_until=None,
        lease_id=None,
    )
    if changed:
        metrics.count_failed({POISON: 1})
        logger.error("event_failed", event_uid=str(event_id), exc_info=error)


def give_back_chunk(chunk: Chunk) -> None:
    """End our lease on what a chunk carries."""
    if chunk.is_held:
        hold_leases.give_back(_held_ids(chunk), chunk.lease_id)
    else:
        give_back([work.id for work in chunk.works], chunk.lease_id)


def fail_chunk(chunk: Chunk, error: Exception) -> None:
    """Give up on a chunk of one event."""
    if chunk.is_held:
        hold_leases.fail(_held_ids(chunk), chunk.lease_id, hold_leases.in_words(error))
    else:
        fail_event(chunk.works[0].id, chunk.lease_id, error)


def _held_ids(chunk: Chunk) -> list[UUID]:
    return [target.held.delivery_id for target in chunk.targets if target.held]


def triage(claim: Claim) -> tuple[list[ClaimedEvent], list[ClaimedEvent]]:
    """The claim's events to be worked on now, and those to be given back.

    An event taken up repeatedly without an end may be what brings its workers down, so suspects work apart: a few together
    the first time, since most of them only had bad luck, and then each alone. So it cannot take others with it, nor can they
    be counted against it. Whether a claim goes to the sound or to suspects is tossed for, so that neither waits for ever. A
    suspect that still comes to no end becomes a dead letter.
    """
    poison = [event.id for event in claim.events if event.attempt_count > MAX_ATTEMPTS]
    if poison:
        _set_aside(poison)
    sound = [event for event in claim.events if event.attempt_count <= SUSPECT_AFTER]
    suspects = [event for event in claim.events if SUSPECT_AFTER < event.attempt_count <= MAX_ATTEMPTS]
    if not suspects or (sound and random.random() < 0.5):  # noqa: S311 - a toss, no secret
        return sound, suspects
    first = random.choice(suspects)  # noqa: S311 - as above
    chosen = [first]
    if first.attempt_count == SUSPECT_AFTER + 1:
        chosen = [event for event in suspects if event.attempt_count == first.attempt_count][:SUSPECTS_TOGETHER]
    taken = {event.id for event in chosen}
    return chosen, [event for event in (*sound, *suspects) if event.id not in taken]


def _set_aside(ids: Sequence[UUID]) -> None:
    changed = Event.objects.filter(pk__in=ids, status=EventStatus.ACCEPTED).update(
        status=EventStatus.FAILED,
        reason=POISON,
        error=f"Taken up {MAX_ATTEMPTS} times without coming to an end.",
        processed_at=clock(),
        lease_until=None,
        lease_id=None,
    )
    metrics.count_failed({POISON: changed})
    logger.error("events_set_aside", event_uids=[str(event_id) for event_id in ids])


def part_of(chunk: Chunk, indexes: range) -> Chunk:
    """The chunk of only some of its events."""
    renumbered = {old: new for new, old in enumerate(indexes)}
    kept = [position for position, target in enumerate(chunk.targets) if target.work in renumbered]
    places = {old: new for new, old in enumerate(kept)}
    return Chunk(
        chunk.lease_id,
        chunk.tenants,
        [chunk.works[index] for index in indexes],
        [msgspec.structs.replace(chunk.targets[old], work=renumbered[chunk.targets[old].work]) for old in kept],
        [
            msgspec.structs.replace(verdict, target=places[verdict.target])
            for verdict in chunk.verdicts
            if verdict.target in places
        ],
        chunk.is_held,
    )
