"""A short-lived connection to PostgreSQL for questions about it, apart from those that do the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from django.db.backends.utils import CursorWrapper

# A peer that vanished without a word is given up after about eight seconds, not after the kernel's two hours.
_IMPATIENT = {"connect_timeout": 2, "keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 1, "keepalives_count": 3}


@contextmanager
def short_cursor(statement_timeout_ms: int) -> Iterator[CursorWrapper]:
    """A cursor on a connection of its own, made with the settings of the service's; each statement has a time limit."""
    own = connection.copy()
    own.settings_dict["OPTIONS"] |= _IMPATIENT
    try:
        own.set_autocommit(False)
        with own.cursor() as cursor:
            # For this transaction only: behind a pooler in transaction mode the server's connection is not ours to set up.
            cursor.execute(f"SET LOCAL statement_timeout = {statement_timeout_ms:d}")
            yield cursor
    finally:
        own.close()
