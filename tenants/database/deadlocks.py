"""Doing again what PostgreSQL ended to break a deadlock: nothing of it was written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from django.db import OperationalError, connection
from psycopg.errors import DeadlockDetected

ResultT = TypeVar("ResultT")

_TIMES: Final = 3
"""Each deadlock has cost PostgreSQL's `deadlock_timeout`, a second."""


def again_after_deadlock(write: Callable[[], ResultT]) -> ResultT:
    """Call `write`, which begins and commits its own transaction, up to three times; then its error is raised."""
    for _ in range(_TIMES - 1):
        try:
            return write()
        except OperationalError as error:
            if connection.in_atomic_block or not isinstance(error.__cause__, DeadlockDetected):
                raise
    return write()
