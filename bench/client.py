"""A small HTTP/1.1 client: keep-alive connections that cost the shared cores as little as possible."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec


class Reply(NamedTuple):
    status: int
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class RequestFailedError(Exception):
    """The service answered something that the scenario cannot go on with."""


class Connection:
    """One connection, one request at a time. Understands replies with a Content-Length, which all of ours have."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Mapping[str, str]) -> None:
        self._reader = reader
        self._writer = writer
        self._head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())

    async def post(self, path: str, body: bytes) -> Reply:
        head = f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        reply_head = await self._reader.readuntil(b"\r\n\r\n")
        return Reply(int(reply_head[9:12]), await self._reader.readexactly(_content_length(reply_head)))

    async def post_json(self, path: str, value: Any, *, expect: int) -> Any:
        """POST and decode; raises RequestFailedError for another status than `expect`."""
        return expected(await self.post(path, msgspec.json.encode(value)), expect).json()

    def close(self) -> None:
        self._writer.close()


def expected(reply: Reply, status: int) -> Reply:
    if reply.status != status:
        raise RequestFailedError(f"HTTP {reply.status} instead of {status}: {reply.body[:500].decode(errors='replace')}")
    return reply


@asynccontextmanager
async def connections(count: int, *, port: int, api_key: str) -> AsyncIterator[list[Connection]]:
    """`count` open connections to the service on this machine."""
    headers = {"Host": f"127.0.0.1:{port}", "X-API-Key": api_key, "Content-Type": "application/json"}
    opened: list[Connection] = []
    try:
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            opened.append(Connection(reader, writer, headers))
        yield opened
    finally:
        for connection in opened:
            connection.close()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
