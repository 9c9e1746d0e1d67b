"""E-mail over SMTP (RFC 5321), through Django's mail API."""

from __future__ import annotations

import contextlib
import functools
import re
import smtplib
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.smtp import EmailBackend

from deliveries.providers.base import Provider
from deliveries.providers.credentials import Field
from deliveries.providers.mail import build_mail, never_a_mail
from deliveries.providers.messages import AUTH, Failed, Failure, Message, Outcome, Sent
from tenants.vocabulary import Channel

_PORTS = {"none": 25, "starttls": 587, "tls": 465}


class SmtpProvider(Provider):
    """Keeps connections for the next messages, and no longer than servers commonly do."""

    name = "smtp"
    channel = Channel.EMAIL
    concurrency = 8  # common limit of connections from one client
    fields = (
        Field("host"),
        Field("port", required=False, default=0, help="Empty: 25, 587 or 465, by security."),
        Field("username", required=False),
        Field("password", required=False, secret=True),
        Field("security", required=False, default="starttls", choices=tuple(_PORTS)),
        Field("from_email", required=False, help="Empty: DEFAULT_FROM_EMAIL."),
    )

    time_limit_s: ClassVar[float] = 20
    """For one message, connecting included."""
    longest_idle_s: ClassVar[float] = 10
    """A connection unused for longer may have been closed by the server: it is not used again."""

    def __init__(self, *, host: str, port: int, username: str, password: str, security: str, from_email: str) -> None:
        self._options: dict[str, Any] = {
            "host": host,
            "port": port or _PORTS[security],
            "username": username,
            "password": password,
            "use_tls": security == "starttls",
            "use_ssl": security == "tls",
        }
        self._from_email = from_email
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()

    def send(self, message: Message) -> Outcome:
        mail = build_mail(message, from_email=self._from_email)
        if isinstance(mail, Failed):
            return mail
        deadline = time.monotonic() + self.time_limit_s
        kept = self._take_idle()
        if kept is not None:
            outcome = self._send_over(kept, mail, deadline)
            if not (isinstance(outcome, Failed) and outcome.code == _LOST_BEFORE_DATA):
                return outcome
        return self._send_over(_Connection(**self._options), mail, deadline)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.leave()

    def _send_over(self, connection: _Connection, mail: EmailMultiAlternatives, deadline: float) -> Outcome:
        """Keeps the connection if it may be used again, else drops it."""
        outcome = _attempt(connection, mail, deadline)
        if connection.is_open:
            connection.idle_since = time.monotonic()
            with self._lock:
                self._idle.append(connection)
        else:
            connection.drop()
        return outcome

    def _take_idle(self) -> _Connection | None:
        oldest = time.monotonic() - self.longest_idle_s
        with self._lock:
            stale = [connection for connection in self._idle if connection.idle_since < oldest]
            self._idle = [connection for connection in self._idle if connection.idle_since >= oldest]
            kept = self._idle.pop() if self._idle else None
        for connection in stale:
            connection.drop()
        return kept


class _Session(smtplib.SMTP):
    """Knows a deadline, whether the content was begun, and the server's last word on it (its queue id, as a rule)."""

    def __init__(self, *args: Any, deadline: float, **kwargs: Any) -> None:
        self.begin(deadline)
        super().__init__(*args, **kwargs)

    def begin(self, deadline: float) -> None:
        """The next message."""
        self.deadline = deadline
        self.content_begun = False
        self.accepted_as = ""

    def getreply(self) -> tuple[int, bytes]:
        if self.sock is not None:
            self.sock.settimeout(_remaining(self.deadline))
        return super().getreply()

    def data(self, msg: Any) -> tuple[int, bytes]:
        self.content_begun = True
        code, reply = super().data(msg)
        self.accepted_as = f"{code} {reply.decode(errors='replace')}"
        return code, reply


class _TlsSession(_Session, smtplib.SMTP_SSL):
    pass


class _Connection(EmailBackend):
    """Django's SMTP backend around our session, opened at the first message and kept open."""

    connection: _Session | None
    _partial_connection: _Session | None
    deadline = 0.0
    idle_since = 0.0

    @property
    def connection_class(self) -> Callable[..., _Session]:
        return functools.partial(_TlsSession if self.use_ssl else _Session, deadline=self.deadline)

    @property
    def is_open(self) -> bool:
        return self.connection is not None and self.connection.sock is not None

    def begin(self, deadline: float) -> _Session:
        """A session ready for the next message; raises OSError or SMTPException."""
        self.deadline = deadline
        self.timeout = _remaining(deadline)  # type: ignore[assignment]  # the stubs know whole seconds only
        self.open()
        assert self.connection is not None
        self.connection.begin(deadline)
        return self.connection

    def leave(self) -> None:
        """QUIT, and do not mind what the server thinks of it."""
        if self.connection is not None:
            self.connection.deadline = time.monotonic() + 1
        with contextlib.suppress(OSError, smtplib.SMTPException):
            self.close()
        self.drop()

    def drop(self) -> None:
        """Without a word: the other end may be gone, or may be why we leave."""
        for session in (self.connection, self._partial_connection):
            if session is not None:
                session.close()
        self.connection = self._partial_connection = None


_LOST_BEFORE_DATA = "connection_lost"
# Enhanced status codes (RFC 3463, 3.2; RFC 7505, 4.2) that say of an address that it is none: no such mailbox, no such domain,
# bad syntax, moved, a domain without mail. A bare 550 may as well be about us: a policy, a block list.
_GONE = re.compile(r"\d{3}[ -]5\.1\.(1|2|3|6|10)\b")


def _attempt(connection: _Connection, mail: EmailMultiAlternatives, deadline: float) -> Outcome:
    try:
        session = connection.begin(deadline)
    except smtplib.SMTPAuthenticationError as error:
        return _refused(error.smtp_code, error.smtp_error, code=AUTH, failure=Failure.TRANSIENT)
    except smtplib.SMTPResponseException as error:  # a greeting or EHLO refused: not the message's fault
        failure = Failure.THROTTLED if error.smtp_code == 421 else Failure.TRANSIENT
        return _refused(error.smtp_code, error.smtp_error, failure=failure)
    except (OSError, smtplib.SMTPException) as error:
        # No STARTTLS, or a certificate that does not do.
        is_tls = isinstance(error, smtplib.SMTPNotSupportedError | ssl.SSLError)
        return Failed(failure=Failure.TRANSIENT, code="tls" if is_tls else "connect_failed", message=_text(error))
    try:
        connection.send_messages([mail])
    except ValueError as error:  # Django will not write out such a header
        return never_a_mail(error)
    except (OSError, smtplib.SMTPException) as error:
        return _failed(error, mail.to[0], content_begun=session.content_begun)
    return Sent(message_id=mail.extra_headers["Message-ID"], code="250", response=session.accepted_as)


def _failed(error: OSError | smtplib.SMTPException, address: str, *, content_begun: bool) -> Failed:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, reply = next(iter(error.recipients.values()))
        refused = _refused(code, reply)
        is_gone = refused.failure is Failure.PERMANENT and _GONE.match(refused.response)
        return replace(refused, about_address=True, dead_addresses=(address,) if is_gone else ())
    if isinstance(error, smtplib.SMTPResponseException):
        return _refused(error.smtp_code, error.smtp_error)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Failed(failure=Failure.PERMANENT, code="not_supported", message=_text(error))
    if content_begun:
        return Failed(failure=Failure.AMBIGUOUS, code="connection_lost_after_data", message=_text(error))
    return Failed(failure=Failure.TRANSIENT, code=_LOST_BEFORE_DATA, message=_text(error))


def _refused(status: int, reply: bytes | str, *, code: str = "", failure: Failure | None = None) -> Failed:
    """RFC 5321, 4.2.1: 5yz is permanent, 4yz transient; 421 closes the channel: come back later."""
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    if failure is None:
        failure = Failure.PERMANENT if status >= 500 else Failure.THROTTLED if status == 421 else Failure.TRANSIENT
    return Failed(failure=failure, code=code or str(status), message=f"{status} {text}", response=f"{status} {text}")


def _remaining(deadline: float) -> float:
    """Seconds; never 0, which would mean a socket that does not wait."""
    return max(deadline - time.monotonic(), 0.001)


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
