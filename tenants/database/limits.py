"""How long a statement may take before its caller gives up.

A server that is frozen, or cut off without a word, answers nothing and closes nothing; without a limit a request waits for it
until somebody restarts something. The server's own `statement_timeout` does not help then, and poolers will not have it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

REQUEST_S = 10.0
"""In a request: the caller would rather be told to come back."""
TASK_S = 25.0
"""In a task: what takes longer outlasts the lease on its events."""

_limit_s: ContextVar[float | None] = ContextVar("statement_limit_s", default=None)


def limit_statements(seconds: float | None) -> None:
    """From here on, in this thread or task; None: they may take for ever, as in migrations."""
    _limit_s.set(seconds)


@contextmanager
def statements_within(seconds: float) -> Iterator[None]:
    token = _limit_s.set(seconds)
    try:
        yield
    finally:
        _limit_s.reset(token)


def statement_limit_s() -> float | None:
    return _limit_s.get()
