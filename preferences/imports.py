"""Many recipients at once: the good rows are stored, the bad ones named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from preferences import services
from preferences.serializers import read_rows
from preferences.spreadsheets import Sheet
from tenants.models import Tenant


def import_recipients(tenant: Tenant, rows: Sequence[Any] | Sheet) -> dict[str, Any]:
    """The report, as `BulkReportSerializer` shows it; faults of a sheet's rows name the line too."""
    if isinstance(rows, Sheet):
        good, errors = read_rows(rows.rows)
        errors = [error | {"line": rows.lines[error["index"]]} for error in errors]
    else:
        good, errors = read_rows(rows)
    stored = services.upsert_recipients(tenant=tenant, recipients=good)
    return {
        "success": not errors,
        "created": sum(stored.values()),
        "updated": len(stored) - sum(stored.values()),
        "rejected": len({error["index"] for error in errors}),
        "errors": errors,
    }
