"""Who wants the stack to stop, and how urgently."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequests:
    """Counts the requests to stop. To be made once, in the main thread, before anything is started."""

    def __init__(self) -> None:
        self._signals = 0
        # `make` waits for its recipe and passes SIGTERM on, but not SIGINT (a terminal sends that to both by itself).
        parent = os.getppid()
        self._make = parent if _is_make(parent) and _catches_sigint(parent) else None
        for number in _STOPPING:
            # nohup means "stay when the terminal goes"
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._note)

    def count(self) -> int:
        if self._make is not None and (os.getppid() != self._make or not _catches_sigint(self._make)):
            self._make = None
            if not self._signals:
                self._signals = 1
        return self._signals

    def _note(self, _number: int, _frame: object) -> None:
        self._signals += 1


def _is_make(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip() in {"make", "gmake"}
    return False


def _catches_sigint(pid: int) -> bool:
    """Whether a process has a handler for SIGINT. GNU make drops its own once it got one, and then waits (Linux only)."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGINT - 1) & 1)
    return False
