"""What travels between the pipeline's stages: a chunk of events with the people they are for, as MessagePack.

A chunk is a copy of work that PostgreSQL holds under a lease. Losing one, or getting one twice, changes nothing but time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from notifications.options import NONE, Options
from preferences.selectors import Contact

EXPIRED = "expired"
"""The reason `filter` gives for what came too late; `route` writes it with a status of its own."""
DIGEST = "digest"
"""The reason of what is collected."""
ESCALATION = "escalation"
"""The reason of what waits for its turn, after the channels before it."""


class DigestPlan(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A tenant's `DigestSchedule`, as far as a chunk needs it."""

    id: UUID
    event_type: str
    category: str
    channel: int | None
    cadence: str
    at: str
    """A time of day, ISO 8601."""
    weekday: int
    window_s: int
    slides: bool
    longest_s: int
    template: str
    most_items: int


class LimitPlan(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A tenant's `Limit`, as far as a chunk needs it."""

    id: UUID
    name: str
    event_type: str
    category: str
    channel: int | None
    per: tuple[str, ...]
    count: int
    window_s: int
    excess: str


class TenantFacts(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A tenant, as far as its chunk needs it."""

    slug: str
    name: str
    default_locale: str
    default_channels: list[int]
    timezone: str = "UTC"
    link_secret: str = ""
    """What its links are signed with, encrypted."""
    quiet_hours: str = ""
    """For recipients who have none, as `quiet_hours.read` takes them."""
    schedules: tuple[DigestPlan, ...] = ()
    """In the order in which they are asked."""
    limits: tuple[LimitPlan, ...] = ()
    is_active: bool = True


class Work(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An event under lease, as the stages after `enrich` need it."""

    id: UUID
    tenant_id: int
    event_id: str
    event_type: str
    priority: int
    data: str
    """JSON"""
    metadata: str
    """JSON"""
    sandbox: bool
    created_at: datetime
    due_at: datetime
    expires_at: datetime | None
    next_cursor: int | None
    """Where the audience goes on after this chunk; None when this is its end."""
    plan: Any = None
    """The audience that rules decided on, to be kept on the event while more of it follows."""
    category: str = ""
    required: bool = False
    default_enabled: bool | None = None
    """None: the tenant has not declared the event's type."""
    reason: str = ""
    """Why this chunk has nobody of the event's audience; empty if it has somebody."""
    options: Options = NONE
    recipients: int = 0
    """How many of the audience are in this chunk."""


class Past(msgspec.Struct, frozen=True, gc=False):
    """One time that a delivery was held back: why, from when, and until when."""

    reason: str
    since: datetime
    until: datetime


class Held(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A delivery that was written earlier, waited, and goes on now."""

    delivery_id: UUID
    due_at: datetime
    step: int | None = None
    """Of an escalation, from 0."""
    past: tuple[Past, ...] = ()


class Target(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One recipient of one event, and the channels asked for."""

    work: int
    """Index into the chunk's `works`."""
    contact: Contact
    channels: list[int]
    rule: str = ""
    given: dict[str, Any] | None = None
    """What the event itself says of the recipient, if it says more than who that is; its keys are the client's."""
    delay_s: int = 0
    """What the rule asks for: seconds to wait, ..."""
    delivery: str = ""
    """... `immediate` or `digest` (empty: as the recipient prefers), ..."""
    template: str = ""
    """... the event type whose templates are used (empty: its own), ..."""
    priority: int | None = None
    """... a priority (None: the event's)."""
    held: Held | None = None


class Window(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The digest that a delivery joins: when it closes as of now, and the latest that further items put that off to."""

    schedule_id: UUID | None
    due_at: datetime
    closes_by: datetime
    template: str
    most_items: int


class Verdict(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What `filter` decided for one target on one channel: an empty `reason` means send.

    With a `reason` and `until`, it is held until then; with a `window`, collected; with neither, it is not sent at all.
    """

    target: int
    channel: int
    addresses: list[str]
    reason: str = ""
    explanation: dict[str, Any] | None = None
    until: datetime | None = None
    window: Window | None = None
    step: int | None = None


class Chunk(msgspec.Struct, array_like=True):
    """One claim's worth of work: events, or deliveries that were held. `verdicts` is filled by `filter`."""

    lease_id: UUID
    tenants: dict[int, TenantFacts]
    works: list[Work]
    targets: list[Target]
    verdicts: list[Verdict] = []
    is_held: bool = False
    """Whether `targets` are deliveries that were held, and the lease is on their holds."""


def pack(chunk: Chunk) -> bytes:
    return msgspec.msgpack.encode(chunk)


_decoder = msgspec.msgpack.Decoder(Chunk)


def unpack(data: bytes) -> Chunk:
    return _decoder.decode(data)
