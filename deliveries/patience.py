"""Writing down what cannot be undone, though the database be away for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar

import structlog
from django.db import InterfaceError, OperationalError, connection
from django.utils.timezone import now as clock

logger = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")

BEYOND_LEASE: Final = timedelta(minutes=2)
"""For so long an outcome is kept after its lease ran out: while the database is away, nobody else takes the lease over."""
_PAUSE_S: Final = 0.5


def patiently(write: Callable[[], ResultT], *, until: datetime) -> ResultT:
    """Call `write`, again and again while the database cannot be reached, until `until`; then raise its error.

    `write` begins and commits its own transaction. One whose commit's answer got lost is repeated: it must change nothing then.
    """
    while True:
        try:
            return write()
        except (OperationalError, InterfaceError) as error:
            if connection.in_atomic_block or clock() >= until:
                raise
            logger.warning("record_delayed", error=type(error).__name__)
            connection.close()
            time.sleep(_PAUSE_S)  # the worker has nothing better to do: it holds the outcomes
