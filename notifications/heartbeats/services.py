"""Writes to heartbeats and the keys that are declared or taken away."""

from __future__ import annotations

from typing import Final

from django.db import transaction
from django.utils.timezone import now as clock

from notifications.heartbeats.models import Heartbeat, HeartbeatKey
from notifications.heartbeats.seeing import MOST_KEYS
from tenants.http.problems import Conflict
from tenants.models import Tenant

MOST_HEARTBEATS: Final = 100
"""Of a tenant, active or not: each of its events is compared with all of them."""


def hold_room_for_heartbeat(tenant: Tenant) -> None:
    """Raises Conflict if the tenant has `MOST_HEARTBEATS`. Else nobody else makes it one until this transaction ends."""
    Tenant.objects.select_for_update(no_key=True).only("pk").get(pk=tenant.pk)
    if Heartbeat.objects.for_tenant(tenant).count() >= MOST_HEARTBEATS:
        raise Conflict(f"A tenant has at most {MOST_HEARTBEATS} heartbeats.")


@transaction.atomic
def save_heartbeat(heartbeat: Heartbeat) -> None:
    """Store a new or changed heartbeat. Its deadlines begin anew; with another `key` it forgets the keys it knew.

    Without `key` it expects its one thing from the start: there is nothing else that could declare it.
    """
    if not heartbeat._state.adding:
        before = Heartbeat.objects.select_for_update().filter(pk=heartbeat.pk).values_list("key", flat=True).first()
        if before != heartbeat.key:
            heartbeat.keys.all().delete()
    heartbeat.is_watching = False
    heartbeat.save()
    if not heartbeat.key:
        declare_key(heartbeat, "")


@transaction.atomic
def declare_key(heartbeat: Heartbeat, key: str) -> tuple[HeartbeatKey, bool]:
    """Expect a key from now on, seen or not; returns it, and whether it is new. Raises Conflict where there is no room."""
    Heartbeat.objects.select_for_update(no_key=True).only("pk").get(pk=heartbeat.pk)
    if bool(key) != bool(heartbeat.key):
        raise Conflict("This heartbeat has no key: all its events are one thing.")
    known = heartbeat.keys.filter(key=key).first()
    if known is not None:
        return known, False
    if heartbeat.keys.count() >= MOST_KEYS:
        raise Conflict(f"A heartbeat has at most {MOST_KEYS} keys.")
    due_at = clock() + heartbeat.patience
    new = HeartbeatKey(tenant_id=heartbeat.tenant_id, heartbeat=heartbeat, key=key, due_at=due_at, check_at=due_at)
    HeartbeatKey.objects.bulk_create([new], ignore_conflicts=True)  # it may be seen at this very moment
    return heartbeat.keys.get(key=key), True


def forget_key(heartbeat: Heartbeat, key: str) -> bool:
    """Expect it no more; returns whether it was. If it is seen again, it is expected again."""
    return bool(heartbeat.keys.filter(key=key).delete()[0])
