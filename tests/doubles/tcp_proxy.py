"""A TCP proxy before a server on a Unix socket, which makes every way between them longer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self

_CHUNK = 1 << 16


class TcpProxy:
    """A context manager; `port` on 127.0.0.1 while it runs. `delay_s` may be changed at any time."""

    def __init__(self, socket: Path) -> None:
        self.delay_s = 0.0
        """What comes from either side is passed on so much later, in order."""
        self._socket = socket
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="TcpProxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=256))
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_unix_connection(str(self._socket))
            await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))
        writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Each piece after its own delay: one does not wait for the delay of the one before it."""
        loop = asyncio.get_running_loop()
        try:
            while piece := await reader.read(_CHUNK):
                loop.call_later(self.delay_s, writer.write, piece)
        finally:
            loop.call_later(self.delay_s, writer.close)

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        own = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not own]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)
