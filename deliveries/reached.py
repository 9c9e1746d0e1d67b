"""Who was reached: what stops an escalation."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from django.db import connection

from deliveries.states import Status
from tenants.columns import int_array, text_array
from tenants.vocabulary import Channel

PersonKey = tuple[int, str, str]
"""(tenant id, event id, user id): one recipient of one event."""

# An item in the inbox reaches somebody when it is read; that it lies there does not. Elsewhere the provider's word counts.
_REACHED: Final = """
SELECT asked.tenant_id, asked.event_id, asked.user_id, d.channel
FROM unnest(%(tenants)s::int[], %(events)s::text[], %(users)s::text[]) AS asked (tenant_id, event_id, user_id)
JOIN deliveries_delivery d
    ON d.tenant_id = asked.tenant_id AND d.event_id = asked.event_id AND d.user_id = asked.user_id
WHERE CASE WHEN d.channel = %(in_app)s THEN d.read_at IS NOT NULL OR d.archived_at IS NOT NULL ELSE d.status = %(delivered)s END
"""


def reached(people: Collection[PersonKey]) -> dict[PersonKey, str]:
    """Those of the people whom a delivery of the event has reached, and how; one statement, none for nobody."""
    if not people:
        return {}
    tenants, events, users = zip(*sorted(set(people)), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            _REACHED,
            {
                "tenants": int_array(tenants),
                "events": text_array(events),
                "users": text_array(users),
                "in_app": Channel.IN_APP.value,
                "delivered": Status.DELIVERED.value,
            },
        )
        return {(tenant, event, user): _how(Channel(channel)) for tenant, event, user, channel in cursor.fetchall()}


def _how(channel: Channel) -> str:
    return "it was read in the inbox" if channel is Channel.IN_APP else f"it was delivered by {channel.label}"
