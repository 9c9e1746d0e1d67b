"""May this be sent to this person, and why: the preference ladder as a pure function.

The most specific rung that exists decides. A ladder has six rungs; the user's own is climbed first, then the tenant's
default one, then what the event type itself says. `docs/preferences.md` has the table, with examples that the tests run.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from preferences.quiet_hours import QuietHours, Windows
from tenants.vocabulary import ANY, Channel

Place = tuple[int | None, str, str]
"""Where a rung stands: (channel, event type, category); None and the empty string stand for any."""


class Rung(NamedTuple):
    """One stored preference."""

    id: str
    enabled: bool
    quiet_hours: QuietHours | None = None
    delivery: str = "immediate"


@dataclass(frozen=True, slots=True)
class Ladder:
    """What one user chose, and what the user's tenant chose for those who did not."""

    user: Mapping[Place, Rung] = field(default_factory=dict)
    tenant: Mapping[Place, Rung] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be sent, with the facts of its event type. May be asked of any number of ladders."""

    channel: Channel | None
    """None asks for the rungs that hold on any channel."""
    event_type: str
    """Empty asks for the rungs that hold for any event type."""
    category: str = ""
    required: bool = False
    default_enabled: bool | None = None
    """The event type's own default; None if nobody declared the event type."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a question, and the rung that gave it."""

    allowed: bool
    level: str
    """Which rung: `user.` or `tenant.` and one of `channel_type`, `type`, `channel_category`, `category`, `channel`, `any`;
    or `event_type.required`, `event_type.default`, or `default`."""
    question: Question
    rung: Rung | None = None

    @property
    def quiet_hours(self) -> QuietHours | None:
        return self.rung.quiet_hours if self.rung else None

    @property
    def delivery(self) -> str:
        """`immediate` or `digest`."""
        return self.rung.delivery if self.rung else "immediate"

    @property
    def explanation(self) -> dict[str, Any]:
        """For the record, JSON-able: `rule` (the preference's id, or None), `level`, `value`, `why`."""
        return {
            "rule": self.rung.id if self.rung else None,
            "level": self.level,
            "value": self.allowed,
            "why": _why(self),
        }


def quiet_hours_for(decision: Decision, *, user: Windows, tenant: Windows) -> tuple[Windows, str]:
    """The quiet hours that a delivery is held back in, and the level that says so (empty: there are none).

    The deciding preference's own, if it speaks of them; else those of the user as a whole, else the tenant's for everybody
    who has none. What is required is not held back.
    """
    if decision.level == REQUIRED:
        return (), REQUIRED
    if decision.quiet_hours is not None:
        return (decision.quiet_hours,), decision.level
    return quiet_hours_as_a_whole(user=user, tenant=tenant)


def quiet_hours_as_a_whole(*, user: Windows, tenant: Windows) -> tuple[Windows, str]:
    """The quiet hours of whatever no preference speaks of, and the level."""
    return (user, USER_HOURS) if user else (tenant, TENANT_HOURS if tenant else "")


class Step(NamedTuple):
    """One step of the way to a decision."""

    level: str
    rung: Rung | None
    """The preference that stands there, if one does."""
    decides: bool


def resolve(question: Question, ladder: Ladder) -> Decision:
    """The most specific rung wins; a required event type is asked about no rung at all."""
    if question.required:
        return Decision(True, REQUIRED, question)
    if ladder.user or ladder.tenant:
        user_steps, tenant_steps = _steps(question.channel, question.event_type, question.category)
        for rungs, steps in ((ladder.user, user_steps), (ladder.tenant, tenant_steps)):
            if rungs:
                for level, place in steps:
                    rung = rungs.get(place)
                    if rung is not None:
                        return Decision(rung.enabled, level, question, rung)
    return _without_a_rung(question)


def walk(question: Question, ladder: Ladder) -> Iterator[Step]:
    """Every step from the most specific to the least, for people to look at; exactly one decides."""
    decision = resolve(question, ladder)
    yield Step(REQUIRED, None, decision.level == REQUIRED)
    user_steps, tenant_steps = _steps(question.channel, question.event_type, question.category)
    for rungs, steps in ((ladder.user, user_steps), (ladder.tenant, tenant_steps)):
        for level, place in steps:
            yield Step(level, rungs.get(place), decision.level == level)
    for level in (TYPE_DEFAULT, DEFAULT):
        yield Step(level, None, decision.level == level)


REQUIRED: Final = "event_type.required"
USER_HOURS: Final = "user.quiet_hours"
TENANT_HOURS: Final = "tenant.quiet_hours"
TYPE_DEFAULT: Final = "event_type.default"
DEFAULT: Final = "default"


def _without_a_rung(question: Question) -> Decision:
    if question.default_enabled is None:
        return Decision(True, DEFAULT, question)
    return Decision(question.default_enabled, TYPE_DEFAULT, question)


_Steps = tuple[tuple[str, Place], ...]


@functools.lru_cache(maxsize=4096)
def _steps(channel: Channel | None, event_type: str, category: str) -> tuple[_Steps, _Steps]:
    """The places to look at, in order, with the level's name: on the user's ladder, on the tenant's."""
    number = None if channel is None else channel.value
    climbed = [
        ("channel_type", (number, event_type, ""), channel and event_type),
        ("type", (None, event_type, ""), event_type),
        ("channel_category", (number, "", category), channel and category),
        ("category", (None, "", category), category),
        ("channel", (number, "", ""), channel),
        ("any", (None, "", ""), True),
    ]
    there = [(name, place) for name, place, applies in climbed if applies]
    return tuple((f"user.{name}", place) for name, place in there), tuple((f"tenant.{name}", place) for name, place in there)


def scope_of(level: str, question: Question) -> str:
    """What a rung of this level speaks of, in words: `order.shipped by email`."""
    return _SCOPES[level.partition(".")[2]].format(
        channel=question.channel.label if question.channel else ANY,
        event_type=question.event_type or ANY,
        category=question.category,
    )


_SCOPES: Final = {
    "channel_type": "{event_type} by {channel}",
    "type": "{event_type} by any channel",
    "channel_category": "the category {category} by {channel}",
    "category": "the category {category} by any channel",
    "channel": "everything by {channel}",
    "any": "everything",
    "required": "{event_type}",
    "default": "{event_type}",
    "": "everything",
}
_REASONS: Final = {
    "user": "The user turned {what} {on}.",
    "tenant": "The user did not choose; the tenant's default turned {what} {on}.",
    REQUIRED: "{what} is required: nobody can turn it off.",
    TYPE_DEFAULT: "Nobody chose; {what} is {on} by default.",
    DEFAULT: "Nobody chose, and nobody declared the event type: it is on.",
}


def _why(decision: Decision) -> str:
    level = decision.level
    reason = _REASONS.get(level) or _REASONS[level.partition(".")[0]]
    return reason.format(what=scope_of(level, decision.question), on="on" if decision.allowed else "off")
