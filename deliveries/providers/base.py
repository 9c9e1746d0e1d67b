"""What a provider is: it takes messages of one channel and says, for each, what became of it.

The base orchestrates (many at a time, no simulator address to a real vendor, no exception and no secret gets out); a
provider's own file holds the vendor's facts only: how to connect, what to post, and what the vendor's answers mean. Vendor
words become ours here, at the edge.
"""

from __future__ import annotations

import contextlib
import enum
import math
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import quote
from uuid import UUID

import structlog

from deliveries.providers.credentials import Field, ProviderConfigError, read_credentials, secret_values
from deliveries.providers.simulator import is_simulator
from tenants.vocabulary import Channel, Priority

__all__ = [
    "AUTH",
    "HOPELESS",
    "LONGEST_EXCERPT",
    "TOO_LATE",
    "Failed",
    "Failure",
    "Field",
    "Message",
    "Outcome",
    "Provider",
    "ProviderConfigError",
    "Receipt",
    "Sent",
    "Word",
    "word_on_vendor",
]

logger = structlog.get_logger(__name__)

LONGEST_EXCERPT = 1000
"""Characters kept of a provider's answer or an error's text."""
_HIDDEN = "[hidden]"

ItemT = TypeVar("ItemT")


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

AUTH = "auth"
"""Code: the vendor refused the account's credentials. Transient, since the message itself is good."""
PROVIDER_FAULT = "provider_fault"
"""Code: an exception of ours."""


class Provider(ABC):
    """A configured account with a vendor.

    An instance is kept between chunks, so that connections are reused, and serves several threads at once: `send` must be
    safe to call from many. It is closed when its account changed or the process ends.
    """

    name: ClassVar[str]
    channel: ClassVar[Channel]
    concurrency: ClassVar[int] = 32
    """How many messages of a chunk are under way at once."""
    chunk_limit_s: ClassVar[float] = 45
    """After this long no further message of a chunk is begun, so that a slow vendor does not outlast the senders' lease."""
    hopeless_after: ClassVar[int | None] = 8
    """After so many failures of the vendor's and nothing taken, no further message of a chunk is begun. None: messages go to
    servers of their own, and one says nothing about the other."""
    is_sandbox: ClassVar[bool] = False
    fields: ClassVar[tuple[Field, ...]] = ()
    """What the account's credentials consist of; they are the keyword arguments of the constructor."""
    receipt_key: ClassVar[str] = ""
    """The one of `fields` by which the vendor's receipts are verified. Empty: it sends none, or needs no key of its own."""

    _secrets: tuple[str, ...] = ()

    @classmethod
    def from_credentials(cls, credentials: Mapping[str, Any]) -> Self:
        """A provider for this account; raises ProviderConfigError naming the field. Opens no connection."""
        values = read_credentials(cls.fields, credentials)
        provider = cls(**values)
        provider._secrets = secret_values(cls.fields, values)
        return provider

    def send_all(self, messages: Sequence[Message], *, begin_until: float = math.inf) -> list[Outcome]:
        """One outcome per message, in order. Never raises: a fault of the provider's code is a transient failure.

        Later than `begin_until` (`time.monotonic`) no message is begun.
        """
        outcomes: dict[int, Outcome] = {}
        real: dict[int, Message] = {}
        for index, message in enumerate(messages):
            allowed = message if self.is_sandbox else _without_simulator(message)
            if allowed is None:
                outcomes[index] = _SIMULATOR_REFUSED
            else:
                real[index] = allowed
        outcomes |= zip(real, map(self._without_secrets, self._hand_over_safely(list(real.values()), begin_until)), strict=True)
        return [outcomes[index] for index in range(len(messages))]

    def hand_over(self, messages: Sequence[Message], begin_until: float) -> list[Outcome]:
        """`send` each, several at a time. For vendors that take many in one call, or want another order of work: override."""
        return self.side_by_side(self._send_safely, messages, begin_until)

    def side_by_side(self, work: Callable[[ItemT], Outcome], items: Sequence[ItemT], begin_until: float) -> list[Outcome]:
        """`work` on each item, `concurrency` at a time, results in order; TOO_LATE or HOPELESS for those not begun."""
        if len(items) == 1:
            return [work(items[0])]
        deadline = min(time.monotonic() + self.chunk_limit_s, begin_until)
        streak = _Streak(self.hopeless_after)

        def one(item: ItemT) -> Outcome:
            if time.monotonic() > deadline:
                return TOO_LATE
            return HOPELESS if streak.is_hopeless else streak.noted(work(item))

        with ThreadPoolExecutor(min(self.concurrency, len(items)), thread_name_prefix=self.name) as pool:
            return list(pool.map(one, items))

    @abstractmethod
    def send(self, message: Message) -> Outcome:
        """Hand over one message. May raise; must end within the provider's time limit."""

    def close(self) -> None:  # noqa: B027 - most vendors' clients have nothing to give back
        """Give back connections. May be called twice, and on an instance whose constructor failed."""

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def _hand_over_safely(self, messages: Sequence[Message], begin_until: float) -> list[Outcome]:
        if not messages:
            return []
        try:
            return self.hand_over(messages, begin_until)
        except Exception as error:  # noqa: BLE001 - the contract: never raises
            return [self._fault(error, message) for message in messages]

    def _send_safely(self, message: Message) -> Outcome:
        try:
            return self.send(message)
        except Exception as error:  # noqa: BLE001 - the contract: never raises
            return self._fault(error, message)

    def _fault(self, error: Exception, message: Message) -> Failed:
        trace = self._scrub("".join(traceback.format_exception(error)))
        logger.error("provider_fault", provider=self.name, delivery_id=str(message.delivery_id), exception=trace)
        return Failed(failure=Failure.TRANSIENT, code=PROVIDER_FAULT, message=f"{type(error).__name__}: {error}")

    def _without_secrets(self, outcome: Outcome) -> Outcome:
        """Vendors and libraries put tokens into their error texts, e.g. as part of a URL; ours are stored and shown."""
        response = self._scrub(outcome.response)[:LONGEST_EXCERPT]
        if isinstance(outcome, Sent):
            return outcome if response == outcome.response else replace(outcome, response=response)
        return replace(outcome, response=response, message=self._scrub(outcome.message)[:LONGEST_EXCERPT])

    def _scrub(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN).replace(quote(secret, safe=""), _HIDDEN)
        return text


@dataclass(slots=True)
class _Streak:
    """How a chunk goes so far. Counted by several threads without a lock: one more or less does not matter."""

    hopeless_after: int | None
    failed: int = 0
    answered: bool = False

    @property
    def is_hopeless(self) -> bool:
        return self.hopeless_after is not None and not self.answered and self.failed >= self.hopeless_after

    def noted(self, outcome: Outcome) -> Outcome:
        word = word_on_vendor(outcome)
        if word is Word.FAILING:
            self.failed += 1
        elif word is Word.WELL:
            self.answered = True
        return outcome


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


TOO_LATE: Outcome = Failed(
    failure=Failure.TRANSIENT,
    code="chunk_limit",
    message="The provider was too slow with the messages before this one, which was not begun.",
    is_begun=False,
)
HOPELESS: Outcome = Failed(
    failure=Failure.TRANSIENT,
    code="provider_failing",
    message="The provider failed with every message before this one, which was not begun.",
    is_begun=False,
)
_SIMULATOR_REFUSED = Failed(
    failure=Failure.PERMANENT,
    code="simulator_address",
    message="Simulator addresses work in the sandbox only; nothing was sent.",
)


def _without_simulator(message: Message) -> Message | None:
    """The message without its simulator addresses; None if it has no other."""
    real = tuple(address for address in message.addresses if not is_simulator(message.channel, address))
    if len(real) == len(message.addresses):
        return message
    return replace(message, addresses=real) if real else None
