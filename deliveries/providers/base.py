"""What a provider is: it takes messages of one channel and says, for each, what became of it.

The base orchestrates (many at a time, no simulator address to a real vendor, no exception and no secret gets out); a
provider's own file holds the vendor's facts only: how to connect, what to post, and what the vendor's answers mean. Vendor
words become ours here, at the edge.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import quote

import structlog
from django.utils.timezone import now as clock

from deliveries.providers.credentials import Field, read_credentials, secret_values
from deliveries.providers.excerpts import LONGEST_CODE, LONGEST_MESSAGE_ID, fit
from deliveries.providers.messages import (
    EXPIRED,
    HOPELESS,
    PROVIDER_FAULT,
    Answer,
    Failed,
    Failure,
    Message,
    Outcome,
    Refusal,
    Sent,
    Word,
    has_expired,
    never,
    word_on_vendor,
)
from deliveries.providers.simulator import is_simulator
from deliveries.providers.streak import Streak
from tenants.vocabulary import Channel

logger = structlog.get_logger(__name__)

_HIDDEN = "[hidden]"

ItemT = TypeVar("ItemT")


class Provider(ABC):
    """A configured account with a vendor.

    An instance is kept between chunks, so that connections are reused, and serves several threads at once: `send` must be
    safe to call from many. It is closed when its account changed or the process ends.
    """

    name: ClassVar[str]
    channel: ClassVar[Channel]
    concurrency: ClassVar[int] = 32
    """How many messages of a chunk are under way at once."""
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

    def send_all(self, messages: Sequence[Message], *, refusal: Refusal = never) -> Iterator[Answer]:
        """An answer for each message, as soon as there is one.

        Never raises: a fault of the provider's code is a transient failure.
        """
        real: list[Message] = []
        places: list[int] = []
        for index, message in enumerate(messages):
            allowed = message if self.is_sandbox else _without_simulator(message)
            if allowed is None:
                yield Answer(index, _SIMULATOR_REFUSED, clock(), 0)
            else:
                real.append(allowed)
                places.append(index)
        for answer in self._hand_over_safely(real, refusal):
            yield answer._replace(place=places[answer.place], outcome=self._fit(answer.outcome))

    def hand_over(self, messages: Sequence[Message], refusal: Refusal) -> Iterator[Answer]:
        """`send` each, several at a time. For vendors that take many in one call, or want another order of work: override."""
        return self.side_by_side(self._send_safely, messages, refusal)

    def side_by_side(self, work: Callable[[ItemT], Outcome], items: Sequence[ItemT], refusal: Refusal) -> Iterator[Answer]:
        """`work` on each item, `concurrency` at a time; what may not be begun, or has no hope, is answered without."""
        streak = Streak(self.hopeless_after)

        def one(index: int) -> Answer:
            streak.wait_for_those_under_way()
            refused = refusal() or (HOPELESS if streak.is_hopeless else None)
            if refused is not None:
                return Answer(index, refused, clock(), 0)
            started_at, started = clock(), time.perf_counter()
            with streak.under_way():
                outcome = work(items[index])
                word = word_on_vendor(outcome)
                streak.note(failed=word is Word.FAILING, answered=word is Word.WELL)
            return Answer(index, outcome, started_at, round((time.perf_counter() - started) * 1000))

        if len(items) == 1:
            yield one(0)
            return
        pool = ThreadPoolExecutor(min(self.concurrency, len(items)), thread_name_prefix=self.name)
        try:
            for future in as_completed([pool.submit(one, index) for index in range(len(items))]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)  # nobody listens any more: what is not begun must not go out

    @abstractmethod
    def send(self, message: Message) -> Outcome:
        """Hand over one message. May raise; must end within the provider's time limit."""

    def close(self) -> None:  # noqa: B027 - most vendors' clients have nothing to give back
        """Give back connections. May be called twice, and on an instance whose constructor failed."""

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def _hand_over_safely(self, messages: Sequence[Message], refusal: Refusal) -> Iterator[Answer]:
        if not messages:
            return
        left = set(range(len(messages)))
        try:
            for answer in self.hand_over(messages, refusal):
                left.discard(answer.place)
                yield answer
        except Exception as error:  # noqa: BLE001 - the contract: never raises
            for index in left:
                yield Answer(index, self._fault(error, messages[index]), clock(), 0)

    def _send_safely(self, message: Message) -> Outcome:
        if has_expired(message):
            return EXPIRED
        try:
            return self.send(message)
        except Exception as error:  # noqa: BLE001 - the contract: never raises
            return self._fault(error, message)

    def _fault(self, error: Exception, message: Message) -> Failed:
        trace = self._scrub("".join(traceback.format_exception(error)))
        logger.error("provider_fault", provider=self.name, delivery_id=str(message.delivery_id), exception=trace)
        return Failed(failure=Failure.TRANSIENT, code=PROVIDER_FAULT, message=f"{type(error).__name__}: {error}")

    def _fit(self, outcome: Outcome) -> Outcome:
        """What is kept and shown of it. Vendors and libraries put secrets into their error texts, e.g. as part of a URL."""
        values = {
            "code": fit(outcome.code, self._scrub, LONGEST_CODE),
            "response": fit(outcome.response, self._scrub),
            "detail": fit(outcome.detail, self._scrub),
        }
        if isinstance(outcome, Sent):
            return replace(outcome, **values, message_id=fit(outcome.message_id, self._scrub, LONGEST_MESSAGE_ID))
        return replace(outcome, **values, message=fit(outcome.message, self._scrub))

    def _scrub(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN).replace(quote(secret, safe=""), _HIDDEN)
        return text


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
