"""What inbox tests share: deliveries put into inboxes as a worker does it, and a real websocket server with real clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import uvicorn
from channels.routing import URLRouter
from django.db import connections
from django.utils.timezone import now as clock
from uuid_utils.compat import uuid7
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from deliveries.inbox import threads
from deliveries.inbox.access import keep_token_out_of_logs
from deliveries.inbox.provider import InAppProvider
from deliveries.inbox.routing import websocket_urlpatterns
from deliveries.models import Delivery
from deliveries.providers.messages import Message, Sent
from deliveries.states import Status
from tenants.models import Tenant
from tenants.services import create_user_token
from tenants.vocabulary import Channel, Priority
from tests.messages import send_all

PATIENCE_S = 15.0


def stored(tenant: Tenant, user_id: str = "user_1", **values: Any) -> Delivery:
    """A delivery on its way into the inbox: stored under a lease, not yet published."""
    now = clock()
    row = {
        "event_id": f"evt-{uuid7()}",
        "event_type": "account",
        "channel": Channel.IN_APP,
        "status": Status.SENDING,
        "subject": "Hello",
        "body": "Hello Ada",
        "data": {"userName": "Ada"},
        "attempt_count": 1,
        "lease_until": now + timedelta(minutes=1),
        "accepted_at": now,
    }
    return Delivery.objects.create(tenant=tenant, user_id=user_id, **(row | values))


def published(deliveries: Sequence[Delivery]) -> list[Sent]:
    """Hand deliveries over as the sending stage does; nothing is recorded yet."""
    outcomes = send_all(InAppProvider(), [_message(delivery) for delivery in deliveries])
    assert all(isinstance(outcome, Sent) for outcome in outcomes), outcomes
    return outcomes


def recorded(deliveries: Sequence[Delivery], outcomes: Sequence[Sent]) -> None:
    for delivery, outcome in zip(deliveries, outcomes, strict=True):
        Delivery.objects.filter(pk=delivery.pk).update(status=Status.SENT, sent_at=outcome.at, lease_until=None)


def delivered_to_inbox(tenant: Tenant, user_id: str = "user_1", count: int = 1, **values: Any) -> list[Delivery]:
    """Deliveries stored, published and recorded."""
    deliveries = [stored(tenant, user_id, **values) for _ in range(count)]
    recorded(deliveries, published(deliveries))
    return deliveries


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    return [str(delivery.pk) for delivery in deliveries]


def _message(delivery: Delivery) -> Message:
    return Message(
        delivery_id=UUID(str(delivery.pk)),
        attempt=1,
        channel=Channel.IN_APP,
        tenant_id=delivery.tenant_id,
        priority=Priority.NORMAL,
        addresses=("",),
        subject=delivery.subject,
        body=delivery.body,
        html="",
        data=delivery.data,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        user_id=delivery.user_id,
        created_at=delivery.created_at,
    )


def token(tenant: Tenant, user_id: str = "user_1", ttl: timedelta = timedelta(minutes=5)) -> str:
    return create_user_token(tenant=tenant, user_id=user_id, ttl=ttl)


@dataclass
class Browser:
    """A client of the inbox that remembers every frame it was sent."""

    connection: ClientConnection
    frames: list[dict[str, Any]] = field(default_factory=list)

    def say(self, **frame: Any) -> None:
        self.connection.send(json.dumps(frame))

    def hear(self, timeout: float = PATIENCE_S) -> dict[str, Any]:
        frame = json.loads(self.connection.recv(timeout=timeout))
        self.frames.append(frame)
        return frame

    def hear_until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Reads on to the first frame that fits."""
        deadline = time.monotonic() + PATIENCE_S
        while not wanted(frame := self.hear(max(deadline - time.monotonic(), 0.01))):
            pass
        return frame

    def hear_type(self, kind: str) -> dict[str, Any]:
        return self.hear_until(lambda frame: frame["type"] == kind)

    def hear_all_of(self, wanted: Sequence[str]) -> list[str]:
        """Reads until every one of the wanted notifications was sent; returns the ids of all that were, in order."""
        missing = set(wanted) - set(self.notified)
        while missing:
            missing.discard(self.hear_type("notification")["id"])
        return self.notified

    def settle(self) -> list[str]:
        """Whatever was going to be sent before the answer to a ping now; returns the ids of all notifications."""
        self.say(type="ping")
        self.hear_type("pong")
        return self.notified

    @property
    def notified(self) -> list[str]:
        return [frame["id"] for frame in self.frames if frame["type"] == "notification"]

    def closed_with(self) -> int:
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.hear()
        assert self.connection.close_code is not None
        return self.connection.close_code


@dataclass(frozen=True)
class WebsocketServer:
    port: int

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/notifications/"

    @contextlib.contextmanager
    def browser(self, token: str, *, subscribe: bool = True, since: str | None = None) -> Iterator[Browser]:
        """An open socket, past `ready` (the first of its frames), subscribed unless told otherwise."""
        with self.raw(f"?token={token}") as browser:
            assert browser.hear()["type"] == "ready"
            if subscribe:
                browser.say(type="subscribe", **({"since": since} if since else {}))
            yield browser

    @contextlib.contextmanager
    def raw(self, query: str = "", **options: Any) -> Iterator[Browser]:
        with connect(self.url + query, compression=None, **options) as connection:
            yield Browser(connection)


@contextlib.contextmanager
def websocket_server() -> Iterator[WebsocketServer]:
    """The inbox's ASGI application behind uvicorn, in a thread."""
    application = keep_token_out_of_logs(URLRouter(websocket_urlpatterns))
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            port=0,
            ws="config.websocket_protocol:WebSocketProtocol",
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=5,
        )
    )
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), name="websocket-server")
    thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield WebsocketServer(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        close_database_connections_of_threads()


def close_database_connections_of_threads() -> None:
    """The test database cannot be dropped while a thread of the socket server is connected to it."""
    together = threading.Barrier(threads.THREADS)

    def close() -> None:
        together.wait(PATIENCE_S)
        connections.close_all()

    for done in [threads._pool.submit(close) for _ in range(threads.THREADS)]:
        done.result()
