"""What one socket has been sent and what it still has to be, without any I/O: the owner carries out each step it asks for.

Redis pub/sub forgets: what is published while a socket is not subscribed is gone for it. PostgreSQL has every item, but learns
that one was published only after the fact. The two are joined without gap or overlap at a *mark*: a message published to the
socket's own group. Redis does one thing at a time, so what the socket hears before its mark was published by the mark's moment,
and what it hears afterwards was published later. Items up to that moment are read from PostgreSQL, the others are taken live.

Before PostgreSQL is asked, the items whose hand-over is under way are waited for: one of them may have been published before
the mark, and its record not be written yet.

The same steps serve a client that says what it saw last, a socket whose live items outran it, and a lost link to Redis.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from deliveries.inbox.selectors import Position

MOST_WAITING: Final = 256
MOST_WAITING_CHARACTERS: Final = 1_000_000
"""Live frames kept for a slow client; beyond either bound they are dropped, and read again when the client has caught up."""
REMEMBERED: Final = 512
"""Ids sent last. A worker that died between publishing and recording publishes again; that is not sent twice."""
PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class SetMark:
    """Publish a mark; answer with `marked` when the socket hears it."""


@dataclass(frozen=True, slots=True)
class FindUnderWay:
    """Look up the items whose hand-over is under way; answer with `under_way`."""


@dataclass(frozen=True, slots=True)
class AwaitRecords:
    """Wait until these are recorded, or long enough; answer with `recorded`."""

    ids: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class ReadPage:
    """Read up to `PAGE` items behind `after` (an id: behind that item) and published by `until`; answer with `page`."""

    after: Position | UUID
    until: datetime


@dataclass(frozen=True, slots=True)
class Frame:
    """A notification's id and its text on the wire."""

    id: UUID
    text: str


@dataclass(frozen=True, slots=True)
class Send:
    """Send these frames, in order. Nothing to answer."""

    frames: Sequence[Frame]


Step = SetMark | FindUnderWay | AwaitRecords | ReadPage | Send


class Feed:
    """Tell it what happens, ask it for the next step, carry that out, answer, and ask again."""

    def __init__(self) -> None:
        self._waiting: deque[Frame] = deque()
        self._waiting_characters = 0
        self._outgoing: list[Frame] = []
        self._sent: dict[UUID, None] = {}
        self._step: Step | None = SetMark()
        self._reading: _Range | None = None
        self._begun_at: datetime | None = None
        self._sent_up_to: Position | UUID | None = None
        self._resume_after: UUID | None = None
        self._gap = False
        self._held = True

    def last_sent(self, count: int) -> list[UUID]:
        """The ids sent last, at most `count`."""
        return list(self._sent)[-count:]

    def hear(self, frame: Frame) -> None:
        """A live frame came from the layer."""
        self._waiting.append(frame)
        self._waiting_characters += len(frame.text)
        if len(self._waiting) > MOST_WAITING or self._waiting_characters > MOST_WAITING_CHARACTERS:
            self.lose()

    def hear_mark(self) -> None:
        """Our mark came by: what waits was published before it, and will be read from PostgreSQL."""
        self._drop_waiting()
        self._gap = False

    def lose(self) -> None:
        """Frames were dropped, or may have been."""
        self._drop_waiting()
        self._gap = True

    def resume(self, since: UUID | None) -> None:
        """The client says what it saw last, or (None) that it wants what comes from now on."""
        self._held = False
        if since is not None:
            self._resume_after = since
            self._pass_over(since)

    def release(self) -> None:
        """The client has had its time to say what it saw last."""
        self._held = False

    def step(self) -> Step | None:
        """What to do next; None: nothing, until something happens. The same again for as long as it is not answered."""
        if not self._outgoing and self._step is None and not self._held:
            self._advance()
        if self._outgoing:
            frames, self._outgoing = self._outgoing, []
            return Send(frames)
        return self._step

    def marked(self, moment: datetime) -> None:
        """The mark was heard; it was published at `moment`."""
        if self._sent_up_to is None:
            self._begun_at, self._sent_up_to, self._step = moment, Position(moment), None
        else:
            self._read(_Range(self._sent_up_to, moment))
            self._sent_up_to = Position(moment)

    def under_way(self, ids: frozenset[UUID]) -> None:
        """The items whose hand-over is under way."""
        if ids:
            self._step = AwaitRecords(ids)
        else:
            self.recorded()

    def recorded(self) -> None:
        """The items under way are recorded, or were waited for long enough."""
        assert self._reading is not None
        self._step = ReadPage(self._reading.after, self._reading.until)

    def page(self, items: Sequence[tuple[Position, Frame]]) -> None:
        """The page asked for."""
        assert self._reading is not None
        self._outgoing += self._unsent(frame for _, frame in items)
        if len(items) == PAGE:
            self._reading = _Range(items[-1][0], self._reading.until)
            self._step = ReadPage(self._reading.after, self._reading.until)
        else:
            self._reading, self._step = None, None

    def _advance(self) -> None:
        if self._resume_after is not None and self._begun_at is not None:
            # What came after the connection began has been sent on it, or will be.
            self._read(_Range(self._resume_after, self._begun_at))
            self._resume_after = None
        elif self._gap:
            self._step = SetMark()
        elif self._waiting:
            self._sent_up_to = self._waiting[-1].id
            self._outgoing += self._unsent(self._waiting)
            self._drop_waiting()

    def _read(self, wanted: _Range) -> None:
        self._reading, self._step = wanted, FindUnderWay()

    def _unsent(self, frames: Iterable[Frame]) -> list[Frame]:
        fresh = [frame for frame in frames if frame.id not in self._sent]
        for frame in fresh:
            self._remember(frame.id)
        return fresh

    def _remember(self, item: UUID) -> None:
        self._sent[item] = None
        if len(self._sent) > REMEMBERED:
            del self._sent[next(iter(self._sent))]

    def _pass_over(self, since: UUID) -> None:
        """The client had this from its last connection, while this one was being opened; and all before it."""
        self._remember(since)
        if any(frame.id == since for frame in self._waiting):
            while (frame := self._waiting.popleft()).id != since:
                self._waiting_characters -= len(frame.text)
            self._waiting_characters -= len(frame.text)

    def _drop_waiting(self) -> None:
        self._waiting.clear()
        self._waiting_characters = 0


@dataclass(frozen=True, slots=True)
class _Range:
    after: Position | UUID
    until: datetime
