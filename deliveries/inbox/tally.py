"""Counts for sockets: those asked for within a moment of one another cost one statement together.

A broadcast reaches thousands of open sockets at once, and each then wants new counts.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Future
from collections.abc import Sequence
from typing import Final
from uuid import UUID
from weakref import WeakKeyDictionary

from deliveries.inbox.frames import Counts
from deliveries.inbox.selectors import CountRequest, Inbox, count_inboxes
from deliveries.inbox.threads import in_thread

_GATHER_S: Final = 0.01
_MOST_TOGETHER: Final = 200


class Tally:
    """One for each event loop."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._asked: list[tuple[CountRequest, Future[Counts]]] = []
        self._rounds: set[asyncio.Task[None]] = set()

    def ask(self, inbox: Inbox, received: Sequence[UUID] = ()) -> Future[Counts]:
        """The counts of an inbox, those of `received` included that are not recorded yet. Raises django.db.Error."""
        answer: Future[Counts] = self._loop.create_future()
        self._asked.append((CountRequest(inbox=inbox, received=received), answer))
        if len(self._asked) == 1:
            self._loop.call_later(_GATHER_S, self._begin)
        return answer

    def _begin(self) -> None:
        asked, self._asked = self._asked, []
        for start in range(0, len(asked), _MOST_TOGETHER):
            task = self._loop.create_task(_answer(asked[start : start + _MOST_TOGETHER]))
            self._rounds.add(task)
            task.add_done_callback(self._rounds.discard)


async def _answer(asked: Sequence[tuple[CountRequest, Future[Counts]]]) -> None:
    try:
        counts = await in_thread(count_inboxes, [request for request, _ in asked])
    except Exception as error:  # noqa: BLE001 - handed on to everyone who asked
        for _, answer in asked:
            if not answer.done():
                answer.set_exception(error)
        return
    for request, answer in asked:
        if not answer.done():
            answer.set_result(counts[request.inbox])


_tallies: WeakKeyDictionary[AbstractEventLoop, Tally] = WeakKeyDictionary()


def tally() -> Tally:
    """The running loop's."""
    loop = asyncio.get_running_loop()
    if loop not in _tallies:
        _tallies[loop] = Tally(loop)
    return _tallies[loop]
