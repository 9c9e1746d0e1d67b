"""What a chunk has to know about its tenants: themselves, the event types they declared, their rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from django.db import connection

from notifications.models import Rule
from notifications.rules import active_rules
from notifications.wire import TenantFacts
from tenants.columns import int_array, text_array


class DeclaredType(msgspec.Struct, frozen=True):
    """An event type that its tenant has declared."""

    category: str
    required: bool
    default_enabled: bool
    default_channels: list[int]


@dataclass(slots=True)
class Surroundings:
    tenants: dict[int, TenantFacts]
    rules: dict[int, list[Rule]]
    event_types: dict[tuple[int, str], DeclaredType]
    have_heartbeats: bool = False
    """Whether any of the tenants has an active one."""


# By hand, as all that every chunk runs: for one urgent event, making two statements from querysets takes longer than both.
_FACTS = """
SELECT t.id, t.slug, t.name, t.default_locale, t.default_channels, t.timezone,
    EXISTS (SELECT FROM notifications_heartbeat WHERE tenant_id = ANY(%(tenant_ids)s::bigint[]) AND is_active),
    d.name, d.category, d.required, d.default_enabled, d.default_channels
FROM tenants_tenant t LEFT JOIN notifications_eventtype d ON d.tenant_id = t.id AND d.name = ANY(%(names)s::text[])
WHERE t.id = ANY(%(tenant_ids)s::bigint[])
"""


def surroundings_of(events: Iterable[tuple[int, str]], *, asked_rules: Iterable[int]) -> Surroundings:
    """`events`: (tenant id, event type) of each; `asked_rules`: the tenants whose rules are wanted. Two statements at most."""
    wanted = set(events)
    found = Surroundings({}, active_rules(ids) if (ids := sorted(set(asked_rules))) else {}, {})
    with connection.cursor() as cursor:
        cursor.execute(
            _FACTS,
            {
                "tenant_ids": int_array({tenant_id for tenant_id, _ in wanted}),
                "names": text_array({name for _, name in wanted}),
            },
        )
        for tenant_id, slug, name, locale, channels, timezone, found.have_heartbeats, declared, *facts in cursor.fetchall():
            found.tenants[tenant_id] = TenantFacts(slug, name, locale, channels, timezone)
            if declared is not None:
                found.event_types[tenant_id, declared] = DeclaredType(*facts)
    return found
