"""One line on a terminal that says how far a scenario has come; nothing at all elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_WIDTH = 30
_EVERY_S = 0.1


class Progress:
    def __init__(self, name: str) -> None:
        self.name = name
        self._shown_at = 0.0

    def show(self, done: float, total: float) -> None:
        """`done` of `total`, in whatever unit; cheap to call often."""
        now = time.monotonic()
        if not sys.stderr.isatty() or now - self._shown_at < _EVERY_S:
            return
        self._shown_at = now
        share = min(done / total, 1.0) if total else 0.0
        bar = "█" * round(share * _WIDTH)
        sys.stderr.write(f"\r{self.name:<14} {bar:<{_WIDTH}} {share:4.0%}")
        sys.stderr.flush()


@contextmanager
def progress(name: str) -> Iterator[Progress]:
    """The line, wiped away at the end."""
    try:
        yield Progress(name)
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
