"""What this room has to know about event types. They belong to a room above, which registers here as their source."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from preferences.resolver import Question
from tenants.vocabulary import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTypeFacts:
    """One declared event type, as far as preferences go."""

    category: str = ""
    required: bool = False
    default_enabled: bool = True
    description: str = ""
    """The tenant's own words for its users, if it has any."""


class EventTypeSource(Protocol):
    def facts(self, tenant_id: int, event_type: str) -> EventTypeFacts | None:
        """None for an event type that the tenant has not declared."""
        ...

    def all_facts(self, tenant_id: int) -> Mapping[str, EventTypeFacts]:
        """Every declared event type by its name, in the order of their names."""
        ...

    def names(self, tenant_id: int) -> Collection[str]:
        """The declared event types, to choose from."""
        ...


class _NothingDeclared:
    def facts(self, tenant_id: int, event_type: str) -> EventTypeFacts | None:
        return None

    def all_facts(self, tenant_id: int) -> Mapping[str, EventTypeFacts]:
        return {}

    def names(self, tenant_id: int) -> Collection[str]:
        return ()


_source: EventTypeSource = _NothingDeclared()


def register(source: EventTypeSource) -> None:
    """Called once, by the room that owns event types, when its app is ready."""
    global _source  # noqa: PLW0603
    _source = source


def names(tenant_id: int) -> Collection[str]:
    return _source.names(tenant_id)


def all_facts(tenant_id: int) -> Mapping[str, EventTypeFacts]:
    return _source.all_facts(tenant_id)


def question_about(tenant_id: int, event_type: str, channel: Channel | None) -> Question:
    """The resolver's question, with the facts filled in; an empty event type is any."""
    facts = _source.facts(tenant_id, event_type) if event_type else None
    if facts is None:
        return Question(channel=channel, event_type=event_type)
    return Question(
        channel=channel,
        event_type=event_type,
        category=facts.category,
        required=facts.required,
        default_enabled=facts.default_enabled,
    )
