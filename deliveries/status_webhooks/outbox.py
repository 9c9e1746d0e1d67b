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


_COLUMNS: Final = (
    "id",
    "tenant_id",
    "event_id",
    "event_type",
    "user_id",
    "channel",
    "status",
    "reason",
    "provider",
    "attempt_count",
)

# A UUIDv7 (RFC 9562, section 5.7), which PostgreSQL makes by itself only from 18 on: a random one of version 4 whose first 48
# bits become the time, and its version 7 (0111 in place of 0100).
_UUID7: Final = """encode(set_bit(set_bit(overlay(
            uuid_send(gen_random_uuid())
            PLACING substring(int8send((extract(epoch FROM statement_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6
        ), 52, 1), 53, 1), 'hex')::uuid"""

_ANNOUNCED: Final = f"""
    INSERT INTO deliveries_statusmessage (
        id, tenant_id, endpoint_id, delivery_id, status, payload, state, attempt_count, created_at, next_attempt_at,
        response_code, response_excerpt
    )
    SELECT {_UUID7}, d.tenant_id, e.id, d.id, d.status,
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


def announcing(change: str, *, row: str = "d", was: str = "NULL", returning: Iterable[str] = ()) -> str:
    """The statement `change`, which also writes a message for every endpoint that wants to hear of the change.

    `change` is one INSERT or UPDATE of `deliveries_delivery` under the alias `row`, without RETURNING; it may begin with a WITH
    that only reads, and keeps its parameters. It may touch only rows whose status it changes, as one does whose condition is
    `sources_of`; or else `was` is an expression for the row's status before, e.g. of a subquery joined FOR UPDATE: rows that
    keep their status are not announced. `returning` names further columns wanted of each changed row.

    The statement yields a row for each changed delivery: its id, whether anything was announced by the statement (the same
    in every row: then ring `bells.ring_status_webhooks` after the commit; without a bell the sweep notices within a second),
    and the columns of `returning`. Its rowcount is the number of deliveries changed.

        cursor.execute(announcing("UPDATE deliveries_delivery d SET status = 8 WHERE …"), parameters)
        changed = Changed.of(cursor.fetchall())
    """
    wanted = [f"{expression} AS returned_{number}" for number, expression in enumerate(returning)]
    columns = ", ".join([*(f"{row}.{name}" for name in _COLUMNS), f"({was})::smallint AS was", *wanted])
    shown = "".join(f", changed.returned_{number}" for number in range(len(wanted)))
    return f"""WITH changed AS ({change} RETURNING {columns}), announced AS ({_ANNOUNCED})
SELECT changed.id, EXISTS (SELECT FROM announced){shown} FROM changed"""  # noqa: S608 - made of constants


def update_announced(deliveries: QuerySet[Any], **values: Any) -> int:
    """`deliveries.update(**values)` in a statement that announces what changes its state; returns how many rows it matched.

    Not for querysets that join other tables.
    """
    condition, condition_parameters = deliveries.order_by().values_list("id", "status").query.sql_with_params()
    query = deliveries.model._default_manager.all().query.chain(UpdateQuery)
    query.add_update_values(values)
    update, update_parameters = query.get_compiler(connection=connection).as_sql()
    # The lock makes "before" the row's last state, also where another changed it meanwhile.
    before = f"WITH before (id, status) AS ({condition} FOR NO KEY UPDATE)"
    change = f"{before} {update} FROM before WHERE deliveries_delivery.id = before.id"
    with connection.cursor() as cursor:
        cursor.execute(
            announcing(change, row="deliveries_delivery", was="before.status"), (*condition_parameters, *update_parameters)
        )
        return int(cursor.rowcount)
