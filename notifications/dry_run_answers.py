"""What a dry run of rules answers: the shapes, as the API has them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from notifications.intake import ChannelName
from tenants.http.problems import camel

MOST_LISTED = 100
"""Recipients that are written out; all are counted."""

Because = Literal[
    "matched", "not_asked", "other_type", "condition_false", "condition_failed", "recipients_failed", "no_recipients"
]
Origin = Literal["event", "topic", "userIds", "role", "group", "path"]


class Note(Struct, frozen=True):
    """Something to look at."""

    field: str
    """Of the rule or, with `event` before it, of the event."""
    code: str
    message: str


class Pattern(Struct, frozen=True):
    matches: bool


class Condition(Struct, frozen=True, omit_defaults=True):
    result: Annotated[bool | None, Meta(description="null: it was not asked, or could not be.")]
    error: str | UnsetType = UNSET


class Reached(
    Struct, frozen=True, kw_only=True, rename=lambda name: {"origin": "from"}.get(name, camel(name)), omit_defaults=True
):
    """A recipient, or a topic with the number of its subscribers."""

    origin: Annotated[Origin, Meta(description="The event itself, or the part of the rule that names it.")]
    channels: list[ChannelName]
    rule: Annotated[str, Meta(description="The id of the rule that routes it.")] = ""
    user_id: str = ""
    email: str = ""
    phone: str = ""
    push_tokens: list[str] = []
    telegram_chat_id: str = ""
    webhook_url: str = ""
    locale: str = ""
    timezone: str = ""
    topic: str = ""
    subscribers: int | UnsetType = UNSET


class Saying(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a rule says of an event."""

    matches: Annotated[bool, Meta(description="Whether pattern and condition hold.")]
    because: Because
    pattern: Pattern
    condition: Condition = Condition(None)
    problems: list[Note] = []


_RECIPIENTS = f"The first {MOST_LISTED}."
_COUNT = "People, each counted once, subscribers of topics included."


class RuleTrial(Saying, frozen=True, kw_only=True, rename="camel"):
    """What a rule would do with an event."""

    recipients: Annotated[list[Reached], Meta(description=_RECIPIENTS)]
    recipient_count: Annotated[int, Meta(description=_COUNT)]
    channels: list[ChannelName]


class RuleInTurn(Saying, frozen=True, kw_only=True, rename="camel"):
    """A rule, and what it says of an event."""

    id: str
    name: str
    event_type: str
    position: int


class Outcome(Struct, frozen=True, kw_only=True, rename="camel"):
    """What an event comes to: whom it reaches, on which channels. The recipients' preferences are not asked."""

    recipients: Annotated[list[Reached], Meta(description=_RECIPIENTS)]
    recipient_count: Annotated[int, Meta(description=_COUNT)]
    channels: list[ChannelName]
    reason: Annotated[str, Meta(description="Why it would have no deliveries, as its `reason` would say; else empty.")]
    problems: list[Note]


class EventAnswer(Outcome, frozen=True, kw_only=True, rename="camel"):
    """What the active rules say of an event, in the order in which they are asked, and what it comes to."""

    rules: list[RuleInTurn]
