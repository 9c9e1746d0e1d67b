"""What a chunk has to know about its tenants: themselves, the event types they declared, their rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import connection

from notifications.models import Rule
from notifications.rules import active_rules
from notifications.wire import DigestPlan, LimitPlan, TenantFacts
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
SELECT t.id, t.slug, t.name, t.default_locale, t.default_channels, t.timezone, t.link_secret,
    COALESCE(NULLIF(t.quiet_hours, '[]')::text, ''),
    (
        SELECT jsonb_agg(jsonb_build_array(
            s.id, s.event_type, s.category, s.channel, s.cadence, s.at, s.weekday, s.window_s, s.slides, s.longest_s,
            s.template, s.most_items
        ) ORDER BY s.position, s.id)::text
        FROM notifications_digestschedule s WHERE s.tenant_id = t.id AND s.is_active
    ),
    (
        SELECT jsonb_agg(jsonb_build_array(
            l.id, l.name, l.event_type, l.category, l.channel, l.per, l.count, l.window_s, l.excess
        ) ORDER BY l.id)::text
        FROM notifications_limit l WHERE l.tenant_id = t.id AND l.is_active
    ),
    t.is_active,
    EXISTS (SELECT FROM notifications_heartbeat WHERE tenant_id = ANY(%(tenant_ids)s::bigint[]) AND is_active),
    d.name, d.category, d.required, d.default_enabled, d.default_channels
FROM tenants_tenant t LEFT JOIN notifications_eventtype d ON d.tenant_id = t.id AND d.name = ANY(%(names)s::text[])
WHERE t.id = ANY(%(tenant_ids)s::bigint[])
"""


_OF_TENANT = 12
"""The columns that speak of the tenant; the others are of an event type."""


def _tenant(*columns: Any) -> TenantFacts:
    slug, name, locale, channels, timezone, link_secret, quiet_hours, schedules, limits, is_active = columns
    return TenantFacts(
        slug,
        name,
        locale,
        channels,
        timezone,
        link_secret,
        quiet_hours,
        () if schedules is None else msgspec.json.decode(schedules, type=tuple[DigestPlan, ...]),
        () if limits is None else msgspec.json.decode(limits, type=tuple[LimitPlan, ...]),
        is_active,
    )


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
        for row in cursor.fetchall():
            (tenant_id, *tenant, found.have_heartbeats), (declared, *facts) = row[:_OF_TENANT], row[_OF_TENANT:]
            if tenant_id not in found.tenants:
                found.tenants[tenant_id] = _tenant(*tenant)
            if declared is not None:
                found.event_types[tenant_id, declared] = DeclaredType(*facts)
    return found
