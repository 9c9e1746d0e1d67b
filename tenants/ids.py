"""Ids are UUIDv7 (RFC 9562, section 5.7): their first 48 bits are the milliseconds since 1970, so an id range is a time range.

Big tables are asked for a span of time through their ids, which are indexed, and not through `created_at`, which is not.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q

_CLOCK_SKEW = timedelta(minutes=1)
"""How far a row's id and its `created_at` may lie apart: the one is made in Python, the other may be the chunk's start."""

_VERSION_AND_VARIANT = (7 << 76) | (2 << 62)
_LATEST_MS = (1 << 48) - 1


def first_id_at(moment: datetime, *, skew: timedelta = timedelta()) -> UUID:
    """The smallest id that can be made in the millisecond of `moment + skew`; `moment` is aware, of any year."""
    ms = int((moment.timestamp() + skew.total_seconds()) * 1000)
    return UUID(int=(min(max(ms, 0), _LATEST_MS) << 80) | _VERSION_AND_VARIANT)


def created_within(since: datetime | None, until: datetime | None) -> Q:
    """Rows with `since <= created_at < until`, found through the index on `id`; None leaves that side open."""
    condition = Q()
    if since is not None:
        condition &= Q(id__gte=first_id_at(since, skew=-_CLOCK_SKEW), created_at__gte=since)
    if until is not None:
        condition &= Q(id__lt=first_id_at(until, skew=_CLOCK_SKEW), created_at__lt=until)
    return condition
