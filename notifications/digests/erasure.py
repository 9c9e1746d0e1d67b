"""Digests in a user's export, and in an erasure: how many there were and when stays, whose they were does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connection
from django.utils.timezone import now as clock

from notifications.models import Digest
from preferences.export import in_pages
from tenants.models import Tenant
from tenants.vocabulary import Channel

# What an open one holds is canceled with its deliveries. The address keeps erased ones apart, as the constraint asks.
_FORGET = """
UPDATE notifications_digest g
SET user_id = '', address = 'erased:' || g.id, digest_key = '', closed_at = COALESCE(g.closed_at, %(now)s),
    finished_at = COALESCE(g.finished_at, %(now)s), lease_until = NULL, lease_id = NULL
WHERE g.tenant_id = %(tenant_id)s AND g.user_id = %(user_id)s
"""


def forget_digests(tenant: Tenant, user_id: str) -> bool:
    """Erase the user from digests; whether there were any."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, {"tenant_id": tenant.pk, "user_id": user_id, "now": clock()})
        return bool(cursor.rowcount)


def digests_of(tenant: Tenant, user_id: str) -> Iterator[Any]:
    for digest in in_pages(Digest.objects.for_tenant(tenant).filter(user_id=user_id)):
        yield {
            "channel": str(Channel(digest.channel).label),
            "digestKey": digest.digest_key,
            "openedAt": digest.opened_at,
            "dueAt": digest.due_at,
            "finishedAt": digest.finished_at,
            "itemCount": digest.item_count,
            "eventId": digest.event_id,
        }
