"""Who an event is for: a list of sources, each walked page by page.

A source is a list of inline recipients, or a topic. The place reached is one number kept on the event, so that a broadcast to
a hundred thousand is many chunks, and one that was interrupted goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import structlog

from notifications.claims import ClaimedEvent
from notifications.models import Rule
from notifications.rules import MOST_MEMBERS, RuleError, belonging_of, matches, recipients_of
from notifications.surroundings import DeclaredType
from notifications.wire import TenantFacts
from preferences.selectors import members_of
from tenants.vocabulary import Priority

logger = structlog.get_logger(__name__)

PAGE = 500
"""Recipients taken from one event at a time."""
NO_RULE_MATCHED = "no_rule_matched"
NO_RECIPIENTS = "no_recipients"
NO_CHANNELS = "no_channels"
_PLACES = 1 << 48
"""A cursor is source × 2^48 + place; subscription ids stay below."""


class Source(msgspec.Struct, omit_defaults=True):
    """Recipients that share their channels and the rule that named them."""

    channels: list[int]
    recipients: list[dict[str, Any]] = []
    topic: str = ""
    rule: str = ""
    delay_s: int = 0
    delivery: str = ""
    template: str = ""
    priority: int | None = None


class Page(msgspec.Struct, frozen=True):
    """Where an event's next recipients come from."""

    source: Source
    index: int
    place: int
    """Offset into `recipients`, or the last subscription id taken."""

    @property
    def cursor(self) -> int:
        return self.index * _PLACES + self.place

    def cursor_after(self, place: int) -> int:
        return self.index * _PLACES + place

    def next_source(self) -> int:
        return (self.index + 1) * _PLACES


class Members:
    """Who has a role or is in a group: asked once for each, however many events and rules name it."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, str], list[str]] = {}

    def of(self, tenant_id: int, kind: str, name: str) -> list[str]:
        """Their user ids; raises RuleError if there are too many."""
        key = tenant_id, kind, name
        if key not in self._known:
            self._known[key] = members_of(*key, limit=MOST_MEMBERS + 1)
        if len(self._known[key]) > MOST_MEMBERS:
            raise RuleError(f"the {kind} {name} has more than {MOST_MEMBERS} members; a topic has room", part="recipients")
        return self._known[key]


class Heard(NamedTuple):
    """What a rule said of an event."""

    rule: Rule
    source: Source | None
    """None: it does not match. Without recipients and topic: it matches, and names nobody or leaves that to the event."""
    error: RuleError | None


def sources_of(
    event: ClaimedEvent,
    *,
    rules: Sequence[Rule],
    event_type: DeclaredType | None,
    tenant: TenantFacts,
    members: Members | None = None,
    heard: list[Heard] | None = None,
) -> list[Source]:
    """An event's audience: empty if it names nobody and no rule matches; a single source of nobody if those that do name none.

    A faulty rule is logged and passed over; it never stops the others. If `heard` is given, what each rule says that is asked
    is added to it, and nothing is logged.
    """
    if event.plan is not None:
        return msgspec.convert(event.plan, list[Source])
    own = _own_source(event)
    if own is not None and event.channels is not None:
        own.channels = event.channels
        return [own]
    called_for = _called_for(event, rules, own, members or Members(), heard)
    if called_for:
        return called_for
    if own is None:
        return []
    own.channels = list((event_type.default_channels if event_type else None) or tenant.default_channels)
    return [own]


def reason_for_nothing(sources: Sequence[Source], reached: Iterable[Source]) -> str:
    """Why an event comes to no delivery; empty if it comes to some. `reached`: those of its sources that have people."""
    channels = [source.channels for source in reached]
    if any(channels):
        return ""
    if channels:
        return NO_CHANNELS
    return NO_RECIPIENTS if sources else NO_RULE_MATCHED


def page_at(sources: Sequence[Source], cursor: int) -> Page | None:
    """The page a cursor points at; None past the end."""
    index, place = divmod(cursor, _PLACES)
    if index >= len(sources):
        return None
    return Page(sources[index], index, place)


def _own_source(event: ClaimedEvent) -> Source | None:
    """The recipient that the event itself names."""
    if event.user_id:
        return Source(channels=[], recipients=[{"userId": event.user_id}])
    if isinstance(event.to, list):
        return Source(channels=[], recipients=event.to)
    if isinstance(event.to, dict):
        return (
            Source(channels=[], topic=event.to["topic"]) if "topic" in event.to else Source(channels=[], recipients=[event.to])
        )
    return None


def _called_for(
    event: ClaimedEvent, rules: Sequence[Rule], own: Source | None, members: Members, heard: list[Heard] | None
) -> list[Source]:
    """What the matching rules ask for; a recipient named in the event stands, and the rules say how to reach it."""
    variables = variables_of(event)
    sources: list[Source] = []
    for rule in rules:
        source, error = _asked(rule, event, variables, own, members)
        if heard is not None:
            heard.append(Heard(rule, source, error))
        elif error is not None:
            logger.warning("rule_failed", rule_id=str(rule.id), event_id=event.event_id, error=str(error))
        if source is not None:
            sources.append(source)
    if own is not None and sources:
        return _shared_out(own, sources)
    return [source for source in sources if source.recipients or source.topic] or sources[:1]


def _shared_out(own: Source, asked: Sequence[Source]) -> list[Source]:
    """The event's own recipients, once for each manner in which rules want them to be told; the first rule has a channel."""
    manners: dict[Any, Source] = {}
    taken: set[int] = set()
    for source in asked:
        manner = (source.delay_s, source.delivery, source.template, source.priority)
        known = manners.setdefault(
            manner, msgspec.structs.replace(source, channels=[], recipients=own.recipients, topic=own.topic)
        )
        known.channels += [channel for channel in source.channels if channel not in taken]
        taken.update(source.channels)
    return [source for source in manners.values() if source.channels] or [next(iter(manners.values()))]


def _asked(
    rule: Rule, event: ClaimedEvent, variables: Mapping[str, Any], own: Source | None, members: Members
) -> tuple[Source | None, RuleError | None]:
    """What one rule asks for (None: it does not match), and what kept it from saying so, or from naming anybody."""
    source = None
    try:
        if matches(rule, event.event_type, variables):
            source = Source(
                channels=event.channels or list(rule.channels),
                rule=str(rule.id),
                delay_s=rule.delay_s,
                delivery=rule.delivery,
                template=rule.template,
                priority=rule.priority,
            )
            if own is None:
                user_ids, source.topic = recipients_of(rule, variables)
                if (belonging := belonging_of(rule)) is not None:
                    user_ids = members.of(rule.tenant_id, *belonging)
                source.recipients = [{"userId": user_id} for user_id in user_ids]
    except RuleError as error:
        return source, error
    return source, None


def variables_of(event: ClaimedEvent) -> dict[str, Any]:
    return {
        "payload": msgspec.json.decode(event.data),
        "event": {
            "id": event.event_id,
            "type": event.event_type,
            "priority": str(Priority(event.priority).label),
            "metadata": msgspec.json.decode(event.metadata),
        },
    }
