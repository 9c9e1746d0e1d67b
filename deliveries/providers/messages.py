"""What goes to a provider and what comes back: values, without a vendor's word in them."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.utils.timezone import now as clock

from tenants.vocabulary import Channel, Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One rendered message, ready to hand over."""

    delivery_id: UUID
    attempt: int
    """1 for the first try."""
    channel: Channel
    tenant_id: int
    priority: Priority
    addresses: tuple[str, ...]
    """One address; for push, every token of the recipient."""
    subject: str
    body: str
    html: str
    data: Mapping[str, Any]
    event_id: str
    event_type: str
    user_id: str
    created_at: datetime
    sender: str = ""
    """The tenant's own From address or number, if it has one."""
    account_id: UUID | None = None
    """The tenant's account that is asked; None for the installation's own."""
    expires_at: datetime | None = None
    """It is not begun at this time or later."""
    unsubscribe_url: str = ""
    """E-mail: what takes its recipient off such mail at once; empty for what one cannot be taken off."""

    @property
    def address(self) -> str:
        return self.addresses[0]


class Receipt(enum.Enum):
    """What a provider knows at once about the message's arrival."""

    DELIVERED = "delivered"
    BOUNCED = "bounced"


class Failure(enum.Enum):
    PERMANENT = "permanent"
    """Will never work: bad address, rejected content. Not retried."""
    TRANSIENT = "transient"
    """May work later, or with another account: vendor trouble, no connection, credentials refused. Nothing was handed over."""
    THROTTLED = "throttled"
    """The vendor asks us to wait; `retry_after_s` says how long, if it said."""
    AMBIGUOUS = "ambiguous"
    """The connection broke after the request was written: it may have been taken. Retried, marked as such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The provider (or the sandbox) took the message."""

    message_id: str = ""
    code: str = ""
    response: str = ""
    receipt: Receipt | None = None
    detail: Mapping[str, Any] | None = None
    """Push: the outcome per token."""
    dead_addresses: tuple[str, ...] = ()
    """Push tokens that the vendor says are gone for good."""
    at: datetime | None = None
    """When it was taken, if the provider's own clock says: in-app, whose items are ordered by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    failure: Failure
    code: str
    message: str
    retry_after_s: float | None = None
    response: str = ""
    detail: Mapping[str, Any] | None = None
    dead_addresses: tuple[str, ...] = ()
    about_address: bool = False
    """The vendor is well and speaks of this one address (a full mailbox): no reason to leave the account alone."""
    is_begun: bool = True
    """Whether the vendor was asked at all. If not, it is no attempt, and the delivery is not charged with one."""


Outcome = Sent | Failed


class Answer(NamedTuple):
    """What became of one of several messages, and when."""

    place: int
    """Which message."""
    outcome: Outcome
    started_at: datetime
    duration_ms: int


Refusal = Callable[[], Failed | None]
"""Asked before each message: why it may not be begun any more; None if it may."""


def never() -> None:
    """The refusal of whoever has time."""


AUTH = "auth"
"""Code: the vendor refused the account's credentials. Transient, since the message itself is good."""
PROVIDER_FAULT = "provider_fault"
"""Code: an exception of ours."""


class Word(enum.Enum):
    """What an outcome says of the vendor's health."""

    WELL = "well"
    FAILING = "failing"
    BUSY = "busy"
    NOTHING = "nothing"


def word_on_vendor(outcome: Outcome) -> Word:
    """A message refused for its own sake shows the vendor at work; a fault of our code, or no call at all, shows nothing."""
    if isinstance(outcome, Sent) or outcome.about_address or outcome.failure is Failure.PERMANENT:
        return Word.WELL
    if not outcome.is_begun or outcome.code == PROVIDER_FAULT:
        return Word.NOTHING
    return Word.BUSY if outcome.failure is Failure.THROTTLED else Word.FAILING


HOPELESS = Failed(
    failure=Failure.TRANSIENT,
    code="provider_failing",
    message="The provider failed with every message before this one, which was not begun.",
    is_begun=False,
)
EXPIRED = Failed(
    failure=Failure.TRANSIENT,
    code="expired",
    message="Its time ran out behind the messages before it.",
    is_begun=False,
)


def has_expired(message: Message) -> bool:
    """Asked when it is to be begun: behind a slow provider that may be seconds after it was taken in hand."""
    return message.expires_at is not None and message.expires_at <= clock()
