"""How times are written down."""

from __future__ import annotations

from datetime import UTC, datetime


def written_utc(moment: datetime) -> str:
    """An aware time as the API writes them: RFC 3339, in UTC, ending in `Z`."""
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
