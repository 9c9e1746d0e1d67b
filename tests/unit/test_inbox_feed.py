"""A socket's feed against a model of Redis, PostgreSQL and a client, in every order of events that hypothesis thinks of."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from deliveries.inbox import feed as steps
from deliveries.inbox.feed import Feed, Frame
from deliveries.inbox.selectors import Position

START = datetime(2026, 1, 1, tzinfo=UTC)


def item(number: int) -> UUID:
    return UUID(int=(7 << 76) | (2 << 62) | number)


class World(RuleBasedStateMachine):
    """One user, one client that comes and goes, workers that publish and record whenever they like."""

    @initialize()
    def begin(self) -> None:
        self.clock = 0
        self.made = 0
        self.to_publish: list[UUID] = []
        self.to_record: list[tuple[UUID, int]] = []
        self.recorded: dict[UUID, int] = {}
        self.first_published: dict[UUID, int] = {}
        self.made_at: dict[UUID, int] = {}
        self.twice: set[UUID] = set()
        self.may_repeat = False
        self.received: list[UUID] = []
        self.started_at: int | None = None
        self.feed: Feed | None = None
        self.wire: deque[Frame | str] = deque()
        self.subscribed = self.told = False
        self.mark = ""
        self.answer: tuple[object, object] | None = None

    # Workers

    @rule(count=st.integers(1, 3))
    def store(self, count: int) -> None:
        for _ in range(count):
            self.made += 1
            self.to_publish.append(item(self.made))
            self.made_at[item(self.made)] = self.clock

    @precondition(lambda self: self.to_publish)
    @rule(data=st.data(), count=st.integers(1, 3))
    def publish(self, data: st.DataObject, count: int) -> None:
        """A chunk goes out at one moment, in the order of its ids."""
        chunk = sorted(data.draw(st.permutations(self.to_publish))[:count])
        self.clock += 1
        for one in chunk:
            self.to_publish.remove(one)
            self.to_record.append((one, self.clock))
            self.first_published.setdefault(one, self.clock)
            self._to_socket(Frame(one, str(one)))

    @precondition(lambda self: self.to_record)
    @rule(data=st.data())
    def record(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.to_record))
        self.to_record.remove(chosen)
        self.recorded[chosen[0]] = chosen[1]

    @precondition(lambda self: self.to_record)
    @rule(data=st.data())
    def die_before_recording(self, data: st.DataObject) -> None:
        """The lease runs out, and another worker publishes the item again."""
        chosen = data.draw(st.sampled_from(self.to_record))
        self.to_record.remove(chosen)
        self.to_publish.append(chosen[0])
        self.twice.add(chosen[0])

    # The client

    @precondition(lambda self: self.feed is None)
    @rule()
    def connect(self) -> None:
        self.feed = Feed()
        if not self.received:
            self.started_at = None  # nothing to go by: it hears what comes from now on
        self.wire.clear()
        self.subscribed = self.told = False
        self.mark, self.answer = "", None

    @precondition(lambda self: self.feed is not None)
    @rule()
    def disconnect(self) -> None:
        self.feed, self.subscribed = None, False
        self.wire.clear()

    @precondition(lambda self: self.feed is not None and not self.told)
    @rule()
    def say_what_was_seen_last(self) -> None:
        self.told = True
        self.feed.resume(self.received[-1] if self.received else None)

    # Redis

    @precondition(lambda self: self.feed is not None and not self.subscribed)
    @rule()
    def subscription_takes_effect(self) -> None:
        self.subscribed = True

    @precondition(lambda self: self.feed is not None and self.subscribed)
    @rule()
    def lose_the_link(self) -> None:
        """What is under way is gone, and whatever comes until the layer has subscribed again."""
        self.wire.clear()
        self.subscribed = False
        self.feed.lose()

    @precondition(lambda self: self.wire)
    @rule()
    def hear(self) -> None:
        heard = self.wire.popleft()
        if isinstance(heard, Frame):
            self.feed.hear(heard)
        elif heard == self.mark:
            self.feed.hear_mark()
            self.mark = "heard"

    # The session

    @precondition(lambda self: self.feed is not None)
    @rule()
    def work(self) -> None:
        """Ask PostgreSQL or Redis, or take an answer that has been on its way for a while."""
        if self.answer is None:
            self._ask()
        else:
            self._take()

    @precondition(lambda self: self.feed is not None and self.subscribed)
    @rule()
    def go_on_until_nothing_moves(self) -> None:
        idle = 0
        while idle < 5:
            before = len(self.received), self.answer, len(self.wire)
            if self.wire:
                self.hear()
            self.work()
            idle = idle + 1 if before == (len(self.received), self.answer, len(self.wire)) else 0

    def _ask(self) -> None:
        match step := self.feed.step():
            case steps.Send(frames=frames):
                self.received += [frame.id for frame in frames]
            case steps.SetMark():
                self.clock += 1
                self.mark = f"mark {self.clock}"
                self._to_socket(self.mark)
                self.answer = step, self.clock
            case steps.FindUnderWay():
                self.answer = step, frozenset(self.to_publish) | {one for one, _ in self.to_record}
            case steps.AwaitRecords():
                self.answer = step, None
            case steps.ReadPage(after=after, until=until):
                self.answer = step, self._page(after, until)

    def _take(self) -> None:
        step, answer = self.answer
        match step:
            case steps.SetMark():
                if self.mark in self.wire:
                    return
                if self.mark == "heard":  # otherwise it was lost, and another is asked for
                    self.started_at = answer if self.started_at is None else self.started_at
                    self.feed.marked(_moment(answer))
            case steps.FindUnderWay():
                self.feed.under_way(answer)
            case steps.AwaitRecords(ids=ids):
                if ids - self.recorded.keys():
                    return
                self.feed.recorded()
            case steps.ReadPage():
                self.feed.page(answer)
        self.answer = None

    def _page(self, after: Position | UUID, until: datetime) -> list[tuple[Position, Frame]]:
        if after in self.twice:
            # PostgreSQL knows when it was published last, the client may have had it earlier: back to when it was made.
            self.may_repeat = True
            after = Position(_moment(self.made_at[after]))
        elif isinstance(after, UUID):
            after = Position(_moment(self.recorded[after]), after)
        places = sorted((_moment(clock), one) for one, clock in self.recorded.items())
        wanted = [
            (moment, one)
            for moment, one in places
            if (moment, one) > (after.moment, after.id or item(2**60)) and moment <= until
        ]
        return [(Position(moment, one), Frame(one, str(one))) for moment, one in wanted[: steps.PAGE]]

    def _to_socket(self, message: Frame | str) -> None:
        if self.subscribed:
            self.wire.append(message)

    # What must hold

    @invariant()
    def nothing_twice(self) -> None:
        again = [one for one in self.received if self.received.count(one) > 1]
        assert self.may_repeat or set(again) <= self.twice

    @invariant()
    def in_the_order_of_publication(self) -> None:
        times = [self.first_published[one] for one in self.received if one not in self.twice]
        assert self.may_repeat or times == sorted(times)

    def teardown(self) -> None:
        """In the end the client has everything that was published since it came and had something to go by."""
        if self.feed is None:
            self.connect()
        if not self.told:
            self.say_what_was_seen_last()
        while self.to_publish:
            one = self.to_publish.pop(0)
            self.clock += 1
            self.to_record.append((one, self.clock))
            self.first_published.setdefault(one, self.clock)
            self._to_socket(Frame(one, str(one)))
        self.recorded |= dict(self.to_record)
        self.to_record.clear()
        self.subscribed = True
        self.go_on_until_nothing_moves()
        missed = {
            one
            for one, clock in self.recorded.items()
            if self.started_at is not None and self.first_published[one] > self.started_at
        } - set(self.received)
        self.nothing_twice()
        self.in_the_order_of_publication()
        assert not missed


def _moment(clock: int) -> datetime:
    return START + timedelta(seconds=clock)


@pytest.fixture(autouse=True, scope="module")
def _small_bounds():
    """So that pages end and buffers overflow in short stories too, and nothing leans on the memory of what was sent."""
    before = steps.PAGE, steps.MOST_WAITING, steps.REMEMBERED
    steps.PAGE, steps.MOST_WAITING, steps.REMEMBERED = 2, 3, 1
    yield
    steps.PAGE, steps.MOST_WAITING, steps.REMEMBERED = before


TestNothingMissedNothingTwice = World.TestCase
TestNothingMissedNothingTwice.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)


def test_a_burst_larger_than_the_bounds_is_dropped_and_read_again():
    feed = Feed()
    feed.marked(START)
    feed.resume(None)
    for number in range(steps.MOST_WAITING + 1):
        feed.hear(Frame(item(number), "x"))
    assert isinstance(feed.step(), steps.SetMark)


def test_few_large_frames_are_dropped_too():
    feed = Feed()
    feed.marked(START)
    feed.resume(None)
    feed.hear(Frame(item(1), "x" * (steps.MOST_WAITING_CHARACTERS + 1)))
    assert isinstance(feed.step(), steps.SetMark)


def test_live_items_wait_until_the_client_has_said_what_it_saw():
    feed = Feed()
    feed.marked(START)
    feed.hear(Frame(item(1), "x"))
    assert feed.step() is None
    feed.release()
    assert feed.step() == steps.Send([Frame(item(1), "x")])


def test_what_the_clients_last_connection_brought_while_this_one_was_opened_is_passed_over():
    feed = Feed()
    feed.marked(START)
    for number in (1, 2, 3):
        feed.hear(Frame(item(number), "x"))
    feed.resume(item(2))
    assert feed.step() == steps.FindUnderWay()
    feed.under_way(frozenset())
    assert feed.step() == steps.ReadPage(item(2), START)
    feed.page([])
    assert feed.step() == steps.Send([Frame(item(3), "x")])
    assert feed.step() is None
