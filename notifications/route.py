"""Third stage: which words? Render every delivery, then write them all and move their events on, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db import transaction
from uuid_utils.compat import uuid7

from deliveries.claims import IN_APP_LEASE
from deliveries.services import NewDelivery, create_deliveries, release_held
from deliveries.states import Status
from notifications.digests.windows import DigestKey, Wanted, open_digests
from notifications.holds.services import NewHold, Note, advance, keep, lift
from notifications.ledger import move_on
from notifications.recipient_links import RecipientLinks
from notifications.wire import ESCALATION, EXPIRED, Chunk, Past, Target, TenantFacts, Verdict, Work
from templates_app.rendering import TOO_SLOW, Rendered, RenderError, region_of, render
from templates_app.selectors import TemplateBook, published_templates
from tenants.vocabulary import Channel, Priority

NO_TEMPLATE = "no_template"

_DATA_CHANNELS = frozenset({Channel.PUSH, Channel.IN_APP, Channel.WEBHOOK})
"""Channels that pass the event's data on to the recipient's device or server."""


@dataclass(frozen=True, slots=True)
class Routed:
    """What the chunk came to: rows written, in-app ones already under the lease of the `send` that follows."""

    in_app: list[NewDelivery]
    waiting: set[Channel]
    """Other channels that have something to send now."""
    unfinished: bool
    """Whether some event has more recipients to come."""
    processed: int
    """Events that have come to their end."""
    statuses: Mapping[tuple[Channel, Status], int]
    """How many rows were written in each state."""
    announced: bool
    """Whether a tenant's own server is to hear of some."""


class _Row(NamedTuple):
    """A delivery to be written, and what it comes from."""

    delivery: NewDelivery
    target: Target
    verdict: Verdict


def write(chunk: Chunk, *, now: datetime) -> Routed:
    """Render and store the chunk's deliveries. What another worker stored in the meantime is left as it is."""
    rows = _render_all(chunk, now)
    with transaction.atomic():
        if chunk.is_held:
            lifted = lift(delivery_ids=[row.delivery.id for row in rows], lease_id=chunk.lease_id)
            written = release_held(rows=[row.delivery for row in rows if row.delivery.id in lifted], now=now)
            processed = 0
        else:
            moved_on = move_on(chunk, now)
            written = create_deliveries(rows=[row.delivery for row in rows if row.target.work in moved_on], now=now)
            processed = sum(chunk.works[index].next_cursor is None for index in moved_on)
        new = [row for row in rows if row.delivery.id in written.ids]
        _hold(chunk, [row for row in new if row.delivery.is_held], now)
        if chunk.is_held:
            advance(refused=_refused_steps(chunk, new), waiting_for=ESCALATION, now=now)
    going = [row.delivery for row in new if not row.delivery.is_held]
    return Routed(
        in_app=[row for row in going if row.status == Status.SENDING],
        waiting={Channel(row.channel) for row in going if row.status == Status.PENDING},
        unfinished=any(work.next_cursor is not None for work in chunk.works),
        processed=processed,
        statuses=Counter(
            (Channel(row.delivery.channel), Status(row.delivery.status))
            for row in new
            if not (chunk.is_held and row.delivery.status == Status.PENDING)  # counted when it was first written
        ),
        announced=written.announced,
    )


def _hold(chunk: Chunk, rows: Sequence[_Row], now: datetime) -> None:
    """Write down what the rows wait for: a time, or their digest."""
    wanted = {row.delivery.id: _digest_of(chunk, row) for row in rows if row.verdict.window}
    digests = open_digests(wanted=wanted.values(), now=now)
    holds = []
    for row in rows:
        digest = digests[wanted[row.delivery.id].key][0] if row.verdict.window else None
        holds.append(
            NewHold(
                delivery_id=row.delivery.id,
                tenant_id=row.delivery.tenant_id,
                event=chunk.works[row.target.work].id,
                channel=row.delivery.channel,
                priority=row.delivery.priority,
                due_at=row.verdict.until if digest is None else None,
                digest_id=digest,
                step=row.verdict.step,
                target=msgspec.json.encode(_note(row, chunk.works[row.target.work], now)).decode(),
            )
        )
    keep(holds=holds, now=now)


def _digest_of(chunk: Chunk, row: _Row) -> Wanted:
    assert row.verdict.window is not None
    delivery, work = row.delivery, chunk.works[row.target.work]
    key = DigestKey(
        delivery.tenant_id,
        delivery.user_id,
        "" if delivery.user_id else delivery.address,
        delivery.channel,
        work.options.digest_key,
        row.verdict.window.schedule_id,
        work.sandbox,
    )
    return Wanted(key, row.verdict.window, delivery.priority)


def _note(row: _Row, work: Work, now: datetime) -> Note:
    target, until = row.target, row.delivery.next_attempt_at
    past = target.held.past if target.held else ()
    return Note(
        given=target.given,
        rule=target.rule,
        delivery=target.delivery,
        template=target.template,
        past=(*past, Past(row.verdict.reason, now, until or now)),
        size=len(work.data) if row.verdict.window else 0,
    )


def _refused_steps(chunk: Chunk, rows: Sequence[_Row]) -> list[tuple[UUID, str, int]]:
    """The steps of escalations that came to nothing: the next one need not wait."""
    return [
        (chunk.works[row.target.work].id, row.delivery.user_id, row.verdict.step)
        for row in rows
        if row.verdict.step is not None and row.delivery.status in {Status.SUPPRESSED, Status.FAILED}
    ]


def _render_all(chunk: Chunk, now: datetime) -> list[_Row]:
    book = published_templates(
        {
            (chunk.works[target.work].tenant_id, Channel(verdict.channel), _words_of(chunk.works[target.work], target))
            for verdict in chunk.verdicts
            if not verdict.reason
            for target in (chunk.targets[verdict.target],)
        }
    )
    shared = [_Shared.of(work, chunk.tenants[work.tenant_id], now) for work in chunk.works]
    rows = []
    for verdict in chunk.verdicts:
        target = chunk.targets[verdict.target]
        rows.append(_Row(_delivery(shared[target.work], target, verdict, book, now), target, verdict))
    return rows


def _words_of(work: Work, target: Target) -> str:
    """The event type whose templates are used."""
    return target.template or work.event_type


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all deliveries of an event have in common."""

    work: Work
    tenant: TenantFacts
    data: dict[str, Any]
    event_view: dict[str, Any]
    tenant_view: dict[str, Any]
    links: RecipientLinks
    too_slow: dict[UUID, RenderError] = field(default_factory=dict)
    """Template versions that took too long over this event's data: they would for its next recipient."""

    @classmethod
    def of(cls, work: Work, tenant: TenantFacts, now: datetime) -> _Shared:
        event = {
            "id": work.event_id,
            "type": work.event_type,
            "priority": str(Priority(work.priority).label),
            "metadata": msgspec.json.decode(work.metadata),
            "createdAt": work.created_at,
        }
        tenant_view = {"slug": tenant.slug, "name": tenant.name}
        return cls(work, tenant, msgspec.json.decode(work.data), event, tenant_view, RecipientLinks.of(work, tenant, now))


def _delivery(shared: _Shared, target: Target, verdict: Verdict, book: TemplateBook, now: datetime) -> NewDelivery:
    channel = Channel(verdict.channel)
    locale = target.contact.locale or shared.tenant.default_locale
    outcome = _unsent(verdict) if verdict.reason else _rendered(shared, target, verdict, locale, book)
    leased = outcome.status is Status.SENDING
    work, words, held = shared.work, outcome.words, target.held
    is_held = verdict.until is not None or verdict.window is not None
    return NewDelivery(
        id=held.delivery_id if held else uuid7(),
        tenant_id=work.tenant_id,
        event_id=work.event_id,
        event_type=work.event_type,
        user_id=target.contact.user_id,
        channel=verdict.channel,
        priority=work.priority if target.priority is None else target.priority,
        status=outcome.status.value,
        reason=outcome.reason,
        explanation=_explanation(target, verdict),
        sandbox=work.sandbox and channel is not Channel.IN_APP,
        address="" if channel is Channel.IN_APP else " ".join(verdict.addresses),  # the inbox is the user's: `user_id`
        locale=locale,
        template_version_id=words.version_id if words else None,
        subject=words.subject if words else "",
        body=words.body if words else "",
        html=words.html if words else "",
        data=work.data if channel in _DATA_CHANNELS and not is_held else None,
        attempt_count=1 if leased else 0,
        lease_until=now + IN_APP_LEASE if leased else None,
        expires_at=work.expires_at,
        error=outcome.error,
        accepted_at=max(work.created_at, work.due_at, *((held.due_at,) if held else ())),
        is_held=is_held,
        next_attempt_at=verdict.window.due_at if verdict.window else verdict.until,
        unsubscribe_token=shared.links.header_token(target.contact.user_id, channel, verdict.addresses) if words else "",
    )


@dataclass(frozen=True, slots=True)
class _Outcome:
    status: Status
    reason: str = ""
    error: str = ""
    words: Rendered | None = None


def _unsent(verdict: Verdict) -> _Outcome:
    """Of what is not sent, or not yet."""
    if verdict.until is not None or verdict.window is not None:
        return _Outcome(Status.PENDING, verdict.reason)
    return _Outcome(Status.EXPIRED if verdict.reason == EXPIRED else Status.SUPPRESSED, verdict.reason)


def _rendered(shared: _Shared, target: Target, verdict: Verdict, locale: str, book: TemplateBook) -> _Outcome:
    """The words for one delivery. A template that fails, or is missing, fails this delivery alone."""
    channel = Channel(verdict.channel)
    work = shared.work
    words_of = _words_of(work, target)
    version = book.pick(work.tenant_id, channel, words_of, locale, shared.tenant.default_locale)
    if version is None:
        return _Outcome(Status.FAILED, NO_TEMPLATE, f"No template for {channel.label} and {words_of}.")
    timezone = target.contact.timezone or shared.tenant.timezone
    try:
        if version.id in shared.too_slow:
            raise shared.too_slow[version.id]
        words = render(
            version,
            data=shared.data,
            recipient=_recipient_view(target, locale, timezone),
            event=shared.event_view,
            tenant=shared.tenant_view,
            region=region_of(
                version,
                locale=target.contact.locale,
                default_locale=shared.tenant.default_locale,
                timezone=timezone,
            ),
            links=shared.links.named(version.links, target.contact.user_id, channel, verdict.addresses)
            if version.links
            else {},
        )
    except RenderError as error:
        if error.code == TOO_SLOW:
            shared.too_slow[version.id] = error
        return _Outcome(Status.FAILED, error.code, str(error))
    # In-app is sent by the message that follows this transaction; it is born under that message's lease.
    return _Outcome(Status.SENDING if channel is Channel.IN_APP else Status.PENDING, words=words)


def _recipient_view(target: Target, locale: str, timezone: str) -> dict[str, Any]:
    contact = target.contact
    return {
        "userId": contact.user_id,
        "email": contact.email,
        "phone": contact.phone,
        "locale": locale,
        "timezone": timezone,
        "attributes": msgspec.json.decode(contact.attributes) if contact.attributes else {},
    }


def _explanation(target: Target, verdict: Verdict) -> str | None:
    """Why: what the filter said, the rule that asked for this delivery, if one did, and what it has waited for."""
    explanation = dict(verdict.explanation or {})
    if target.rule:
        explanation["routedByRule"] = target.rule
    if target.held and target.held.past:
        explanation["heldFor"] = msgspec.to_builtins(target.held.past)
    return msgspec.json.encode(explanation).decode() if explanation else None
