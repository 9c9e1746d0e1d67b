"""Tenants with accounts of their own on the running service, and the servers behind them."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from config.stack.paths import stack_paths
from config.stack.servers import EmbeddedPostgres
from deliveries.states import Status
from tests.acceptance.stand import Stand, state_folder
from tests.doubles.smtp import SmtpDouble
from tests.doubles.tcp_proxy import TcpProxy
from tests.doubles.telegram import TelegramDouble

BYSTANDER = "bystander"
"""Its e-mail has a server of its own, which is well."""
STRAINED = "strained"
"""Its e-mail has an account of its own, with the server that strains fall upon."""
GUEST = "guest"
"""Without an account: its e-mail goes over the installation's."""
BACKED = "backed"
"""Has two accounts: the one of `strained`, and one to fall back on."""

_BULK = 500
_POSTERS = 2
_TENANTS = """
import json, sys
from config.provisioning import provision_tenant
from tenants.models import ProviderAccount
from tenants.services import create_api_key
from tenants.vocabulary import Channel, Scope
keys = {{}}
for slug, ports in json.loads({servers!r}).items():
    tenant = provision_tenant(slug=slug)
    keys[slug] = create_api_key(tenant=tenant, scopes=[Scope.ADMIN], name="")[1]
    for priority, port in enumerate(ports):
        ProviderAccount.objects.create(
            tenant=tenant, channel=Channel.EMAIL, kind="smtp", name=f"server {{priority}}", priority=priority,
            credentials={{"host": "127.0.0.1", "port": port, "security": "none"}},
        )
print(json.dumps(keys))
"""

_STATES = "SELECT status, count(*) FROM deliveries_delivery WHERE starts_with(event_id, %s) GROUP BY status"


@dataclass(slots=True)
class Doubles:
    """The servers behind the accounts."""

    well: SmtpDouble = field(default_factory=SmtpDouble)
    sick: SmtpDouble = field(default_factory=SmtpDouble)
    house: SmtpDouble = field(default_factory=SmtpDouble)
    """Of the installation's own account."""
    spare: SmtpDouble = field(default_factory=SmtpDouble)
    telegram: TelegramDouble = field(default_factory=TelegramDouble)

    def all(self) -> list[SmtpDouble | TelegramDouble]:
        return [self.well, self.sick, self.house, self.spare, self.telegram]


class World:
    def __init__(self, stand: Stand, doubles: Doubles, *, database: TcpProxy | None) -> None:
        self.stand = stand
        self.doubles = doubles
        self.database = database
        """What lies between the service and PostgreSQL, where something does."""
        self.keys: dict[str, str] = {}

    def prepare(self) -> None:
        self.stand.run.wait_ready()
        servers = {
            BYSTANDER: [self.doubles.well.port],
            STRAINED: [self.doubles.sick.port],
            GUEST: [],
            BACKED: [self.doubles.sick.port, self.doubles.spare.port],
        }
        printed = self.stand.run.manage("shell", "--no-imports", "-c", _TENANTS.format(servers=json.dumps(servers)))
        self.keys = json.loads(printed.splitlines()[-1])

    def client(self, tenant: str) -> httpx.Client:
        return self.stand.client(self.keys[tenant])

    def event(self, event_id: str, channels: list[str], **fields: Any) -> dict[str, Any]:
        """An event to a user of its own, whose address is the event's id."""
        to = {"userId": event_id, "email": address_of(event_id), "telegramChatId": chat_of(event_id)}
        return {"eventId": event_id, "eventType": "strain", "to": to, "channels": channels, "data": {}, **fields}

    def post(self, tenant: str, events: list[dict[str, Any]], *, until: Callable[[], bool] = lambda: False) -> list[int]:
        """Post in bulk, from a few clients; the status codes. No further request is begun once `until` holds."""
        parts = [events[start : start + _BULK] for start in range(0, len(events), _BULK)]

        def post(part: list[dict[str, Any]]) -> int:
            if until():
                return 0
            reply = api.post("/api/events/bulk", json={"events": part})
            assert reply.status_code != 202 or reply.json()["rejected"] == 0, reply.text[:500]
            return reply.status_code

        with self.client(tenant) as api, ThreadPoolExecutor(_POSTERS) as pool:
            return list(pool.map(post, parts))

    def states(self, prefix: str) -> dict[Status, int]:
        """How many deliveries of the events whose ids begin so are in each state."""
        return {Status(status): count for status, count in self.stand.rows(_STATES, [prefix])}


def address_of(event_id: str) -> str:
    return f"{event_id}@example.com"


def chat_of(event_id: str) -> str:
    return str(zlib.crc32(event_id.encode()) + 1)


def addressed(double: SmtpDouble) -> set[str]:
    """The addresses of all mails that a server took."""
    return {mail.recipients[0] for mail in list(double.received)}


@contextlib.contextmanager
def running_world(*, far_database: bool = False, **settings: str) -> Iterator[World]:
    """`far_database`: PostgreSQL is reached over a proxy that can be made slow."""
    with contextlib.ExitStack() as stack:
        doubles = Doubles()
        for double in doubles.all():
            stack.enter_context(double)
        database = stack.enter_context(_far_database()) if far_database else None
        if database is not None:
            settings["DATABASE_URL"] = f"postgresql://postgres@127.0.0.1:{database.port}/notifications?sslmode=disable"
        state = stack.enter_context(state_folder())
        settings |= {
            "EMAIL_URL": doubles.house.url,
            "TELEGRAM_BOT_TOKEN": doubles.telegram.bot_token,
            "TELEGRAM_API_URL": doubles.telegram.url,
        }
        stand = Stand(state, **settings)
        stack.callback(stand.stop)
        world = World(stand, doubles, database=database)
        world.prepare()
        yield world


@contextlib.contextmanager
def _far_database() -> Iterator[TcpProxy]:
    with state_folder() as state:
        paths = stack_paths(state)
        postgres = EmbeddedPostgres(paths)
        try:
            postgres.start()
            with TcpProxy(paths.sockets / ".s.PGSQL.5432") as proxy:
                yield proxy
        finally:
            postgres.stop()
