"""Open inboxes, as a browser has them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from bench.service import Service

_READY_TIMEOUT_S = 10.0
_LAST_FRAME_S = 10.0


class Frames:
    """The notifications of one run, by their events' numbers. Complete when there are `wanted`."""

    def __init__(self, run: str, wanted: int) -> None:
        self.moments: dict[int, float] = {}
        """When each was there (`time.perf_counter`)."""
        self.count = 0
        self._run = run
        self._wanted = wanted
        self._complete = asyncio.Event()

    def heard(self, frame: dict[str, Any], moment: float) -> None:
        if frame["data"]["run"] == self._run:
            self.count += 1
            self.moments.setdefault(frame["data"]["number"], moment)
            if len(self.moments) == self._wanted:
                self._complete.set()

    async def complete(self) -> None:
        """Wait for the last, not for ever: what never comes is for the caller to count."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._complete.wait(), _LAST_FRAME_S)


@asynccontextmanager
async def open_inboxes(service: Service, users: Sequence[str], frames: Frames) -> AsyncIterator[None]:
    """A subscribed websocket for each user; every notification is counted by `frames`."""
    sockets: list[ClientConnection] = []
    readers: list[asyncio.Task[None]] = []
    try:
        for user in users:
            socket = await connect(service.websocket_url(user), compression=None)
            sockets.append(socket)
            await _subscribe(socket)
            readers.append(asyncio.create_task(_read(socket, frames)))
        yield
    finally:
        for reader in readers:
            reader.cancel()
        for socket in sockets:
            await socket.close()


async def _subscribe(socket: ClientConnection) -> None:
    async with asyncio.timeout(_READY_TIMEOUT_S):
        await _await_type(socket, "ready")
        await socket.send('{"type": "subscribe"}')
        await socket.send('{"type": "ping"}')
        await _await_type(socket, "pong")


async def _await_type(socket: ClientConnection, kind: str) -> None:
    async for text in socket:
        if msgspec.json.decode(text)["type"] == kind:
            return
    raise ConnectionError(f"the socket was closed before it said {kind}: {socket.close_code}")


async def _read(socket: ClientConnection, frames: Frames) -> None:
    async for text in socket:
        moment = time.perf_counter()
        frame = msgspec.json.decode(text)
        if frame["type"] == "notification":
            frames.heard(frame, moment)
