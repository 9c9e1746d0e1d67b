"""Whatever anyone sends, the API answers as its own description says, and never with a server error.

schemathesis makes requests, good and bad, from the OpenAPI document and sends them to a real server. Half of those that name
a thing are made to name one that exists, so that what lies behind a 404 is reached too.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import pytest
import schemathesis
from django.core.management import call_command
from django.db import connection
from django.utils.timezone import now
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, settings
from pytest_django.live_server_helper import LiveServer
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)

from config.operations.probes import beat, probe
from deliveries.models import AttemptOutcome, Delivery, StatusEndpoint
from deliveries.states import Status
from notifications.heartbeats.services import declare_key
from notifications.models import Event
from notifications.queues import QUEUES
from templates_app.models import Layout
from tenants.models import ProviderAccount
from tenants.services import create_api_key, create_user_token
from tenants.vocabulary import Channel, Scope
from tests.factories import (
    AttemptFactory,
    DigestFactory,
    DigestScheduleFactory,
    EventTypeFactory,
    HeartbeatFactory,
    LimitFactory,
    PreferenceFactory,
    RecipientFactory,
    RuleFactory,
    SuppressionFactory,
    TemplateFactory,
    TenantFactory,
    TopicFactory,
)

EXAMPLES = int(os.environ.get("API_EXAMPLES", "10"))
USER = "user_1"
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

pytestmark = pytest.mark.django_db
schema = schemathesis.openapi.from_dict(
    SchemaGenerator().get_schema(public=True),
    # That a view refuses the methods it does not have is Django REST framework's doing.
    config=SchemathesisConfig.from_dict({"phases": {"coverage": {"unexpected-methods": []}}}),
)


@dataclass(frozen=True)
class World:
    """A tenant of the operation's own, with one of everything."""

    headers: dict[str, dict[str, str]]
    """The way in, by the security scheme that an operation names."""
    things: dict[str, dict[str, str]]
    """Path parameters that name something, by how the path begins."""


def make_world() -> World:
    tenant = TenantFactory(sandbox=True)
    _, key = create_api_key(tenant=tenant, scopes=[Scope.ADMIN])
    token = create_user_token(tenant=tenant, user_id=USER, ttl=timedelta(hours=1))
    RecipientFactory(tenant=tenant, user_id=USER)
    event = Event.objects.create(tenant=tenant, event_id="evt_1", event_type="account", content_hash=b"", due_at=now())
    defaults = {"tenant": tenant, "event_id": "evt_1", "event_type": "account", "user_id": USER, "accepted_at": now()}
    item = Delivery.objects.create(channel=Channel.IN_APP, status=Status.SENT, sent_at=now(), **defaults)
    account = ProviderAccount.objects.create(
        tenant=tenant,
        channel=Channel.EMAIL,
        kind="postmark",
        name="Postmark",
        credentials={"server_token": "server-token", "webhook_secret": "postmark:webhook-secret"},
    )
    failed = Delivery.objects.create(
        channel=Channel.EMAIL, status=Status.FAILED, provider="postmark", provider_account_id=account.pk, **defaults
    )
    for acted in (account.pk, uuid4(), None):  # one that is there, one deleted since, the installation's
        AttemptFactory(delivery=failed, provider_account_id=acted, outcome=AttemptOutcome.AMBIGUOUS)
    heartbeat = HeartbeatFactory(tenant=tenant)
    declare_key(heartbeat, "m1")
    things = {
        "/api/admin/layouts/": {"id": Layout.objects.create(tenant=tenant, name="Brand", html="{{ content }}").pk},
        "/api/admin/templates/": {"id": TemplateFactory(tenant=tenant).pk},
        "/api/deliveries/": {"id": failed.pk},
        "/api/event-types/": {"id": EventTypeFactory(tenant=tenant).pk},
        "/api/events/": {"event_id": event.event_id},
        "/api/heartbeats/{id}/keys/": {"id": heartbeat.pk, "key": "m1"},
        "/api/heartbeats/": {"id": heartbeat.pk},
        "/api/inbox/": {"id": item.pk},
        "/api/preferences/{channel}/": {"channel": "email", "event_type": "account"},
        "/api/preferences/": {"preference_id": PreferenceFactory(tenant=tenant, user_id=USER, channel=Channel.SMS).pk},
        "/api/receipts/email/": {"kind": "postmark", "account": account.pk},
        "/api/receipts/twilio/": {"account": "installation", "delivery_id": failed.pk},
        "/api/recipients/": {"user_id": USER},
        "/api/retry-schedules/": {"channel": "email"},
        "/api/digest-schedules/": {"id": DigestScheduleFactory(tenant=tenant).pk},
        "/api/digests/": {"id": DigestFactory(tenant=tenant).pk},
        "/api/limits/": {"id": LimitFactory(tenant=tenant).pk},
        "/api/rules/": {"id": RuleFactory(tenant=tenant).pk},
        "/api/status-webhooks/": {"id": StatusEndpoint.objects.create(tenant=tenant, url="https://127.0.0.1:9/").pk},
        "/api/suppressions/": {"suppression_id": SuppressionFactory(tenant=tenant, address="a@example.com").pk},
        "/api/telegram/": {"bot": account.pk, "key": "key"},
        "/api/topics/": {"key": TopicFactory(tenant=tenant).key, "user_id": USER},
    }
    beat()
    for queue in QUEUES:
        probe(queue, 0.0)
    connection.close()
    return World(
        headers={"apiKey": {"X-API-Key": key}, "userToken": {"Authorization": f"Bearer {token}"}},
        things={path: {name: str(value) for name, value in known.items()} for path, known in things.items()},
    )


@pytest.fixture(scope="module")
def base_url(django_db_setup, django_db_blocker) -> Iterator[str]:
    """One server for all operations; the database is emptied at the end."""
    with django_db_blocker.unblock():
        server = LiveServer("127.0.0.1")
        yield server.url
        server.stop()
        call_command("flush", "--no-input", verbosity=0)


@pytest.fixture
def world(base_url) -> World:
    # In a thread, so on a connection of its own: the server would see nothing of the transaction around the test.
    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(make_world).result()


def names_a_thing(case, things: dict[str, dict[str, str]]) -> dict[str, str]:
    """For every other request, the path parameters of something that exists."""
    if (
        not case.path_parameters
        or zlib.crc32(repr((case.body, case.query, case.path_parameters)).encode("utf-8", "replace")) % 2
    ):
        return case.path_parameters
    found = next(known for start, known in things.items() if case.path.startswith(start))
    assert set(found) == set(case.path_parameters), f"{case.path}: tell this test what exists there"
    return found


def status_code_is_described(ctx, response, case) -> None:
    """`default` stands for what cannot be foreseen; an endpoint's own answers are to be named."""
    named = set(case.operation.definition.raw["responses"]) - {"default"}
    assert str(response.status_code) in named, f"{response.status_code} is not among {sorted(named)}"


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_the_api_answers_as_described(case, base_url, world):
    ways_in = [scheme for entry in case.operation.definition.raw.get("security", ()) for scheme in entry]
    case.path_parameters = names_a_thing(case, world.things)
    case.call_and_validate(
        base_url=base_url,
        headers=next((world.headers[scheme] for scheme in ways_in if scheme in world.headers), {}),
        checks=[*CHECKS, status_code_is_described],
    )
