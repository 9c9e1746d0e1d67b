"""Taking up what is due under a lease, the urgent first and tenants in turn: in two statements, whatever the backlog.

First the waiting (priority, tenant) pairs are found by hopping along an index, one probe each. Then every pair gets a share
of the claim, the most urgent class first, so that neither a tenant's million rows nor a flood of low priority stands before
another tenant's one-time password. `tenants.turns` has both halves of it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection
from uuid_utils.compat import uuid7

from tenants.columns import int_array
from tenants.turns import Waiting, divide

LEASE: Final = timedelta(seconds=30)
"""How long a worker may keep what it took up: longer than any stage may take."""


class Taken(NamedTuple):
    """What a claim took."""

    lease_id: UUID
    rows: list[tuple[Any, ...]]
    shared_out: int
    """How many rows were asked for; fewer are taken where others hold some, or where they are large."""
    more: bool
    """Whether due ones were left for the next claim, or may have been."""


def take_up(waiting_sql: str, claim_sql: str, *, now: datetime, limit: int, **parameters: Any) -> Taken:
    """Take up to `limit` rows under a lease of `LEASE`.

    `waiting_sql` is made by `turns.waiting_sql`. `claim_sql` takes from `unnest(%(priorities)s, %(tenants)s, %(shares)s)`, sets
    `lease_until` and `lease_id`, and returns what it took; `parameters` are its own.
    """
    lease_id = uuid7()
    with connection.cursor() as cursor:
        cursor.execute(waiting_sql, {"now": now, "limit": limit})
        waiting = [Waiting(*row) for row in cursor.fetchall()]
        if not waiting:
            return Taken(lease_id, [], 0, more=False)
        shares = divide(waiting, limit)
        given: dict[str, Any] = {
            "priorities": int_array(pair.priority for pair, _ in shares),
            "tenants": int_array(pair.tenant_id for pair, _ in shares),
            "shares": int_array(share for _, share in shares),
            "now": now,
            "lease_until": now + LEASE,
            "lease_id": lease_id,
        }
        cursor.execute(claim_sql, given | parameters)
        rows = cursor.fetchall()
    shared_out = sum(share for _, share in shares)
    # A count stops at the size of a claim.
    more = sum(pair.count for pair in waiting) > shared_out or any(pair.count >= limit for pair in waiting)
    return Taken(lease_id, rows, shared_out, more)


def is_due(waiting_sql: str, *, now: datetime) -> bool:
    """Whether anything is due that nobody holds."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS ({waiting_sql})", {"now": now, "limit": 1})
        return bool(cursor.fetchone()[0])
