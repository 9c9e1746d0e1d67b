"""A user that is erased is erased from events: from those that name the user, and from those that reached nobody else.

An event that was for the user alone loses its content, and is canceled if it has not come to its end; its reason is `erased`.
One that is for others too loses the user's own entry of its audience, which becomes an empty object so that the others keep
their places; its data stay, for they are the others' as well.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec
from django.db import connection, transaction
from django.utils.timezone import now as clock

from deliveries.erasure import ERASED
from notifications.models import EventStatus
from tenants.models import Tenant

BATCH: Final = 500
"""Events erased in one statement."""

# Whoever has the event in hand loses it with the lease, and what it found out of the user comes to nothing. The hash of the
# content stays: the same event posted again is still a duplicate, and is not sent.
_EMPTY: Final = """
    user_id = '', "to" = NULL, plan = NULL, data = '{}', metadata = '{}', options = NULL, error = '', reason = %(erased)s,
    status = CASE WHEN e.status = ANY(%(unfinished)s) THEN %(canceled)s ELSE e.status END,
    processed_at = COALESCE(e.processed_at, %(now)s), lease_until = NULL, lease_id = NULL
"""

# What came to deliveries is found by them: see `forget_contents`.
_FORGET_OWN: Final = f"""
WITH found AS MATERIALIZED (
    SELECT id FROM notifications_event
    WHERE status = 0 AND priority = ANY('{{0,1,2,3}}') AND tenant_id = %(tenant_id)s AND user_id = %(user_id)s
    UNION ALL
    SELECT id FROM notifications_event WHERE status IN (2, 3, 4) AND tenant_id = %(tenant_id)s AND user_id = %(user_id)s
    UNION ALL
    SELECT id FROM notifications_event
    WHERE status = 1 AND reason <> '' AND tenant_id = %(tenant_id)s AND user_id = %(user_id)s
)
UPDATE notifications_event e SET {_EMPTY}
WHERE e.id = ANY(ARRAY(
    SELECT id FROM notifications_event
    WHERE id = ANY(ARRAY(SELECT id FROM found ORDER BY id LIMIT %(limit)s)) AND user_id = %(user_id)s
    ORDER BY id FOR NO KEY UPDATE
))
"""  # noqa: S608 - made of constants

_FORGET_CONTENTS: Final = f"""
UPDATE notifications_event e SET {_EMPTY}
WHERE e.id = ANY(ARRAY(
    SELECT id FROM notifications_event
    WHERE tenant_id = %(tenant_id)s AND event_id = ANY(%(event_ids)s) AND "to" IS NULL AND plan IS NULL
      AND reason <> %(erased)s
    ORDER BY id FOR NO KEY UPDATE
))
"""  # noqa: S608 - made of constants


def _without_user(entries: str) -> str:
    """SQL for a JSON list of recipients in which those of the user are empty objects."""
    return f"""(
        SELECT COALESCE(jsonb_agg(CASE WHEN entry ->> 'userId' = %(user_id)s THEN '{{}}' ELSE entry END ORDER BY place), '[]')
        FROM jsonb_array_elements({entries}) WITH ORDINALITY AS listed (entry, place)
    )"""  # noqa: S608 - made of constants


# An audience in `to` is an object or a list of them, which a path in lax mode does not tell apart. `plan` is a list of sources.
# Found before they are ordered: in their order, the planner might look for the few among all of the tenant's.
_FIND_LISTED: Final = """
WITH found AS MATERIALIZED (
    SELECT id FROM notifications_event
    WHERE tenant_id = %(tenant_id)s AND "to" IS NOT NULL AND jsonb_path_query_array("to", '$.userId') @> %(user_ids)s::jsonb
    UNION ALL
    SELECT id FROM notifications_event
    WHERE tenant_id = %(tenant_id)s AND plan IS NOT NULL AND plan @> %(planned)s::jsonb
)
SELECT DISTINCT id FROM found ORDER BY id LIMIT %(limit)s
"""

_FORGET_LISTED: Final = f"""
WITH held AS (
    SELECT id, "to" AS audience, plan FROM notifications_event WHERE id = ANY(%(ids)s) AND tenant_id = %(tenant_id)s
    ORDER BY id FOR NO KEY UPDATE
), cleaned AS (
    SELECT id,
        CASE WHEN jsonb_typeof(audience) = 'array' THEN {_without_user("audience")} END AS audience,
        (
            SELECT jsonb_agg(
                CASE WHEN source ? 'recipients'
                    THEN jsonb_set(source, '{{recipients}}', {_without_user("source -> 'recipients'")}) ELSE source END
                ORDER BY turn
            )
            FROM jsonb_array_elements(plan) WITH ORDINALITY AS planned (source, turn)
        ) AS plan,
        audience IS NULL AS is_planned
    FROM held
)
UPDATE notifications_event e
SET "to" = cleaned.audience, plan = cleaned.plan, lease_until = NULL, lease_id = NULL,
    attempt_count = GREATEST(e.attempt_count - (e.lease_id IS NOT NULL)::int, 0)
FROM cleaned WHERE e.id = ANY(%(ids)s) AND e.id = cleaned.id
RETURNING e.id, cleaned.is_planned OR EXISTS (
    SELECT FROM jsonb_array_elements(cleaned.audience) AS listed (entry) WHERE entry <> '{{}}'
)
"""  # noqa: S608 - made of constants

_FORGET_ALONE: Final = f"UPDATE notifications_event e SET {_EMPTY} WHERE e.id = ANY(%(ids)s)"  # noqa: S608 - made of constants


def forget_events(tenant: Tenant, user_id: str) -> bool:
    """Erase the user from up to `BATCH` events that name the user, and as many that list the user; whether there were any."""
    parameters = _parameters() | {"tenant_id": tenant.pk, "user_id": user_id, "limit": BATCH}
    with connection.cursor() as cursor:
        cursor.execute(_FORGET_OWN, parameters)
        return bool(cursor.rowcount) | _forget_listed(parameters)


@transaction.atomic
def _forget_listed(parameters: dict[str, Any]) -> bool:
    user_id = parameters["user_id"]
    parameters["user_ids"] = _json([user_id])
    parameters["planned"] = _json([{"recipients": [{"userId": user_id}]}])
    with connection.cursor() as cursor:
        cursor.execute(_FIND_LISTED, parameters)
        parameters["ids"] = [row[0] for row in cursor.fetchall()]
        if not parameters["ids"]:
            return False
        cursor.execute(_FORGET_LISTED, parameters)
        parameters["ids"] = [row_id for row_id, has_others in cursor.fetchall() if not has_others]
        cursor.execute(_FORGET_ALONE, parameters)
    return True


def forget_contents(tenant_id: int, event_ids: Collection[str]) -> None:
    """Empty those of the events that named their user, or whose user the rules named.

    A topic's subscribers are no part of what an event says; and what `to` lists, `forget_events` has found.
    """
    with connection.cursor() as cursor:
        cursor.execute(_FORGET_CONTENTS, _parameters() | {"tenant_id": tenant_id, "event_ids": list(event_ids)})


def _parameters() -> dict[str, Any]:
    return {
        "erased": ERASED,
        "canceled": EventStatus.CANCELED.value,
        "unfinished": [EventStatus.ACCEPTED.value, EventStatus.FAILED.value],
        "now": clock(),
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
