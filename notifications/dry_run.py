"""What rules would make of an event, without storing it, making anybody known or sending anything.

The event is asked of `audience.sources_of` as `enrich` asks a claimed one; what is here puts into words what it answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, get_args
from uuid import UUID

import msgspec
from django.db import connection
from msgspec import UNSET, UnsetType

from notifications.audience import Heard, Source, reason_for_nothing, sources_of
from notifications.claims import ClaimedEvent
from notifications.dry_run_answers import (
    MOST_LISTED,
    Because,
    Condition,
    EventAnswer,
    Note,
    Origin,
    Outcome,
    Pattern,
    Reached,
    RuleInTurn,
    RuleTrial,
    Saying,
)
from notifications.intake import NewEvent
from notifications.models import Rule
from notifications.rules import is_for
from notifications.surroundings import Surroundings, surroundings_of
from preferences.selectors import topics_reach
from tenants.models import Tenant
from tenants.vocabulary import Channel

# What storing and claiming make of it: the type's own priority, and JSON as PostgreSQL gives it back.
_AS_CLAIMED = """
SELECT %(channels)s::smallint[], COALESCE(%(priority)s::smallint, (
    SELECT default_priority FROM notifications_eventtype WHERE tenant_id = %(tenant_id)s AND name = %(event_type)s
), 2), %(data)s::jsonb::text, %(metadata)s::jsonb::text
"""


def as_claimed(new: NewEvent, *, tenant: Tenant, now: datetime) -> ClaimedEvent:
    """The event as a worker would have it in hand; one statement, which stores nothing."""
    with connection.cursor() as cursor:
        cursor.execute(_AS_CLAIMED, {**msgspec.structs.asdict(new), "tenant_id": tenant.pk})
        channels, priority, data, metadata = cursor.fetchone()
    return ClaimedEvent(
        id=new.id,
        tenant_id=tenant.pk,
        event_id=new.event_id,
        event_type=new.event_type,
        user_id=new.user_id,
        to=None if new.to is None else msgspec.json.decode(new.to),
        channels=channels,
        priority=priority,
        data=data,
        metadata=metadata,
        sandbox=False,
        created_at=now,
        due_at=now,
        expires_at=new.expires_at,
        cursor=0,
        plan=None,
        attempt_count=1,
    )


def try_rule(rule: Rule, new: NewEvent, *, now: datetime) -> RuleTrial:
    """What one rule, saved or not, active or not, would do with an event; three statements at most."""
    event = as_claimed(new, tenant=rule.tenant, now=now)
    around = surroundings_of([(event.tenant_id, event.event_type)], asked_rules=())
    heard, sources = _hear(event, [rule], around)
    saying = _saying(rule, heard.get(rule.pk), event)
    outcome = _outcome(rule.tenant, event, sources if saying.matches else [], [rule])
    notes = [*saying.problems, *outcome.problems]
    if not heard:
        notes.insert(0, _NOT_ASKED)
    if not rule.is_active:
        notes.insert(0, Note("isActive", "inactive", "The rule is not active: it is asked of no event."))
    return RuleTrial(
        **_fields(msgspec.structs.replace(saying, problems=notes)),
        recipients=[msgspec.structs.replace(one, rule="") for one in outcome.recipients],
        recipient_count=outcome.recipient_count,
        channels=outcome.channels,
    )


def explain(tenant: Tenant, new: NewEvent, *, now: datetime) -> EventAnswer:
    """What each active rule of the tenant says of an event, in order, and what it comes to; four statements at most."""
    event = as_claimed(new, tenant=tenant, now=now)
    around = surroundings_of([(event.tenant_id, event.event_type)], asked_rules=[tenant.pk])
    rules = around.rules[tenant.pk]
    heard, sources = _hear(event, rules, around)
    outcome = _outcome(tenant, event, sources, rules)
    if rules and not heard:
        outcome = msgspec.structs.replace(outcome, problems=[_NOT_ASKED, *outcome.problems])
    return EventAnswer(rules=[_in_turn(rule, _saying(rule, heard.get(rule.pk), event)) for rule in rules], **_fields(outcome))


def _hear(event: ClaimedEvent, rules: Sequence[Rule], around: Surroundings) -> tuple[dict[UUID, Heard], list[Source]]:
    """What each rule said that was asked, and the event's audience."""
    heard: list[Heard] = []
    sources = sources_of(
        event,
        rules=rules,
        event_type=around.event_types.get((event.tenant_id, event.event_type)),
        tenant=around.tenants[event.tenant_id],
        heard=heard,
    )
    return {one.rule.pk: one for one in heard}, sources


def _saying(rule: Rule, heard: Heard | None, event: ClaimedEvent) -> Saying:
    """In words what a rule said; `heard` None: it was not asked."""
    because = _because(rule, heard, event)
    problems: list[Note] = []
    error: str | UnsetType = UNSET
    if heard is not None and heard.error is not None:
        problems = [Note(heard.error.part, "failed", str(heard.error))]
        error = str(heard.error) if heard.error.part == "condition" else UNSET
    elif because == "no_recipients":
        problems = [_NOBODY]
    return Saying(
        matches=_RESULTS.get(because, True) is True,
        because=because,
        pattern=Pattern(is_for(rule, event.event_type)),
        condition=Condition(_RESULTS.get(because, True), error),
        problems=problems,
    )


def _because(rule: Rule, heard: Heard | None, event: ClaimedEvent) -> Because:
    if heard is None:
        return "not_asked"
    if heard.error is not None:
        return "condition_failed" if heard.error.part == "condition" else "recipients_failed"
    if heard.source is None:
        return "condition_false" if is_for(rule, event.event_type) else "other_type"
    named = heard.source.recipients or heard.source.topic or _names_somebody(event)
    return "matched" if named else "no_recipients"


def _in_turn(rule: Rule, saying: Saying) -> RuleInTurn:
    return RuleInTurn(id=str(rule.pk), name=rule.name, event_type=rule.event_type, position=rule.position, **_fields(saying))


def _outcome(tenant: Tenant, event: ClaimedEvent, sources: Sequence[Source], rules: Sequence[Rule]) -> Outcome:
    topics = {source.topic for source in sources if source.topic}
    people = {_identity(recipient) for source in sources for recipient in source.recipients}
    users = [user_id for user_id, _ in people if user_id]
    subscribers, others = topics_reach(tenant, topics, besides=users) if topics else ({}, 0)
    reached = [source for source in sources if source.recipients or subscribers.get(source.topic)]
    problems = [_topic_note(topic, subscribers) for topic in sorted(topics) if not subscribers.get(topic)]
    if event.expires_at is not None and event.expires_at <= event.created_at:
        problems.append(Note("event.expiresAt", "expired", "This time is past: nothing would be sent."))
    return Outcome(
        recipients=list(islice(_listed(event, sources, rules, subscribers), MOST_LISTED)),
        recipient_count=len(people) + others,
        channels=_names(dict.fromkeys(channel for source in reached for channel in source.channels)),
        reason=reason_for_nothing(sources, reached),
        problems=problems,
    )


def _listed(
    event: ClaimedEvent, sources: Sequence[Source], rules: Sequence[Rule], subscribers: Mapping[str, int]
) -> Iterator[Reached]:
    by_id = {str(rule.pk): rule for rule in rules}
    for source in sources:
        rule = by_id.get(source.rule)
        origin: Origin = "event" if rule is None or _names_somebody(event) else _kind(rule)
        shared = {"from": origin, "channels": _names(source.channels), "rule": source.rule}
        if source.topic:
            entries = [{"topic": source.topic, "subscribers": subscribers.get(source.topic, 0)}]
        else:
            entries = source.recipients
        for entry in entries:
            yield msgspec.convert(entry | shared, Reached)


def _kind(rule: Rule) -> Origin:
    """Which part of the rule names its people; `recipients_of` has the order."""
    return next((kind for kind in get_args(Origin) if rule.recipients.get(kind)), "path")


def _names_somebody(event: ClaimedEvent) -> bool:
    return bool(event.user_id) or event.to is not None


def _identity(recipient: Mapping[str, Any]) -> tuple[str, bytes]:
    """A user, or else what is given of somebody who is none."""
    user_id = recipient.get("userId", "")
    return user_id, b"" if user_id else msgspec.json.encode(recipient, order="sorted")


def _names(channels: Iterable[int]) -> list[Any]:
    return [str(Channel(channel).label) for channel in channels]


def _topic_note(topic: str, subscribers: Mapping[str, int]) -> Note:
    if topic in subscribers:
        return Note("recipients", "no_subscribers", f"Nobody is subscribed to the topic {topic}.")
    return Note("recipients", "unknown_topic", f"There is no topic {topic}.")


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(struct)


_RESULTS: dict[Because, bool | None] = {
    "not_asked": None,
    "other_type": None,
    "condition_failed": None,
    "condition_false": False,
}
"""What the condition came to; true with all others."""
_NOT_ASKED = Note("event", "not_asked", "The event names its recipients and its channels, so no rule is asked.")
_NOBODY = Note("recipients", "no_recipients", "The rule names nobody, and neither does the event.")
