"""What the vendors' doubles have in common: an HTTP server that listens, records, counts, and misbehaves as told."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How to treat a message, instead of taking it."""

    delay_s: float = 0
    status: int | None = None
    """Answer with this status, in the vendor's own form of an error."""
    code: str = ""
    """The vendor's error code, where it has codes."""
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_up: bool = False
    """Read the request, then close the connection without an answer."""
    body: bytes | None = None
    """Answer with just this."""
    drip_s: float = 0
    """Seconds between the bytes of the answer."""
    times: int | None = None
    """How often, before the address is treated normally again; None: always."""


NORMAL = Behaviour()


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, status: int, value: Any, headers: Mapping[str, str] | None = None) -> Answer:
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


class HttpDouble:
    """A context manager; `url` and `port` while it runs. Subclasses say what a request's address is and how to answer."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, ssl_context: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.requests: list[Request] = []
        """Everything that came, refused or not."""
        self.received: list[Request] = []
        """Those whose message was taken."""
        self.peak = 0
        """The most requests that were ever under way at once."""
        self.connections = 0
        self._wanted_port = port
        self._ssl_context = ssl_context
        self._behaviours: dict[str, Behaviour] = {}
        self._used: dict[str, int] = {}
        self._under_way = 0
        self._lock = threading.Lock()
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self._server = _Server(self, (self.host, self._wanted_port), self._ssl_context)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name=type(self).__name__, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.hang_up_all()
        self._server.server_close()

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"{'https' if self._ssl_context else 'http'}://{self.host}:{self.port}"

    def behave(self, address: str = "", **behaviour: Any) -> None:
        """Treat messages to `address` (empty: to any other) so from now on."""
        with self._lock:
            self._behaviours[address] = Behaviour(**behaviour)
            self._used.pop(address, None)

    def address_of(self, request: Request) -> str:
        raise NotImplementedError

    def answer(self, request: Request, behaviour: Behaviour) -> Answer:
        """The vendor's answer; it calls `take` for a message that it accepts. May be called by several threads at once."""
        raise NotImplementedError

    def handle(self, request: Request) -> tuple[Behaviour, Answer | None]:
        with self._lock:
            self.requests.append(request)
            self._under_way += 1
            self.peak = max(self.peak, self._under_way)
        try:
            behaviour = self._behaviour(self.address_of(request))
            if behaviour.delay_s:
                time.sleep(behaviour.delay_s)
            if behaviour.hang_up:
                return behaviour, None
            if behaviour.body is not None:
                return behaviour, Answer(behaviour.status or 200, behaviour.body, behaviour.headers)
            return behaviour, self.answer(request, behaviour)
        finally:
            with self._lock:
                self._under_way -= 1

    def take(self, request: Request) -> None:
        with self._lock:
            self.received.append(request)

    def count_connection(self) -> None:
        with self._lock:
            self.connections += 1

    def _behaviour(self, address: str) -> Behaviour:
        with self._lock:
            key = address if address in self._behaviours else ""
            behaviour = self._behaviours.get(key, NORMAL)
            self._used[key] = self._used.get(key, 0) + 1
            spent = behaviour.times is not None and self._used[key] > behaviour.times
            return NORMAL if spent else behaviour


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, double: HttpDouble, address: tuple[str, int], context: ssl.SSLContext | None) -> None:
        self.double = double
        self._context = context
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.double.count_connection()
        self._open.add(request)
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._context is None:
            super().finish_request(request, client_address)
            return
        with contextlib.suppress(OSError), self._context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up_all(self) -> None:
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server  # type: ignore[assignment]

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        behaviour, answer = self.server.double.handle(request)
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if behaviour.drip_s:
            self._drip(answer.body, behaviour.drip_s)
        else:
            self.wfile.write(answer.body)

    do_GET = do_POST

    def _drip(self, body: bytes, seconds: float) -> None:
        for byte in body:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(seconds)

    def log_message(self, *args: Any) -> None:
        """Quiet."""
