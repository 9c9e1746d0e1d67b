"""The last gate: of what may be sent, what the tenant's limits put off, collect, or refuse."""

from __future__ import annotations

from datetime import datetime

import msgspec

from notifications.digests.plans import plan_for, window_at
from notifications.limits.asking import REASONS, asked_of, limits_on, sentence
from notifications.limits.counting import Answer, take_places
from notifications.limits.models import Excess
from notifications.wire import Chunk, Verdict
from tenants.vocabulary import Priority


def ask_limits(chunk: Chunk, *, now: datetime) -> None:
    """Ask the limits about all that may be sent, in one trip, and change the verdicts that they change."""
    if not any(tenant.limits for tenant in chunk.tenants.values()):
        return
    asked, places = [], []
    for index, verdict in enumerate(chunk.verdicts):
        if not verdict.reason:
            target = chunk.targets[verdict.target]
            work = chunk.works[target.work]
            recipient = target.contact.user_id or " ".join(verdict.addresses)
            priority = work.priority if target.priority is None else target.priority
            passes = work.required or priority == Priority.URGENT
            if (one := asked_of(work, chunk.tenants[work.tenant_id], verdict, recipient, passes=passes)) is not None:
                asked.append(one)
                places.append(index)
    for index, answer in zip(places, take_places(asked, now=now), strict=True):
        if answer.excess is not None:
            chunk.verdicts[index] = _limited(chunk, chunk.verdicts[index], answer, now)


def _limited(chunk: Chunk, verdict: Verdict, answer: Answer, now: datetime) -> Verdict:
    assert answer.excess is not None
    target = chunk.targets[verdict.target]
    work = chunk.works[target.work]
    tenant = chunk.tenants[work.tenant_id]
    limit = limits_on(tenant.limits, work.event_type, work.category, verdict.channel)[answer.decided_by]
    explanation = {
        "rule": str(limit.id),
        "level": "limit",
        "value": answer.excess is not Excess.SUPPRESS,
        "why": sentence(limit, work, verdict, answer.excess),
    }
    limited = msgspec.structs.replace(verdict, reason=REASONS[answer.excess], explanation=explanation)
    if answer.excess is Excess.DIGEST:
        plan = plan_for(tenant.schedules, work.event_type, work.category, verdict.channel)
        window = window_at(plan, timezone=target.contact.timezone or tenant.timezone, now=now)
        return msgspec.structs.replace(limited, window=window)
    if answer.until is not None and work.expires_at is not None:
        return msgspec.structs.replace(limited, until=min(answer.until, work.expires_at))
    return msgspec.structs.replace(limited, until=answer.until)
