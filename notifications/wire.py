"""What travels between the pipeline's stages: a chunk of events with the people they are for, as MessagePack.

A chunk is a copy of work that PostgreSQL holds under a lease. Losing one, or getting one twice, changes nothing but time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from preferences.selectors import Contact

EXPIRED = "expired"
"""The reason `filter` gives for what came too late; `route` writes it with a status of its own."""


class TenantFacts(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A tenant, as far as its chunk needs it."""

    slug: str
    name: str
    default_locale: str
    default_channels: list[int]
    timezone: str = "UTC"
    link_secret: str = ""
    """What its links are signed with, encrypted."""


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


class Target(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One recipient of one event, and the channels asked for."""

    work: int
    """Index into the chunk's `works`."""
    contact: Contact
    channels: list[int]
    rule: str = ""


class Verdict(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What `filter` decided for one target on one channel: an empty `reason` means send."""

    target: int
    channel: int
    addresses: list[str]
    reason: str = ""
    explanation: dict[str, Any] | None = None


class Chunk(msgspec.Struct, array_like=True):
    """One claim's worth of work. `verdicts` is filled by `filter`."""

    lease_id: UUID
    tenants: dict[int, TenantFacts]
    works: list[Work]
    targets: list[Target]
    verdicts: list[Verdict] = []


def pack(chunk: Chunk) -> bytes:
    return msgspec.msgpack.encode(chunk)


_decoder = msgspec.msgpack.Decoder(Chunk)


def unpack(data: bytes) -> Chunk:
    return _decoder.decode(data)
