"""An SMTP server (aiosmtpd) that keeps what it is given, and refuses, stalls or hangs up as told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass(frozen=True)
class ReceivedMail:
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    """As it came over the wire, dots unstuffed, lines ended by CRLF."""

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=policy.default)  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True)
class SmtpBehaviour:
    """By recipient. Replies are whole lines: `550 5.1.1 no such user`."""

    rcpt: str = ""
    data: str = ""
    """The reply after the content."""
    mail: str = ""
    """The reply to the sender, which comes before any recipient: for the address "" only."""
    delay_s: float = 0
    until: threading.Event | None = None
    """Do not reply to the content before it is set."""
    hang_up_at: str = ""
    """`mail`, `rcpt`, or `data` (after the content was read): close the connection instead of replying."""
    times: int | None = None


_NORMAL = SmtpBehaviour()


class SmtpDouble:
    """A context manager; `host`, `port`, `url` while it runs. With `username` set it insists on AUTH."""

    host = "127.0.0.1"

    def __init__(self, *, port: int = 0, username: str = "", password: str = "") -> None:
        self.received: list[ReceivedMail] = []
        self.connections = 0
        self.open_connections = 0
        self.peak = 0
        """The most messages that were ever being handed over at once."""
        self.is_mute = False
        self._wanted_port = port
        self._login = (username, password)
        self._behaviours: dict[str, SmtpBehaviour] = {}
        self._used: dict[str, int] = {}
        self._under_way = 0
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._transports: set[asyncio.BaseTransport] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="SmtpDouble", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(self._loop.create_server(self._protocol, self.host, self._wanted_port, backlog=256))
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

    @property
    def url(self) -> str:
        """For EMAIL_URL."""
        username, password = self._login
        login = f"{username}:{password}@" if username else ""
        return f"smtp://{login}{self.host}:{self.port}"

    @property
    def wants_login(self) -> bool:
        return bool(self._login[0])

    def behave(self, address: str = "", **behaviour: Any) -> None:
        """Treat mail to `address` (empty: to any other) so from now on."""
        with self._lock:
            self._behaviours[address] = SmtpBehaviour(**behaviour)
            self._used.pop(address, None)

    def mute(self) -> None:
        """Take connections and answer nothing: no greeting to new ones, no reply to the next mail over those that are open."""
        self.is_mute = True

    def speak(self) -> None:
        """Answer again; connections from before are closed."""
        self.is_mute = False
        self.hang_up_all()

    def hang_up_all(self) -> None:
        """Close every connection, as a server does with idle ones."""
        self._run(self._hang_up_all())

    def behaviour(self, address: str, *, count: bool = False) -> SmtpBehaviour:
        with self._lock:
            key = address if address in self._behaviours else ""
            behaviour = self._behaviours.get(key, _NORMAL)
            spent = behaviour.times is not None and self._used.get(key, 0) >= behaviour.times
            if count:
                self._used[key] = self._used.get(key, 0) + 1
            return _NORMAL if spent else behaviour

    def begin(self) -> None:
        self._under_way += 1
        self.peak = max(self.peak, self._under_way)

    def end(self) -> None:
        self._under_way -= 1

    def connected(self, transport: asyncio.BaseTransport) -> None:
        self.connections += 1
        self._transports.add(transport)
        self.open_connections = len(self._transports)

    def disconnected(self, transport: asyncio.BaseTransport) -> None:
        self._transports.discard(transport)
        self.open_connections = len(self._transports)

    def _protocol(self) -> SMTP:
        username, password = self._login

        def authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
            known = isinstance(data, LoginPassword) and (data.login, data.password) == (username.encode(), password.encode())
            return AuthResult(success=known, handled=False)

        return _Protocol(
            self,
            _Handler(self),
            hostname="double.test",
            enable_SMTPUTF8=True,
            auth_require_tls=False,
            authenticator=authenticate if username else None,
            loop=self._loop,
        )

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._hang_up_all()
        own = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not own]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _hang_up_all(self) -> None:
        for transport in list(self._transports):
            transport.abort()  # type: ignore[attr-defined]
        while self._transports:  # noqa: ASYNC110 - the loop's own callbacks empty it
            await asyncio.sleep(0)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


class _Protocol(SMTP):
    def __init__(self, double: SmtpDouble, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._double = double

    def connection_made(self, transport: Any) -> None:
        self._own = transport
        self._double.connected(transport)
        self._is_greeted = not self._double.is_mute
        if self._is_greeted:
            super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._double.disconnected(self._own)
        if self._is_greeted:
            super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        if self._is_greeted:
            super().data_received(data)

    def eof_received(self) -> bool | None:
        return super().eof_received() if self._is_greeted else None


class _Handler:
    """aiosmtpd's hooks: each returns the reply to a command."""

    def __init__(self, double: SmtpDouble) -> None:
        self._double = double

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        if self._double.wants_login and not session.authenticated:
            return "530 5.7.0 Authentication required"
        if self._double.is_mute:
            await asyncio.Event().wait()  # for ever: until the connection is closed
        behaviour = self._double.behaviour("")
        if behaviour.hang_up_at == "mail":
            self._double.behaviour("", count=True)
            server.transport.abort()
        if behaviour.mail:
            return behaviour.mail
        envelope.mail_from = address
        return "250 2.1.0 OK"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        behaviour = self._double.behaviour(address)
        if behaviour.hang_up_at == "rcpt":
            self._double.behaviour(address, count=True)
            server.transport.abort()
        if behaviour.rcpt:
            self._double.behaviour(address, count=True)
            return behaviour.rcpt
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        behaviour = self._double.behaviour(envelope.rcpt_tos[0], count=True)
        self._double.begin()
        try:
            if behaviour.delay_s:
                await asyncio.sleep(behaviour.delay_s)
            while behaviour.until is not None and not behaviour.until.is_set():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.01)
        finally:
            self._double.end()
        if behaviour.data:
            return behaviour.data
        content = envelope.original_content or b""
        self._double.received.append(ReceivedMail(envelope.mail_from or "", tuple(envelope.rcpt_tos), content))
        if behaviour.hang_up_at == "data":  # the mail is taken, the client never hears of it
            server.transport.abort()
        return f"250 2.0.0 OK queued as {len(self._double.received):08X}"
