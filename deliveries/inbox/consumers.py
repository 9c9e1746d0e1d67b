"""The websocket at `/ws/notifications/`: who may open it, when it closes, and what is passed on to its session."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import structlog
from channels.consumer import AsyncConsumer, get_handler_name
from channels.exceptions import StopConsumer
from django.db import Error as DatabaseError
from redis import RedisError

from deliveries.inbox.access import Access, grant, token_of
from deliveries.inbox.frames import CloseCode, group_of, read_command
from deliveries.inbox.link import link
from deliveries.inbox.live import WEBSOCKETS
from deliveries.inbox.publisher import InboxUnavailableError
from deliveries.inbox.session import Session
from deliveries.inbox.threads import in_thread
from tenants.selectors import InvalidCredential

logger = structlog.get_logger(__name__)

_TRY_AGAIN: CloseCode = 1013
_UNAUTHORIZED: CloseCode = 4401
_LONGEST_REASON = 123
"""Bytes (RFC 6455, section 5.5)."""


class InboxConsumer(AsyncConsumer):
    session: Session | None = None
    group: str | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self._running: asyncio.Task[None] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._open = False
        self.base_send = send  # the base does so too, but subscribes before
        try:
            await super().__call__(scope, receive, send)
        except RedisError as error:  # the layer could not subscribe
            logger.warning("inbox_unavailable", error=str(error))
            await self._turn_away()
        finally:
            await self._leave()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Without the base's tidying of database connections, a thread's work for every message: `in_thread` does it."""
        await getattr(self, get_handler_name(message))(message)

    async def websocket_connect(self, _message: dict[str, Any]) -> None:
        """Accepts first, also to refuse: a browser shows its page the code of a close, but not of a refused handshake."""
        token, subprotocol = token_of(self.scope)
        await self.base_send({"type": "websocket.accept", "subprotocol": subprotocol})
        self._open = True
        WEBSOCKETS.inc()
        try:
            access = await in_thread(grant, token)
        except InvalidCredential as error:
            await self._close(_UNAUTHORIZED, str(error))
        except DatabaseError as error:
            logger.warning("inbox_unavailable", error=str(error))
            await self._close(_TRY_AGAIN)
        else:
            await self._begin(access)

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        if self.session is not None and not self.session.told(read_command(message.get("text"))):
            await self._close(1008, "Too many frames.")

    async def websocket_disconnect(self, _message: dict[str, Any]) -> None:
        raise StopConsumer

    async def inbox_notification(self, message: dict[str, Any]) -> None:
        if self.session is not None:
            self.session.heard(message["id"], message["text"])

    async def inbox_mark(self, message: dict[str, Any]) -> None:
        if self.session is not None:
            self.session.mark_heard(message["token"])

    async def inbox_changed(self, _message: dict[str, Any]) -> None:
        if self.session is not None:
            self.session.counts_changed()

    async def _begin(self, access: Access) -> None:
        self.group = group_of(access.inbox.tenant_id, access.inbox.user_id)
        self.session = Session(access.inbox, self._send_text)
        await self.channel_layer.group_add(self.group, self.channel_name)
        link().watch(self.session, self.channel_layer)
        self._running = asyncio.create_task(self._run(self.session))
        self._expiry = asyncio.get_running_loop().call_later(max(access.expires_at - time.time(), 0), self._expire)

    async def _run(self, session: Session) -> None:
        try:
            await session.run()
        except (DatabaseError, InboxUnavailableError, TimeoutError) as error:
            logger.warning("inbox_unavailable", error=str(error))
            await self._close(_TRY_AGAIN)
        except OSError:
            pass  # the client is gone; the server says so in a moment
        except Exception:
            logger.exception("inbox_session_failed")
            await self._close(1011)

    async def _send_text(self, text: str) -> None:
        await self.base_send({"type": "websocket.send", "text": text})

    def _expire(self) -> None:
        self._closing = asyncio.create_task(self._close(_UNAUTHORIZED, "The token has expired."))

    async def _close(self, code: CloseCode, reason: str = "") -> None:
        """Say no more, but why; the server then reports the disconnect."""
        self.session = None
        await self._stop_running()
        if self._open:
            self._open = False
            WEBSOCKETS.dec()
            text = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
            with contextlib.suppress(OSError):  # gone already
                await self.base_send({"type": "websocket.close", "code": code, "reason": text})

    async def _turn_away(self) -> None:
        if not self._open:
            await self.base_send({"type": "websocket.accept"})
            self._open = True
            WEBSOCKETS.inc()
        await self._close(_TRY_AGAIN)

    async def _leave(self) -> None:
        """However it ended."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._open:
            self._open = False
            WEBSOCKETS.dec()
        await self._stop_running()
        if self.group is not None:
            with contextlib.suppress(RedisError):  # its memory of us went with it
                await self.channel_layer.group_discard(self.group, self.channel_name)

    async def _stop_running(self) -> None:
        if self._running is not None and self._running is not asyncio.current_task():
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
