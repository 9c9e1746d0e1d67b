"""First stage: claim due events, find out whom they are for, and add what is known of those people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from notifications.audience import PAGE, Members, Page, Source, page_at, reason_for_nothing, sources_of
from notifications.claims import Claim, ClaimedEvent
from notifications.heartbeats.seeing import see, watches_of
from notifications.surroundings import DeclaredType, Surroundings, surroundings_of
from notifications.wire import Chunk, Target, Work
from notifications.works import merged, work_of
from preferences.selectors import Contact, TopicRequest, recipients_by_user, topic_pages
from preferences.services import ensure_recipients

BUDGET = 1000
"""Targets in a chunk, about: an event begun is given one page, events after the budget is spent go back."""
MOST_BYTES = 8 * 1024 * 1024
"""Of events' data in a chunk, about: each delivery has a copy of it, and half a megabyte times 500 is too much for a worker."""


_SMALLEST_PAGE = 20
"""Subscribers read at once when many events of a chunk go to topics."""


@dataclass(slots=True)
class _Expanded:
    """One event's share of the chunk, and where its audience goes on (`page` None: it has come to its end)."""

    event: ClaimedEvent
    sources: list[Source]
    page: Page | None
    entries: list[tuple[Source, dict[str, Any] | Contact]] = field(default_factory=list)

    @property
    def is_at_topic(self) -> bool:
        return self.page is not None and bool(self.page.source.topic)

    def take_inline(self, limit: int) -> None:
        page = self._current()
        end = page.place + limit
        # An erased user's place is kept, and empty.
        self.entries += [(page.source, recipient) for recipient in page.source.recipients[page.place : end] if recipient]
        self.page = page_at(self.sources, page.cursor_after(end) if end < len(page.source.recipients) else page.next_source())

    def take_subscribers(self, contacts: Sequence[Contact], last: int | None) -> None:
        page = self._current()
        self.entries += [(page.source, contact) for contact in contacts]
        self.page = page_at(self.sources, page.next_source() if last is None else page.cursor_after(last))

    def _current(self) -> Page:
        assert self.page is not None
        return self.page


def expand(claim: Claim, events: Sequence[ClaimedEvent]) -> tuple[Chunk, list[ClaimedEvent]]:
    """The chunk for `filter`, and the events that did not fit and must be given back."""
    # Rules are asked for what the event leaves open.
    open_tenants = [event.tenant_id for event in events if event.channels is None or _nobody(event)]
    surroundings = surroundings_of([(event.tenant_id, event.event_type) for event in events], asked_rules=open_tenants)
    if surroundings.have_heartbeats:
        see(events, watches_of(surroundings.tenants))
    expanded: list[_Expanded] = []
    members = Members()
    targets = size = 0
    for event in events:
        if targets >= BUDGET or size >= MOST_BYTES:
            break
        one = _begin(event, surroundings, members)
        targets += len(one.entries)
        size += len(event.data) * (_page(event) if one.is_at_topic else len(one.entries) + 1)
        expanded.append(one)
    _read_topics(expanded)
    contacts = _load_contacts(expanded)
    return _chunk(claim, expanded, contacts, surroundings), list(events[len(expanded) :])


def _nobody(event: ClaimedEvent) -> bool:
    return not event.user_id and event.to is None


def _begin(event: ClaimedEvent, surroundings: Surroundings, members: Members) -> _Expanded:
    """The event's next inline recipients, up to a page, or the topic whose turn it is."""
    sources = sources_of(
        event,
        rules=surroundings.rules.get(event.tenant_id, []),
        event_type=surroundings.event_types.get((event.tenant_id, event.event_type)),
        tenant=surroundings.tenants[event.tenant_id],
        members=members,
    )
    one = _Expanded(event, sources, page=page_at(sources, event.cursor))
    page = _page(event)
    while one.page is not None and not one.page.source.topic and len(one.entries) < page:
        one.take_inline(page - len(one.entries))
    return one


def _page(event: ClaimedEvent) -> int:
    """How many recipients of an event go into one chunk: fewer, if it has much data."""
    return min(PAGE, MOST_BYTES // max(len(event.data), 1))


def _read_topics(expanded: Sequence[_Expanded]) -> None:
    """A page of subscribers for every event that has come to a topic; one statement for all."""
    waiting = [one for one in expanded if one.is_at_topic]
    if not waiting:
        return
    share = max(PAGE // len(waiting), _SMALLEST_PAGE)
    pages = topic_pages(
        [
            TopicRequest(one.event.tenant_id, one.page.source.topic, one.page.place, min(share, _page(one.event)))
            for one in waiting
            if one.page
        ]
    )
    for one, subscribers in zip(waiting, pages, strict=True):
        one.take_subscribers(subscribers.contacts, subscribers.next_cursor)


def _load_contacts(expanded: Sequence[_Expanded]) -> dict[tuple[int, str], Contact]:
    """What is known of every user id in the chunk; those never seen before are made known."""
    keys = {
        (one.event.tenant_id, entry["userId"])
        for one in expanded
        for _, entry in one.entries
        if isinstance(entry, dict) and entry.get("userId")
    }
    known = recipients_by_user(keys) if keys else {}
    if unknown := keys - known.keys():
        ensure_recipients(sorted(unknown))
        known |= {(tenant_id, user_id): Contact(user_id=user_id) for tenant_id, user_id in unknown}
    return known


def _chunk(
    claim: Claim, expanded: Sequence[_Expanded], contacts: dict[tuple[int, str], Contact], surroundings: Surroundings
) -> Chunk:
    chunk = Chunk(claim.lease_id, surroundings.tenants, [], [])
    for index, one in enumerate(expanded):
        event_type = surroundings.event_types.get((one.event.tenant_id, one.event.event_type))
        chunk.works.append(_work(one, event_type))
        for source, entry in one.entries:
            chunk.targets.append(_target(index, source, entry, contacts, one.event.tenant_id))
    return chunk


def _target(
    index: int, source: Source, entry: dict[str, Any] | Contact, contacts: dict[tuple[int, str], Contact], tenant_id: int
) -> Target:
    given = entry if isinstance(entry, dict) else None
    return Target(
        index,
        entry if isinstance(entry, Contact) else merged(entry, contacts, tenant_id),
        source.channels,
        source.rule,
        None if given is None or given.keys() == {"userId"} else given,
        source.delay_s,
        source.delivery,
        source.template,
        source.priority,
    )


def _work(one: _Expanded, event_type: DeclaredType | None) -> Work:
    return work_of(
        one.event,
        event_type,
        next_cursor=one.page.cursor if one.page is not None else None,
        plan=one.sources if one.page is not None else None,
        reason=reason_for_nothing(one.sources, (source for source, _ in one.entries)),
        recipients=len(one.entries),
    )
