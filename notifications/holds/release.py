"""Held deliveries as a chunk: their events and recipients as they are now, for the same gates as everything else."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from notifications.holds.claims import ClaimedHold
from notifications.surroundings import surroundings_of
from notifications.wire import Chunk, Target
from notifications.works import merged, work_of
from preferences.selectors import Contact, UserKey, recipients_by_user


def chunk_of(holds: Sequence[ClaimedHold], *, lease_id: UUID) -> Chunk:
    """One target for each; two statements, whatever their number."""
    surroundings = surroundings_of([(one.event.tenant_id, one.event.event_type) for one in holds], asked_rules=())
    contacts = recipients_by_user({(one.event.tenant_id, one.user_id) for one in holds if one.user_id})
    chunk = Chunk(lease_id, surroundings.tenants, [], [], is_held=True)
    places: dict[UUID, int] = {}
    for one in holds:
        event = one.event
        if event.id not in places:
            places[event.id] = len(chunk.works)
            chunk.works.append(work_of(event, surroundings.event_types.get((event.tenant_id, event.event_type))))
        chunk.targets.append(_target(one, places[event.id], contacts))
    return chunk


def _target(one: ClaimedHold, work: int, contacts: dict[UserKey, Contact]) -> Target:
    given = one.note.given or {}
    key = one.event.tenant_id, one.user_id
    # A recipient who was erased meanwhile is nobody: there is no address, and nothing is made known again.
    known = {key: contacts.get(key, Contact(user_id=one.user_id))}
    return Target(
        work,
        merged({**given, "userId": one.user_id}, known, one.event.tenant_id),
        [one.channel],
        rule=one.note.rule,
        given=one.note.given,
        delivery=one.note.delivery,
        template=one.note.template,
        priority=one.priority,
        held=one.held,
    )
