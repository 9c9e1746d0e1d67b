"""What travels over the websocket, as text: one JSON object a frame (see docs/inbox.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

LONGEST_COMMAND = 4096
"""Characters of a client's frame; all it ever says is an id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxFrame:
    """One item on its way into the inbox of `user_id`."""

    tenant_id: int
    user_id: str
    delivery_id: UUID
    event_type: str
    title: str
    body: str
    data: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Of the items that are not archived. Each is exact up to `selectors.HIGHEST_COUNT`, which stands for that many or more."""

    unread: int
    unseen: int
    total: int


class _Frame(msgspec.Struct, tag_field="type", rename="camel", frozen=True, gc=False):
    pass


class Notification(_Frame, tag="notification", frozen=True):
    id: UUID
    event_type: str
    title: str
    body: str
    data: Mapping[str, Any]
    created_at: datetime


class Ready(_Frame, tag="ready", frozen=True):
    counts: Counts


class CountsChanged(_Frame, tag="counts", frozen=True):
    unread: int
    unseen: int
    total: int


class Problem(_Frame, tag="error", frozen=True):
    code: str
    message: str


class Pong(_Frame, tag="pong", frozen=True):
    pass


class Subscribe(_Frame, tag="subscribe", frozen=True):
    since: UUID | None = None
    """The last id this client was sent, on whichever connection."""


class MarkRead(_Frame, tag="markRead", frozen=True):
    delivery_id: UUID


class MarkAllRead(_Frame, tag="markAllRead", frozen=True):
    pass


class Ping(_Frame, tag="ping", frozen=True):
    pass


Command = Subscribe | MarkRead | MarkAllRead | Ping
CloseCode = Literal[1008, 1011, 1013, 4401]

_encoder = msgspec.json.Encoder(enc_hook=str)
_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)


def encode(frame: _Frame) -> str:
    return _encoder.encode(frame).decode()


def notification_text(frame: InboxFrame) -> str:
    """The frame a browser gets, made once by the publisher and passed on untouched by every socket."""
    return encode(
        Notification(
            id=frame.delivery_id,
            event_type=frame.event_type,
            title=frame.title,
            body=frame.body,
            data=frame.data,
            created_at=frame.created_at,
        )
    )


def read_command(text: str | None) -> Command | Problem:
    """What the client asks for, or what is wrong with its frame."""
    if text is None:
        return Problem("malformed", "Frames are text, not binary.")
    if len(text) > LONGEST_COMMAND:
        return Problem("too_large", f"A frame has at most {LONGEST_COMMAND} characters.")
    try:
        return _commands.decode(text)
    except msgspec.ValidationError as error:
        return Problem("invalid", f"{error}.")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Problem("malformed", "The frame is not valid JSON.")


def group_of(tenant_id: int, user_id: str) -> str:
    """The channel-layer group of one inbox. Hashed: user ids hold any characters, group names few and at most a hundred."""
    return "inbox." + hashlib.blake2b(f"{tenant_id}:{user_id}".encode(), digest_size=20).hexdigest()
