"""From what a person ticks to the fewest preferences that say so. Pure.

A rung that is more specific, or an event type's own default, may say otherwise than the line's own rung. So after a line's rung
is set each of its event types is asked again, and one that does not follow gets a rung of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from preferences.centre.lines import EVERYTHING, Line
from preferences.resolver import Decision, Ladder, Place, Rung, resolve
from tenants.vocabulary import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to hold of a line on a channel (None: on any); None leaves a part as it is."""

    line: Line
    channel: Channel | None
    enabled: bool | None = None
    delivery: str | None = None
    """`immediate` or `digest`."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What becomes of a user's ladder."""

    put: dict[Place, Rung] = field(default_factory=dict)
    """The ids of these rungs are empty."""
    drop: set[Place] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.put or self.drop)


@dataclass(frozen=True, slots=True)
class State:
    """How a line stands on a channel."""

    decisions: Mapping[str, Decision]

    @property
    def is_on(self) -> bool:
        """Whether anything of it gets through."""
        return any(decision.allowed for decision in self.decisions.values())

    @property
    def is_mixed(self) -> bool:
        return len({decision.allowed for decision in self.decisions.values()}) > 1

    @property
    def deliveries(self) -> set[str]:
        """How that which gets through is delivered."""
        return {decision.delivery for decision in self.decisions.values() if decision.allowed}


def state_of(line: Line, channel: Channel | None, ladder: Ladder) -> State:
    return State({name: resolve(question, ladder) for name, question in line.questions(channel).items()})


def is_silenced(ladder: Ladder) -> bool:
    """Whether the user turned everything off."""
    rung = ladder.user.get(EVERYTHING.place(None))
    return rung is not None and not rung.enabled


def fulfil(wishes: Iterable[Wish], ladder: Ladder) -> Changes:
    """What to change in the user's ladder so that all wishes hold; nothing where they do already."""
    user, changes = dict(ladder.user), Changes()
    for wish in wishes:
        put = _fulfil_one(wish, Ladder(user, ladder.tenant))
        user.update(put)
        changes.put.update(put)
    return changes


def silence(ladder: Ladder) -> Changes:
    """Everything off: what there is, and what is yet to come. What must be sent is not asked about."""
    top = EVERYTHING.place(None)
    rungs = {top: Rung("", enabled=True), **ladder.user}
    return Changes({place: rung._replace(id="", enabled=False) for place, rung in rungs.items() if rung.enabled})


def end_silence(ladder: Ladder) -> Changes:
    """Back to the other rungs and to the defaults, rather than on for all, including what nobody gets unasked."""
    return Changes(drop={EVERYTHING.place(None)}) if is_silenced(ladder) else Changes()


def _fulfil_one(wish: Wish, ladder: Ladder) -> dict[Place, Rung]:
    questions = wish.line.questions(wish.channel)
    before = {name: resolve(question, ladder) for name, question in questions.items()}
    if all(_says(decision, _wanted(wish, decision)) for decision in before.values()):
        return {}
    place = wish.line.place(wish.channel)
    put = {place: _wanted(wish, _spokesman(wish, before))}
    for name, question in questions.items():
        wanted = _wanted(wish, before[name])
        if not _says(resolve(question, Ladder({**ladder.user, **put}, ladder.tenant)), wanted):
            put[wish.channel and wish.channel.value, name, ""] = wanted
    return put


def _spokesman(wish: Wish, decisions: Mapping[str, Decision]) -> Decision:
    """The decision that most of the line's event types share the result of: its rung leaves the fewest others to be written."""
    wanted = [_wanted(wish, decision) for decision in decisions.values()]
    return max(decisions.values(), key=lambda decision: wanted.count(_wanted(wish, decision)))


def _says(decision: Decision, wanted: Rung) -> bool:
    """How and when matter of what gets through."""
    if not wanted.enabled:
        return not decision.allowed
    return (decision.allowed, decision.quiet_hours, decision.delivery) == (True, wanted.quiet_hours, wanted.delivery)


def _wanted(wish: Wish, before: Decision) -> Rung:
    """The rung to have: as before, quiet hours included, but for what is wished."""
    enabled = before.allowed if wish.enabled is None else wish.enabled
    return Rung("", enabled, before.quiet_hours, wish.delivery or before.delivery)
