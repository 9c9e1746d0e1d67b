"""Tenants take turns: how a claim is shared out among those who wait."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass


def pairs_sql(table: str, is_open: str) -> str:
    """SQL that begins a statement: `pair (priority, tenant_id)` of all rows of a table that wait, due or not.

    A loose scan (PostgreSQL's wiki, "Loose indexscan") over an index on (priority, tenant_id, due_at) of the rows that
    `is_open` holds for: it hops from one pair to the next, so that a million rows of one tenant cost one probe.
    """
    return f"""
WITH RECURSIVE pair AS (
    (SELECT priority, tenant_id FROM {table} WHERE {is_open} ORDER BY priority, tenant_id LIMIT 1)
    UNION ALL
    SELECT next.priority, next.tenant_id FROM pair, LATERAL (
        SELECT priority, tenant_id FROM {table}
        WHERE {is_open} AND (priority, tenant_id) > (pair.priority, pair.tenant_id)
        ORDER BY priority, tenant_id LIMIT 1
    ) next
)
"""  # noqa: S608 - made of constants


def waiting_sql(table: str, is_open: str) -> str:
    """A statement whose rows are `Waiting`: what is due, and in nobody's hands, of each pair. Parameters: now, limit."""
    return f"""{pairs_sql(table, is_open)}
SELECT pair.priority, pair.tenant_id, due.waiting FROM pair, LATERAL (
    SELECT count(*) AS waiting FROM (
        SELECT FROM {table} w
        WHERE {is_open} AND w.priority = pair.priority AND w.tenant_id = pair.tenant_id AND w.due_at <= %(now)s
          AND (w.lease_until IS NULL OR w.lease_until < %(now)s)
        ORDER BY w.due_at LIMIT %(limit)s
    ) capped
) due
WHERE due.waiting > 0
"""  # noqa: S608 - made of constants


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is due of one tenant in one class of priority; `count` stops at the size of a claim."""

    priority: int
    tenant_id: int
    count: int


def divide(waiting: Sequence[Waiting], limit: int) -> list[tuple[Waiting, int]]:
    """Who may bring how many: the most urgent class first; in a class everyone alike, what one leaves free to the others."""
    shares: list[tuple[Waiting, int]] = []
    left = limit
    for _, group in itertools.groupby(
        sorted(waiting, key=lambda pair: (pair.priority, pair.count)), key=lambda pair: pair.priority
    ):
        pairs = list(group)
        for position, pair in enumerate(pairs):  # the smallest first, so that each remainder is known when it is divided
            share = min(pair.count, math.ceil(left / (len(pairs) - position)), left)
            if share:
                shares.append((pair, share))
                left -= share
    return shares
