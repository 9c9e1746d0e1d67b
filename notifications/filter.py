"""Second stage: may they have it, now? Each (event, recipient, channel) gets a verdict: send, or why not.

The gates are asked in this order, the first that refuses decides: an address, expiry, the suppression list, the preference.
What is refused becomes a delivery row all the same, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from notifications.wire import EXPIRED, Chunk, Target, Verdict, Work
from preferences.resolver import Question, resolve
from preferences.selectors import Ladders, SuppressionInfo, preference_ladders, suppressed
from tenants.times import written_utc
from tenants.vocabulary import Channel

NO_ADDRESS = "no_address"
SUPPRESSED_ADDRESS = "suppressed_address"
OPTED_OUT = "opted_out"

_LISTED = frozenset({Channel.EMAIL, Channel.SMS, Channel.PUSH, Channel.CHAT, Channel.WEBHOOK})
"""Channels whose addresses may be on the suppression list."""


def decide(chunk: Chunk, *, now: datetime) -> Chunk:
    """Fill in `verdicts`: one for each target and channel, each recipient once per event and channel."""
    wanted = list(_wanted(chunk))
    gates = _Gates(
        ladders=preference_ladders({(chunk.works[t.work].tenant_id, t.contact.user_id) for t in chunk.targets}),
        blocked=suppressed(
            {
                (chunk.works[chunk.targets[one.target].work].tenant_id, one.channel, address)
                for one in wanted
                if one.channel in _LISTED
                for address in one.addresses
            }
        ),
        now=now,
    )
    chunk.verdicts = [_verdict(chunk, one, gates) for one in wanted]
    return chunk


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A delivery that the chunk asks for."""

    target: int
    channel: Channel
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Gates:
    """What the gates need to know, loaded for the whole chunk."""

    ladders: Ladders
    blocked: dict[tuple[int, Channel, str], SuppressionInfo]
    now: datetime


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


def _verdict(chunk: Chunk, wanted: _Wanted, gates: _Gates) -> Verdict:
    target = chunk.targets[wanted.target]
    work = chunk.works[target.work]
    live = [one for one in wanted.addresses if (work.tenant_id, wanted.channel, one) not in gates.blocked]
    reason, explanation = _refusal(work, target, wanted, live, gates)
    return Verdict(wanted.target, wanted.channel.value, live or list(wanted.addresses), reason, explanation)


def _refusal(
    work: Work, target: Target, wanted: _Wanted, live: Sequence[str], gates: _Gates
) -> tuple[str, dict[str, Any] | None]:
    """The first gate that refuses, and why; an empty reason lets it through."""
    if not wanted.addresses:
        return NO_ADDRESS, {"why": f"The recipient has no address for {wanted.channel.label}."}
    if work.expires_at is not None and work.expires_at <= gates.now:
        return EXPIRED, {"expiresAt": written_utc(work.expires_at)}
    if not live:
        return SUPPRESSED_ADDRESS, gates.blocked[work.tenant_id, wanted.channel, wanted.addresses[0]].explanation
    question = Question(
        channel=wanted.channel,
        event_type=work.event_type,
        category=work.category,
        required=work.required,
        default_enabled=work.default_enabled,
    )
    decision = resolve(question, gates.ladders.of(work.tenant_id, target.contact.user_id))
    return ("", None) if decision.allowed else (OPTED_OUT, dict(decision.explanation))
