"""What a person chooses about: lines of the centre, each a declared event type or a whole category. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from preferences.event_types import EventTypeFacts
from preferences.resolver import Place, Question
from tenants.vocabulary import Channel

MOST_FINE: Final = 12
"""Optional event types that are shown one by one; of more, their categories are."""
_SEPARATORS = re.compile(r"[\s._:\-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Event types that are switched together: one, or (without an `event_type`) those of a category, or whatever there is."""

    event_type: str = ""
    category: str = ""
    """Its own if there is no `event_type`, else the event type's."""
    members: Mapping[str, EventTypeFacts] = field(default_factory=dict)
    """The declared event types that it is about, none of them required."""

    @property
    def key(self) -> str:
        """Names it in a form."""
        return f"t:{self.event_type}" if self.event_type else f"c:{self.category}" if self.category else "*"

    @property
    def title(self) -> str:
        """In the tenant's own words; empty for whatever there is."""
        return readable(self.event_type or self.category)

    @property
    def description(self) -> str:
        return self.members[self.event_type].description if self.event_type in self.members else ""

    def place(self, channel: Channel | None) -> Place:
        """The rung that speaks of it and of nothing else."""
        return channel and channel.value, self.event_type, "" if self.event_type else self.category

    def questions(self, channel: Channel | None) -> dict[str, Question]:
        """What to ask of a ladder to know how it stands: by event type; an undeclared one, or none, is asked about itself."""
        if not self.members:
            return {self.event_type: Question(channel=channel, event_type=self.event_type, category=self.category)}
        return {
            name: Question(channel=channel, event_type=name, category=facts.category, default_enabled=facts.default_enabled)
            for name, facts in self.members.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A category with its lines, and those of its event types that cannot be turned off."""

    category: str
    lines: Sequence[Line]
    required: Mapping[str, EventTypeFacts]

    @property
    def title(self) -> str:
        return readable(self.category)


EVERYTHING: Final = Line()


def groups_of(declared: Mapping[str, EventTypeFacts]) -> list[Group]:
    """The centre's contents, categories by name, what has none at the end. A tenant that declared nothing has one line."""
    optional = {name: facts for name, facts in declared.items() if not facts.required}
    is_fine = len(optional) <= MOST_FINE
    groups = []
    for category in sorted({facts.category for facts in declared.values()}, key=lambda name: (not name, name.casefold())):
        own = {name: facts for name, facts in declared.items() if facts.category == category}
        members = {name: facts for name, facts in own.items() if not facts.required}
        required = {name: facts for name, facts in own.items() if facts.required}
        coarse = bool(category) and not is_fine
        lines = [Line(category=category, members=members)] if coarse and members else _singly(members)
        groups.append(Group(category=category, lines=lines, required=required))
    if not optional:
        groups.append(Group(category="", lines=[EVERYTHING], required={}))
    return groups


def line_about(event_type: str, declared: Mapping[str, EventTypeFacts]) -> Line:
    """What a link to unsubscribe from an event type speaks of: its whole category if it has one."""
    facts = declared.get(event_type)
    if facts is None or not facts.category:
        return _singly({event_type: facts})[0] if facts else Line(event_type=event_type)
    members = {name: each for name, each in declared.items() if each.category == facts.category and not each.required}
    return Line(category=facts.category, members=members)


def readable(name: str) -> str:
    """`order.shipped` → `Order shipped`"""
    words = _SEPARATORS.sub(" ", name).strip()
    return words[:1].upper() + words[1:]


def _singly(members: Mapping[str, EventTypeFacts]) -> list[Line]:
    return [Line(event_type=name, category=facts.category, members={name: facts}) for name, facts in members.items()]
