"""The outbox is filled by the very statement that changes deliveries, so that no change is lost and none costs a round trip.

For whoever writes such a statement: `announcing(change)`. For whoever updates through a queryset: `update_announced`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.db import connection
from django.db.models import QuerySet
from django.db.models.sql import UpdateQuery

from deliveries.states import Status
from tenants.vocabulary import Channel, Coded


def _labels(kind: type[Coded], column: str) -> str:
    """SQL for the API's word for a code: a case of constants, made once when the statement is planned."""
    cases = " ".join(f"WHEN {member.value} THEN '{member.label}'" for member in kind)
    return f"CASE {column} {cases} END"


# `old` and `new` are PostgreSQL 18's: the row before (null for an INSERT) and after.
_CHANGED: Final = (
    "new.id, new.tenant_id, new.event_id, new.event_type, new.user_id, new.channel, new.status, new.reason, new.provider, "
    "new.attempt_count, old.status AS was"
)

_ANNOUNCED: Final = f"""
    INSERT INTO deliveries_statusmessage (
        id, tenant_id, endpoint_id, delivery_id, status, payload, state, attempt_count, created_at, next_attempt_at,
        response_code, response_excerpt
    )
    SELECT uuidv7(), d.tenant_id, e.id, d.id, d.status,
        jsonb_build_object(
            'deliveryId', d.id, 'eventId', d.event_id, 'eventType', d.event_type, 'userId', NULLIF(d.user_id, ''),
            'channel', {_labels(Channel, "d.channel")}, 'status', {_labels(Status, "d.status")},
            'reason', NULLIF(d.reason, ''), 'provider', NULLIF(d.provider, ''), 'attemptCount', d.attempt_count
        ),
        0, 0, statement_timestamp(), statement_timestamp(), '', ''
    FROM changed d JOIN deliveries_statusendpoint e ON e.tenant_id = d.tenant_id AND e.is_active AND d.status = ANY(e.statuses)
    WHERE d.status IS DISTINCT FROM d.was
    RETURNING 1
"""  # noqa: S608 - made of constants


def announcing(change: str, *, returning: Iterable[str] = ()) -> str:
    """The statement `change`, which also writes a message for every endpoint that wants to hear of the change.

    `change` is one INSERT or UPDATE of `deliveries_delivery` without RETURNING; it may begin with a WITH that only reads, and
    keeps its parameters. Only rows whose status differs from before are announced, so it may touch others too. `returning`
    names further columns wanted of each changed row, e.g. `new.sent_at`.

    The statement yields a row for each changed delivery: its id, whether anything was announced by the statement (the same
    in every row: then ring `bells.ring_status_webhooks` after the commit; without a bell the sweep notices within a second),
    and the columns of `returning`. Its rowcount is the number of deliveries changed.

        cursor.execute(announcing("UPDATE deliveries_delivery SET status = 8 WHERE …"), parameters)
        changed = Changed.of(cursor.fetchall())
    """
    wanted = [f"{expression} AS returned_{number}" for number, expression in enumerate(returning)]
    columns = ", ".join([_CHANGED, *wanted])
    shown = "".join(f", changed.returned_{number}" for number in range(len(wanted)))
    return f"""WITH changed AS ({change} RETURNING {columns}), announced AS ({_ANNOUNCED})
SELECT changed.id, EXISTS (SELECT FROM announced){shown} FROM changed"""  # noqa: S608 - made of constants


def update_announced(deliveries: QuerySet[Any], **values: Any) -> int:
    """`deliveries.update(**values)` in a statement that announces; returns how many rows it matched. Not for querysets that
    join other tables.
    """
    query = deliveries.query.chain(UpdateQuery)
    query.add_update_values(values)  # type: ignore[attr-defined]
    change, parameters = query.get_compiler(connection=connection).as_sql()
    with connection.cursor() as cursor:
        cursor.execute(announcing(change), parameters)
        return int(cursor.rowcount)
