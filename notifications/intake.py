"""What a client may post, and what it comes to: bodies decoded by msgspec structs, each fault named with its field."""

from __future__ import annotations

import hashlib
import re
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from uuid_utils.compat import uuid7

from notifications.options import LONGEST_DELAY_S, Options, Step, written_options
from tenants.http.parsers import NUL_ESCAPE
from tenants.http.problems import FieldError
from tenants.http.structs import StructError, decode_struct
from tenants.vocabulary import Channel, Priority

MAX_BULK = 1000
MAX_INLINE_RECIPIENTS = 1000
FARTHEST_SCHEDULE = timedelta(days=366)

EventTypeName = Annotated[
    str,
    Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:\-]*$", description="A dotted name: order.shipped"),
]
EventId = Annotated[str, Meta(min_length=1, max_length=255, description="The idempotency key; made up if absent.")]
UserId = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
ChannelName = Literal["email", "sms", "push", "in_app", "chat", "webhook"]
PriorityName = Literal["low", "normal", "high", "urgent"]
ScheduledAt = Annotated[
    datetime,
    Meta(
        tz=True,
        description="Not processed before this time, given with its offset, a year ahead at most; at once if absent. "
        "Until then the event may be canceled.",
    ),
]
ExpiresAt = Annotated[
    datetime,
    Meta(
        tz=True,
        description="What no worker has in hand by this time, given with its offset, is not sent but `expired`; asked when "
        "deliveries are written and before each round of attempts. After `scheduledAt`, if there is one.",
    ),
]


class InlineRecipient(Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """A recipient described in the event itself; or, with `topic`, everyone subscribed to it."""

    user_id: UserId | None = None
    email: Annotated[str, Meta(max_length=254, pattern=r"^[^@\s<>,;]+@[^@\s<>,;]+$")] | None = None
    phone: Annotated[str, Meta(pattern=r"^\+[1-9][0-9]{6,14}$", description="E.164")] | None = None
    push_tokens: (
        Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=4096, pattern=r"^[\x21-\x7e]+$")]],
            Meta(min_length=1, max_length=20),
        ]
        | None
    ) = None
    telegram_chat_id: (
        Annotated[str, Meta(max_length=64, pattern=r"^(-?[0-9]{1,20}|@[A-Za-z][A-Za-z0-9_]{3,62}|simulator-[a-z]+)$")] | None
    ) = None
    webhook_url: Annotated[str, Meta(max_length=2000, pattern=r"^https?://[^\s/?#]+\S*$")] | None = None
    locale: Annotated[str, Meta(max_length=35, pattern=r"^[A-Za-z]{2,8}([_-][A-Za-z0-9]{1,8})*$")] | None = None
    timezone: Annotated[str, Meta(max_length=64)] | None = None
    topic: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class EscalationStep(Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """One channel of several that are tried in order."""

    channel: ChannelName
    after_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=LONGEST_DELAY_S,
            description="How long after the step before it, the first after the event; at most 7 days.",
        ),
    ] = 0


class EventIn(Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """One event as posted."""

    event_type: EventTypeName
    event_id: EventId | None = None
    user_id: UserId | None = None
    to: InlineRecipient | Annotated[list[InlineRecipient], Meta(min_length=1, max_length=MAX_INLINE_RECIPIENTS)] | None = None
    channels: Annotated[list[ChannelName], Meta(min_length=1, max_length=6)] | None = None
    priority: PriorityName | None = None
    data: dict[str, Any] | None = None
    scheduled_at: ScheduledAt | None = None
    expires_at: ExpiresAt | None = None
    metadata: dict[str, Any] | None = None
    digest_key: (
        Annotated[str, Meta(min_length=1, max_length=200, description="Sets digests of one recipient apart.")] | None
    ) = None
    escalation: (
        Annotated[
            list[EscalationStep],
            Meta(
                min_length=2,
                max_length=6,
                description="In place of `channels`: the first at once, each further one unless by then the recipient has read "
                "the message in the inbox, or a provider has reported it delivered.",
            ),
        ]
        | None
    ) = None


class Envelope(Struct, forbid_unknown_fields=True):
    """The short form; the tenant's rules decide who gets it."""

    event_type: EventTypeName
    event_id: EventId
    payload: dict[str, Any] | UnsetType = UNSET


class BulkIn(Struct, forbid_unknown_fields=True):
    """Up to a thousand events."""

    events: Annotated[list[Any], Meta(min_length=1, max_length=MAX_BULK)]


class _RawBulk(Struct, forbid_unknown_fields=True):
    """`BulkIn` with its events left undecoded: each is decoded by itself, so that a bad one does not stop the good."""

    events: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_BULK)]


class NewEvent(Struct, frozen=True):
    """A checked event, ready to store: the columns of its row that the client decides."""

    id: UUID
    event_id: str
    event_type: str
    user_id: str
    to: str | None
    """JSON"""
    channels: str | None
    """A PostgreSQL smallint[] literal"""
    priority: int | None
    data: str
    metadata: str
    scheduled_at: datetime | None
    expires_at: datetime | None
    options: str | None
    """JSON of `Options`"""
    content_hash: bytes


_OUR_OWN = re.compile(r"(?:digest|heartbeat)-[0-9a-f]{8}-[0-9a-f]{4}-")
"""Events that the service raises itself: nobody else may take their place."""
_encoder = msgspec.json.Encoder(order="sorted")
_PRIORITIES = {priority.label: priority.value for priority in Priority}
_CHANNELS = {str(channel.label): channel.value for channel in Channel}


def read_event(body: bytes | msgspec.Raw, *, now: datetime, is_our_own: bool = False) -> NewEvent:
    """Decode and check one event, in either form; raises StructError naming every faulty field.

    `is_our_own`: the service raises it itself, under an id that no client may take.
    """
    event = _decode(body)
    errors = list(_faults(event, now))
    if event.event_id is not None and not is_our_own and _OUR_OWN.match(event.event_id):
        errors.append(FieldError("eventId", "reserved", "Ids that begin so are those of digests and heartbeats."))
    if errors:
        raise StructError(errors)
    return _prepare(event)


def read_bulk(body: bytes) -> list[msgspec.Raw]:
    """The events of a bulk body, for `read_event`; raises StructError if it is not such a body at all."""
    try:
        return _bulk_decoder.decode(body).events
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decode_struct(BulkIn, body)  # says what is wrong, field by field
        raise


def _decode(body: bytes | msgspec.Raw) -> EventIn:
    if NUL_ESCAPE in bytes(body):
        return _decode_slowly(bytes(body))
    try:
        return _event_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_slowly(bytes(body))


def _decode_slowly(body: bytes) -> EventIn:
    """The other form, or else every fault of this one."""
    if b'"event_type"' in body:
        envelope = decode_struct(Envelope, body)
        payload = {} if envelope.payload is UNSET else envelope.payload
        return EventIn(event_type=envelope.event_type, event_id=envelope.event_id, data=payload)
    return decode_struct(EventIn, body)


_bulk_decoder = msgspec.json.Decoder(_RawBulk)
_event_decoder = msgspec.json.Decoder(EventIn)


def _faults(event: EventIn, now: datetime) -> list[FieldError]:
    """What a schema cannot say."""
    faults: list[FieldError] = []
    if event.user_id is not None and event.to is not None:
        faults.append(FieldError("to", "contradiction", "Give userId or to, not both."))
    if event.to is not None:
        faults += _recipient_faults(event.to)
    if event.channels is not None and len(set(event.channels)) < len(event.channels):
        faults.append(FieldError("channels", "repeated", "A channel is named twice."))
    if event.escalation is not None:
        faults += _escalation_faults(event, event.escalation)
    faults += _time_faults(scheduledAt=event.scheduled_at, expiresAt=event.expires_at)
    if event.scheduled_at is not None and event.scheduled_at > now + FARTHEST_SCHEDULE:
        faults.append(FieldError("scheduledAt", "too_far", "An event can be scheduled at most a year ahead."))
    if event.scheduled_at is not None and event.expires_at is not None and event.expires_at <= event.scheduled_at:
        faults.append(FieldError("expiresAt", "contradiction", "The event would expire before it is due."))
    return faults


def _escalation_faults(event: EventIn, steps: list[EscalationStep]) -> Iterator[FieldError]:
    if event.channels is not None:
        yield FieldError("escalation", "contradiction", "Give channels or escalation, not both.")
    seen: set[str] = set()
    for index, step in enumerate(steps):
        if step.channel in seen:
            yield FieldError(f"escalation[{index}].channel", "cyclic", "The escalation comes back to a channel it has been to.")
        seen.add(step.channel)
    if sum(step.after_seconds for step in steps) > LONGEST_DELAY_S:
        yield FieldError("escalation", "too_long", "All steps together take at most 7 days.")
    if isinstance(event.to, list) and any(recipient.user_id is None for recipient in event.to):
        yield FieldError("to", "required", "To escalate to several recipients, each must have a userId.")


def _time_faults(**times: datetime | None) -> Iterator[FieldError]:
    """Times that leave the calendar when they are turned into UTC."""
    for name, time in times.items():
        if time is not None and not 1 < time.year < 9999:
            yield FieldError(name, "datetime", "This time is out of range.")


def _recipient_faults(to: InlineRecipient | list[InlineRecipient]) -> list[FieldError]:
    faults: list[FieldError] = []
    listed = isinstance(to, list)
    for index, recipient in enumerate(to if isinstance(to, list) else [to]):
        path = f"to[{index}]" if listed else "to"
        named = [field for field in recipient.__struct_fields__ if getattr(recipient, field) is not None]
        if recipient.topic is not None and (listed or len(named) > 1):
            faults.append(FieldError(f"{path}.topic", "contradiction", "A topic stands alone."))
        elif not set(named) - {"locale", "timezone"}:
            faults.append(FieldError(path, "required", "Give a userId, an address or a topic."))
        if recipient.timezone is not None and recipient.timezone not in _timezones():
            faults.append(FieldError(f"{path}.timezone", "timezone", f"{recipient.timezone!r} is not an IANA time zone."))
    return faults


def _timezones() -> set[str]:
    if not _known_timezones:
        _known_timezones.update(zoneinfo.available_timezones())
    return _known_timezones


_known_timezones: set[str] = set()


def _prepare(event: EventIn) -> NewEvent:
    event_id, event.event_id = event.event_id, None  # the hash is of the content, whatever it is called
    if event.scheduled_at is not None:
        event.scheduled_at = event.scheduled_at.astimezone(UTC)
    if event.expires_at is not None:
        event.expires_at = event.expires_at.astimezone(UTC)
    new_id = uuid7()
    return NewEvent(
        id=new_id,
        event_id=event_id or str(new_id),
        event_type=event.event_type,
        user_id=event.user_id or "",
        to=None if event.to is None else msgspec.json.encode(event.to).decode(),
        channels=_channels(event),
        priority=None if event.priority is None else _PRIORITIES[event.priority],
        data=_json(event.data),
        metadata=_json(event.metadata),
        scheduled_at=event.scheduled_at,
        expires_at=event.expires_at,
        options=_options(event),
        content_hash=hashlib.blake2b(_encoder.encode(event), digest_size=16).digest(),
    )


def _channels(event: EventIn) -> str | None:
    names = event.channels if event.escalation is None else [step.channel for step in event.escalation]
    return None if names is None else "{" + ",".join(str(_CHANNELS[name]) for name in names) + "}"


def _options(event: EventIn) -> str | None:
    if event.digest_key is None and event.escalation is None:
        return None
    steps, after_s = [], 0
    for step in event.escalation or ():
        after_s += step.after_seconds
        steps.append(Step(_CHANNELS[step.channel], after_s))
    return written_options(Options(digest_key=event.digest_key or "", escalation=tuple(steps)))


def _json(value: dict[str, Any] | None) -> str:
    return msgspec.json.encode(value).decode() if value else "{}"
