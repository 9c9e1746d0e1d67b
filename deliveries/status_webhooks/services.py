"""Writes to status endpoints, and the replay of their messages."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import F
from django.utils.timezone import now as clock
from uuid_utils.compat import uuid7

from deliveries.providers.messages import Failed, Sent
from deliveries.providers.webhook import refusal_of
from deliveries.status_webhooks.models import MessageState, StatusEndpoint, StatusMessage, new_signing_secret
from deliveries.status_webhooks.sending import body_of, excerpt_of, post
from tenants.http.problems import Busy, Conflict
from tenants.ids import created_within
from tenants.models import Tenant

MOST_ENDPOINTS: Final = 20
"""Of a tenant: each is a message more for every change of a delivery."""
MOST_REPLAYED: Final = 10_000
"""Messages that one replay sends again."""
OVERLAP_H: Final = 24
"""Hours that a secret which was replaced signs as well: receivers take the new one up meanwhile."""
TEST_EVENT: Final = "webhook.test"
WAITING_AT_ONCE: Final = 2
"""Requests of one process that wait for a name server or a tenant's own server. Each keeps a thread, for seconds if the other
side is slow, and a process has few: nobody's servers must take them all.
"""

_waiting = threading.BoundedSemaphore(WAITING_AT_ONCE)


class TooManyWait(Busy):
    """Nothing was asked of the other side."""

    default_detail = "Other requests wait for servers that are slow to answer. Try again in a moment."


@contextlib.contextmanager
def _waiting_outside() -> Iterator[None]:
    """Raises TooManyWait at once if `WAITING_AT_ONCE` others are at it."""
    if not _waiting.acquire(blocking=False):
        raise TooManyWait
    try:
        yield
    finally:
        _waiting.release()


def validate_url(url: str) -> None:
    """Raises ValidationError for what is no webhook's URL, and for one that leads into a private network now; TooManyWait."""
    with _waiting_outside():
        refusal = refusal_of(url)
    if refusal is not None:
        raise ValidationError(refusal.message, code=refusal.code)


def create_endpoint(*, tenant: Tenant, **values: Any) -> StatusEndpoint:
    """A new endpoint with a secret of its own. Raises Conflict if the tenant has `MOST_ENDPOINTS` already."""
    with transaction.atomic():
        # Two at once wait for each other; whoever only refers to the tenant does not.
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        if StatusEndpoint.objects.for_tenant(tenant).count() >= MOST_ENDPOINTS:
            raise Conflict(f"A tenant has at most {MOST_ENDPOINTS} endpoints.")
        return StatusEndpoint.objects.create(tenant=tenant, **values)


def update_endpoint(*, endpoint: StatusEndpoint, changes: dict[str, Any]) -> None:
    """Change the fields named. One that is activated, or moved, begins anew: its failures are forgotten."""
    fields = {**changes}
    if changes.get("is_active") or "url" in changes:
        fields |= {"failing_since": None}
    if changes.get("is_active"):
        fields |= {"disabled_at": None, "disabled_reason": ""}
    for name, value in fields.items():
        setattr(endpoint, name, value)
    endpoint.save(update_fields=[*fields, "updated_at"])


def enable_endpoints(*, ids: Collection[UUID]) -> int:
    """Let disabled endpoints begin anew; returns how many were not active."""
    return StatusEndpoint.objects.filter(pk__in=ids, is_active=False).update(
        is_active=True, failing_since=None, disabled_at=None, disabled_reason=""
    )


@dataclass(frozen=True, slots=True)
class Rotated:
    secret: str
    """The new one."""
    old_secret_until: datetime | None
    """Until when the old one signs as well, if it does."""


def rotate_secret(*, endpoint: StatusEndpoint, forget_old: bool = False) -> Rotated:
    """A new secret, from the next request on. The old one signs as well for `OVERLAP_H`, or, with `forget_old`, no more.

    One that was replaced before it, and still signed, is forgotten: an endpoint has two secrets at most.
    """
    rotated = Rotated(new_signing_secret(), None if forget_old else clock() + timedelta(hours=OVERLAP_H))
    StatusEndpoint.objects.filter(pk=endpoint.pk).update(
        secret=rotated.secret,
        old_secret="" if forget_old else F("secret"),  # as it is stored: encrypted
        old_secret_until=rotated.old_secret_until,
        updated_at=clock(),
    )
    return rotated


def forget_old_secrets() -> int:
    """Delete old secrets that sign no more; returns how many there were."""
    past = StatusEndpoint.objects.filter(old_secret_until__lte=clock())
    return past.update(old_secret="", old_secret_until=None)


@dataclass(frozen=True, slots=True)
class Replayed:
    replayed: int
    more: bool
    """Whether there was more than one replay takes."""


_REPLAY = """
UPDATE deliveries_statusmessage
SET state = 0, attempt_count = 0, next_attempt_at = statement_timestamp(), done_at = NULL
WHERE tenant_id = %s AND id = ANY(%s) AND state <> 0
"""


def replay_these(*, tenant_id: int, ids: Collection[UUID]) -> int:
    """Send these messages again if they are done; returns how many were."""
    with connection.cursor() as cursor:
        cursor.execute(_REPLAY, [tenant_id, list(ids)])
        return int(cursor.rowcount)


def replay_messages(
    *, endpoint: StatusEndpoint, states: Collection[MessageState], since: datetime | None = None, until: datetime | None = None
) -> Replayed:
    """Send done messages again, the oldest first and at most `MOST_REPLAYED`, under the ids they had.

    `since <= created_at < until`. Raises Conflict for an endpoint that is not active: nothing would be sent.
    """
    if not endpoint.is_active:
        raise Conflict("The endpoint is not active; nothing is sent to it.")
    wanted = StatusMessage.objects.for_tenant(endpoint.tenant_id).filter(
        created_within(since, until), endpoint_id=endpoint.pk, state__in=states
    )
    ids = list(wanted.order_by("id").values_list("id", flat=True)[: MOST_REPLAYED + 1])
    replayed = replay_these(tenant_id=endpoint.tenant_id, ids=ids[:MOST_REPLAYED])
    return Replayed(replayed, more=len(ids) > MOST_REPLAYED)


@dataclass(frozen=True, slots=True)
class TestAnswer:
    success: bool
    response_code: str
    response_excerpt: str


def send_test(*, endpoint: StatusEndpoint, now: datetime) -> TestAnswer:
    """Post a `webhook.test` at once, also to an endpoint that is not active; takes as long as the other side, 15 s at most.

    Raises TooManyWait.
    """
    body = body_of(TEST_EVENT, now, {"endpointId": str(endpoint.pk)})
    old_secret = endpoint.old_secret_at(now)
    with _waiting_outside():
        outcome = post(endpoint.url, endpoint.secret, message_id=str(uuid7()), body=body, old_secret=old_secret)
    assert isinstance(outcome, Sent | Failed)
    return TestAnswer(isinstance(outcome, Sent), outcome.code, excerpt_of(outcome))
