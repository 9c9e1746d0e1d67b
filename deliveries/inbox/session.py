"""One open socket: what the client asks for, what it is sent, in one task, so that a slow client holds up itself alone."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

import structlog
from django.db import Error as DatabaseError

from deliveries.inbox import feed as steps
from deliveries.inbox import publisher, selectors, services
from deliveries.inbox.feed import Feed, Frame
from deliveries.inbox.frames import (
    Command,
    CountsChanged,
    InboxFrame,
    MarkAllRead,
    MarkRead,
    Ping,
    Pong,
    Problem,
    Ready,
    Subscribe,
    encode,
    group_of,
    notification_text,
)
from deliveries.inbox.publisher import InboxUnavailableError
from deliveries.inbox.rates import Rate
from deliveries.inbox.selectors import Inbox
from deliveries.inbox.tally import tally
from deliveries.inbox.threads import in_thread
from deliveries.models import Delivery

logger = structlog.get_logger(__name__)

HOLD_S: Final = 1.0
"""How long a new client has for its `subscribe` before live items are sent: missed ones are to come first."""
MARK_TIMEOUT_S: Final = 5.0
RECORD_TIMEOUT_S: Final = 3.0
COUNTS_AFTER_S: Final = 0.1
"""Counts follow a change after this, one frame for however many changes."""
FRAMES_PER_S: Final = 20
MOST_COMMANDS: Final = 40
"""A client may send so many frames at once, and `FRAMES_PER_S` for long."""
_LONGEST_PAUSE_S: Final = 30.0
_COUNTS_AGAIN_S: Final = 2.0
_RECENT: Final = 100


class Session:
    """Runs until it is cancelled or `send` raises. `heard`, `counts_changed` and the like are called from the socket's handlers
    and never wait.
    """

    def __init__(self, inbox: Inbox, send: Callable[[str], Awaitable[None]]) -> None:
        self.inbox = inbox
        self._send_text = send
        self._feed = Feed()
        self._commands: deque[Command | Problem] = deque()
        self._rate = Rate(per_second=FRAMES_PER_S, burst=MOST_COMMANDS)
        self._wake = asyncio.Event()
        self._mark_token = ""
        self._mark_heard = asyncio.Event()
        self._counts_at: float | None = None
        self._release_at = 0.0
        self._retry_at = 0.0
        self._failures = 0

    def heard(self, item_id: str, text: str) -> None:
        """A notification was published to this inbox."""
        self._feed.hear(Frame(UUID(item_id), text))
        self._wake.set()

    def mark_heard(self, token: str) -> None:
        if token == self._mark_token:
            self._feed.hear_mark()
            self._mark_heard.set()

    def counts_changed(self) -> None:
        if self._counts_at is None:
            self._counts_at = _now() + COUNTS_AFTER_S
        self._wake.set()

    def link_renewed(self) -> None:
        self._feed.lose()
        self._wake.set()

    def told(self, command: Command | Problem) -> bool:
        """The client sent a frame; False: it will not stop sending too many, and should be disconnected."""
        now = _now()
        if len(self._commands) < MOST_COMMANDS and self._rate.allows(now):
            self._commands.append(command)
        elif self._rate.refuse(now):
            self._commands.append(Problem("rate_limited", f"At most {FRAMES_PER_S} frames a second; some were not read."))
        self._wake.set()
        return not self._rate.hopeless

    async def run(self) -> None:
        """Raises what `_open` does, and whatever `send` raises when the client is gone."""
        await self._open()
        while True:
            self._wake.clear()
            await self._obey()
            if not (await self._go_on() or await self._send_counts()):
                await self._sleep()

    async def _open(self) -> None:
        """`ready`: from this frame on nothing is missed. Raises django.db.Error, InboxUnavailableError, TimeoutError."""
        await self._set_mark()
        counts = await tally().ask(self.inbox)
        self._release_at = _now() + HOLD_S
        await self._send(Ready(counts))

    async def _obey(self) -> None:
        while self._commands:
            try:
                reply = await self._answer(self._commands.popleft())
            except DatabaseError:
                reply = Problem("unavailable", "The inbox cannot be reached at the moment. Try again.")
            if reply:
                await self._send(reply)

    async def _answer(self, command: Command | Problem) -> Pong | Problem | None:
        match command:
            case Problem():
                return command
            case Ping():
                return Pong()
            case Subscribe(since=since):
                valid = since is None or since.version == 7
                self._feed.resume(since if valid else None)
                return None if valid else Problem("invalid", "`since` is not the id of a notification.")
            case MarkRead(delivery_id=item_id):
                if not await in_thread(_mark_read, self.inbox, item_id):
                    return Problem("not_found", f"There is no item {item_id} in this inbox.")
            case MarkAllRead():
                await in_thread(_mark_all_read, self.inbox, self._feed.last_sent(_RECENT))
        self.counts_changed()
        return None

    async def _go_on(self) -> bool:
        """Take the feed one step on; False: there is nothing to do at the moment."""
        if _now() < self._retry_at:
            return False
        if _now() >= self._release_at:
            self._feed.release()
        step = self._feed.step()
        if step is None:
            return False
        try:
            await self._carry_out(step)
        except (DatabaseError, InboxUnavailableError, TimeoutError) as error:
            self._failures += 1
            pause = min(2.0**self._failures, _LONGEST_PAUSE_S) * random.uniform(0.5, 1)  # noqa: S311 - spreads retries
            self._retry_at = _now() + pause
            logger.warning("inbox_catch_up_delayed", error=str(error), pause_s=round(pause, 1))
            return False
        self._failures = 0
        return True

    async def _carry_out(self, step: steps.Step) -> None:
        match step:
            case steps.Send(frames=frames):
                for frame in frames:
                    await self._send_text(frame.text)
                self.counts_changed()
            case steps.SetMark():
                await self._set_mark()
            case steps.FindUnderWay():
                self._feed.under_way(await in_thread(selectors.being_published, self.inbox))
            case steps.AwaitRecords(ids=ids):
                await _await_records(self.inbox, ids)
                self._feed.recorded()
            case steps.ReadPage(after=after, until=until):
                items = await in_thread(selectors.page_after, self.inbox, after, until, steps.PAGE)
                self._feed.page([(_position(item), _frame(item)) for item in items])

    async def _set_mark(self) -> None:
        self._mark_token = secrets.token_hex(8)
        self._mark_heard.clear()
        moment = await in_thread(publisher.publish_mark, group_of(self.inbox.tenant_id, self.inbox.user_id), self._mark_token)
        async with asyncio.timeout(MARK_TIMEOUT_S):
            await self._mark_heard.wait()
        self._feed.marked(moment)

    async def _send_counts(self) -> bool:
        if self._counts_at is None or _now() < self._counts_at:
            return False
        self._counts_at = None
        try:
            counts = await tally().ask(self.inbox, self._feed.last_sent(_RECENT))
        except DatabaseError:
            self._counts_at = _now() + _COUNTS_AGAIN_S
            return False
        await self._send(CountsChanged(unread=counts.unread, unseen=counts.unseen, total=counts.total))
        return True

    async def _send(self, frame: Ready | CountsChanged | Pong | Problem) -> None:
        await self._send_text(encode(frame))

    async def _sleep(self) -> None:
        """Until something happens or falls due."""
        now = _now()
        due = [moment for moment in (self._counts_at, self._release_at, self._retry_at) if moment is not None and moment > now]
        # Not `wait_for`, which in Python 3.11 loses a cancellation that comes together with the event.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(due) - now if due else None):
                await self._wake.wait()


def _mark_read(inbox: Inbox, item_id: UUID) -> bool:
    found = services.mark_item(inbox=inbox, item_id=item_id, read=True)
    if found:
        publisher.announce_change(tenant_id=inbox.tenant_id, user_id=inbox.user_id)
    return found


def _mark_all_read(inbox: Inbox, received: Sequence[UUID]) -> None:
    services.mark_all_read(inbox=inbox, received=received)
    publisher.announce_change(tenant_id=inbox.tenant_id, user_id=inbox.user_id)


async def _await_records(inbox: Inbox, ids: frozenset[UUID]) -> None:
    deadline, pause = _now() + RECORD_TIMEOUT_S, 0.02
    while ids and _now() < deadline:
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.5)
        ids = await in_thread(selectors.still_being_published, inbox, ids)


def _position(item: Delivery) -> selectors.Position:
    assert item.sent_at is not None  # it was found by it
    return selectors.Position(item.sent_at, item.id)


def _frame(item: Delivery) -> Frame:
    frame = InboxFrame(
        tenant_id=item.tenant_id,
        user_id=item.user_id,
        delivery_id=item.id,
        event_type=item.event_type,
        title=item.subject,
        body=item.body,
        data=item.data or {},
        created_at=item.created_at,
    )
    return Frame(item.id, notification_text(frame))


def _now() -> float:
    return asyncio.get_running_loop().time()
