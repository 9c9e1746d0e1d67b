"""Second stage: may they have it, now? Each (event, recipient, channel) gets a verdict: send, hold, collect, or why not.

The gates are asked in this order, and the first that refuses decides: whether its turn has come, whether the tenant is
switched on, an address, expiry, the suppression list, whether an earlier channel reached the recipient, the preference, the
digest, quiet hours, the tenant's limits. What was held is asked again by the same gates when its time has come. What is
refused becomes a delivery row all the same, with the reason.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from deliveries.reached import PersonKey, reached
from notifications.digests.plans import plan_for, window_at
from notifications.limits.gate import ask_limits
from notifications.spacing import distance_of
from notifications.wire import DIGEST, ESCALATION, EXPIRED, Chunk, Target, TenantFacts, Verdict, Work
from preferences.quiet_hours import quiet_until, read
from preferences.resolver import Decision, Ladder, Question, quiet_hours_for, resolve
from preferences.selectors import Ladders, SuppressionInfo, preference_ladders, suppressed
from tenants.times import written_utc
from tenants.vocabulary import Channel, Priority

TENANT_INACTIVE = "tenant_inactive"
NO_ADDRESS = "no_address"
SUPPRESSED_ADDRESS = "suppressed_address"
OPTED_OUT = "opted_out"
QUIET_HOURS = "quiet_hours"
DELAYED = "delayed"
ALREADY_REACHED = "already_reached"

_OF_THE_TYPE = frozenset({"channel_type", "type", "channel_category", "category"})
"""Rungs that speak of an event type, and not of everything."""
_LISTED = frozenset({Channel.EMAIL, Channel.SMS, Channel.PUSH, Channel.CHAT, Channel.WEBHOOK})
"""Channels whose addresses may be on the suppression list."""


def decide(chunk: Chunk, *, now: datetime) -> Chunk:
    """Fill in `verdicts`: one for each target and channel, each recipient once per event and channel."""
    wanted = list(_wanted(chunk))
    gates = _gates(chunk, wanted, now)
    chunk.verdicts = [_verdict(chunk, one, gates) for one in wanted]
    _advance(chunk, wanted, gates)
    ask_limits(chunk, now=now)
    return chunk


def decide_items(chunk: Chunk, *, now: datetime) -> Chunk:
    """Fill in `verdicts` for what was collected in a digest that is closed: what may go into it has no reason."""
    wanted = list(_wanted(chunk))
    gates = _gates(chunk, wanted, now)
    chunk.verdicts = [_case(chunk, one, gates).as_item() for one in wanted]
    return chunk


def _gates(chunk: Chunk, wanted: Sequence[_Wanted], now: datetime) -> _Gates:
    """What the gates need to know; two statements, and a third where an escalation goes on."""
    return _Gates(
        ladders=preference_ladders({(chunk.works[t.work].tenant_id, t.contact.user_id) for t in chunk.targets}),
        blocked=suppressed(
            {
                (chunk.works[chunk.targets[one.target].work].tenant_id, one.channel, address)
                for one in wanted
                if one.channel in _LISTED
                for address in one.addresses
            }
        ),
        reached=reached({_person(chunk, target) for target in chunk.targets if target.held and target.held.step}),
        now=now,
    )


class _Wanted(msgspec.Struct, frozen=True, gc=False):
    """A delivery that the chunk asks for."""

    target: int
    channel: Channel
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Gates:
    """What the gates need to know, loaded for the whole chunk."""

    ladders: Ladders
    blocked: dict[tuple[int, Channel, str], SuppressionInfo]
    reached: Mapping[PersonKey, str]
    now: datetime


def _person(chunk: Chunk, target: Target) -> PersonKey:
    work = chunk.works[target.work]
    return work.tenant_id, work.event_id, target.contact.user_id


def _wanted(chunk: Chunk) -> Iterator[_Wanted]:
    """Every delivery the chunk asks for, a recipient named twice counted once."""
    seen: set[tuple[int, int, str]] = set()
    for index, target in enumerate(chunk.targets):
        for number in target.channels:
            channel = Channel(number)
            addresses = target.contact.address_for(channel)
            key = (target.work, number, target.contact.user_id or "\n".join(("", *addresses)))
            if key not in seen:
                seen.add(key)
                yield _Wanted(index, channel, addresses)


@functools.lru_cache(maxsize=4096)
def _asked(
    channel: Channel, event_type: str, category: str, required: bool, default_enabled: bool | None
) -> tuple[Question, Decision]:
    """The resolver's question, and the answer where nobody has chosen anything."""
    question = Question(
        channel=channel, event_type=event_type, category=category, required=required, default_enabled=default_enabled
    )
    return question, resolve(question, Ladder())


def _case(chunk: Chunk, wanted: _Wanted, gates: _Gates) -> _Case:
    target = chunk.targets[wanted.target]
    work = chunk.works[target.work]
    live = [one for one in wanted.addresses if (work.tenant_id, wanted.channel, one) not in gates.blocked]
    return _Case(work, chunk.tenants[work.tenant_id], target, wanted, live, gates)


def _verdict(chunk: Chunk, wanted: _Wanted, gates: _Gates, *, later: timedelta | None = None) -> Verdict:
    """`later`: how long its turn is off; if absent, as long as the rule or the escalation says."""
    case = _case(chunk, wanted, gates)
    if later is None:
        later = case.wait()
    return case.later(later) if later else case.now()


class _Case(msgspec.Struct, frozen=True, gc=False):  # not a dataclass, which takes ten times as long to make
    """One delivery before the gates."""

    work: Work
    tenant: TenantFacts
    target: Target
    wanted: _Wanted
    live: Sequence[str]
    gates: _Gates

    @property
    def step(self) -> int | None:
        return self.target.held.step if self.target.held else self.work.options.step_of(self.wanted.channel)

    @property
    def is_urgent(self) -> bool:
        return (self.work.priority if self.target.priority is None else self.target.priority) == Priority.URGENT

    def wait(self) -> timedelta:
        """How long its turn is off: what was held has waited."""
        if self.target.held:
            return timedelta()
        step = self.step
        after_s = 0 if step is None else self.work.options.escalation[step].after_s
        return timedelta(seconds=max(after_s, self.target.delay_s))

    def later(self, wait: timedelta) -> Verdict:
        until = self.gates.now + wait
        reason = ESCALATION if self.step else DELAYED
        return self._verdict(reason, {"why": f"Its turn comes at {written_utc(until)}."}, until=until)

    def now(self) -> Verdict:
        reason, explanation = self._refusal()
        if reason:
            return self._verdict(reason, explanation)
        decision = self._decision()
        if not decision.allowed and not self._is_digest_of_wanted(decision):
            return self._verdict(OPTED_OUT, dict(decision.explanation))
        if self._is_collected(decision):
            return self.collected(self._why_collected(decision))
        return self._unless_quiet(decision)

    def as_item(self) -> Verdict:
        reason, explanation = self._refusal()
        decision = self._decision()
        if not reason and not decision.allowed:
            reason, explanation = OPTED_OUT, dict(decision.explanation)
        return self._verdict(reason, explanation)

    def _refusal(self) -> tuple[str, dict[str, Any] | None]:
        """The first gate that refuses whatever the recipient prefers, and why; an empty reason lets it through."""
        work, wanted = self.work, self.wanted
        if not self.tenant.is_active:
            return TENANT_INACTIVE, {"why": "The tenant is switched off."}
        if not wanted.addresses:
            return NO_ADDRESS, {"why": f"The recipient has no address for {wanted.channel.label}."}
        if work.expires_at is not None and work.expires_at <= self.gates.now:
            return EXPIRED, {"expiresAt": written_utc(work.expires_at)}
        if not self.live:
            return SUPPRESSED_ADDRESS, self.gates.blocked[work.tenant_id, wanted.channel, wanted.addresses[0]].explanation
        how = self.gates.reached.get((work.tenant_id, work.event_id, self.target.contact.user_id)) if self.step else None
        if how:
            return ALREADY_REACHED, {"why": f"An earlier channel reached the recipient: {how}."}
        return "", None

    def _decision(self, channel: Channel | None = None) -> Decision:
        work = self.work
        ladder = self.gates.ladders.of(work.tenant_id, self.target.contact.user_id)
        question, decision = _asked(
            channel or self.wanted.channel, work.event_type, work.category, work.required, work.default_enabled
        )
        return resolve(question, ladder) if ladder.user or ladder.tenant else decision

    def _is_digest_of_wanted(self, decision: Decision) -> bool:
        """A digest's items were each asked about: only who turned digests themselves off, or their category, gets none."""
        return bool(self.work.options.digest) and decision.level.partition(".")[2] not in _OF_THE_TYPE

    def _is_collected(self, decision: Decision) -> bool:
        if self.is_urgent or self.work.required or self.work.options.digest:
            return False
        if self.target.delivery == "immediate" and not decision.level.startswith("user."):
            return False
        return "digest" in (self.target.delivery, decision.delivery)

    def _why_collected(self, decision: Decision) -> dict[str, Any]:
        if decision.delivery != "digest":
            asked = {"rule": self.target.rule, "level": "rule", "value": "digest"}
            return {**asked, "why": "The rule asks for a digest: it is collected and goes out with others."}
        return {**decision.explanation, "why": "It is collected and goes out with others."}

    def collected(self, explanation: dict[str, Any]) -> Verdict:
        plan = plan_for(self.tenant.schedules, self.work.event_type, self.work.category, self.wanted.channel.value)
        timezone = self.target.contact.timezone or self.tenant.timezone
        window = window_at(plan, timezone=timezone, now=self.gates.now)
        return msgspec.structs.replace(self._verdict(DIGEST, explanation), window=window)

    def _unless_quiet(self, decision: Decision) -> Verdict:
        until, level = (None, "") if self.is_urgent else self._quiet_until(decision, self.gates.now)
        if until is None:
            return self._verdict("", None)
        if self.step:
            until += distance_of(
                self.step,
                self.work.options.escalation,
                began_at=self.target.held.past[0].since if self.target.held and self.target.held.past else self.gates.now,
                until=until,
                quiet_until=lambda channel, moment: self._quiet_until(self._decision(channel), moment)[0],
            )
        rule = decision.rung.id if decision.rung and level == decision.level else None
        why = f"In the recipient's quiet hours; it waits until {written_utc(until)}."
        return self._verdict(QUIET_HOURS, {"rule": rule, "level": level, "value": True, "why": why}, until=until)

    def _quiet_until(self, decision: Decision, moment: datetime) -> tuple[datetime | None, str]:
        """When quiet hours end that hold a moment, and the level that says so."""
        contact = self.target.contact
        user, tenant = contact.quiet_hours, self.tenant.quiet_hours
        if not (user or tenant or decision.rung):
            return None, ""
        hours, level = quiet_hours_for(decision, user=read(user), tenant=read(tenant))
        return quiet_until(hours, timezone=contact.timezone or self.tenant.timezone, now=moment), level

    def _verdict(self, reason: str, explanation: dict[str, Any] | None, *, until: datetime | None = None) -> Verdict:
        expires_at = self.work.expires_at
        if until is not None and expires_at is not None:
            until = min(until, max(expires_at, self.gates.now))  # that it expired is recorded when it does
        addresses = list(self.live or self.wanted.addresses)
        return Verdict(
            self.wanted.target, self.wanted.channel.value, addresses, reason, explanation, until=until, step=self.step
        )


def _advance(chunk: Chunk, wanted: Sequence[_Wanted], gates: _Gates) -> None:
    """Where a channel of an escalation is refused, the next one's turn comes at once, and those after it as much sooner."""
    steps: dict[tuple[int, int, str], dict[int, int]] = {}
    for index, verdict in enumerate(chunk.verdicts):
        target = chunk.targets[verdict.target]
        if verdict.step is not None and not target.held:
            person = (target.work, verdict.target if not target.contact.user_id else -1, target.contact.user_id)
            steps.setdefault(person, {})[verdict.step] = index
    for (work, _, _), places in steps.items():
        escalation, sooner = chunk.works[work].options.escalation, timedelta()
        for step, index in sorted(places.items()):
            verdict = chunk.verdicts[index]
            if sooner and verdict.until is not None and verdict.reason == ESCALATION:
                later = timedelta(seconds=escalation[step].after_s) - sooner
                verdict = chunk.verdicts[index] = _verdict(chunk, wanted[index], gates, later=max(later, timedelta()))
            if verdict.reason and verdict.until is None and verdict.window is None and step + 1 < len(escalation):
                sooner = timedelta(seconds=escalation[step + 1].after_s)
