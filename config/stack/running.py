"""The one file that says that a stack is running, and with which settings.

Whoever runs the stack holds an exclusive lock on it, so it cannot be left behind by a process that was killed. Other
processes of the project (`manage.py` in a second terminal) read from it which servers to use.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO

from config.stack.paths import StackPaths

_LOCK_TIMEOUT_S = 1.0


class AlreadyRunningError(RuntimeError):
    """Another supervisor holds this stack."""


class RunningFile:
    """The lock of a running stack; held until the process ends, however it ends."""

    def __init__(self, paths: StackPaths) -> None:
        """Take the lock; raises AlreadyRunningError if another process holds it."""
        paths.state.mkdir(parents=True, exist_ok=True)
        self._file = os.fdopen(os.open(paths.running_file, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        # A reader holds its shared lock for a moment only, so a refusal counts when it lasts.
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while not _lock(self._file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                self._file.close()
                raise AlreadyRunningError(f"already running: another `make run` holds {paths.state}")
            time.sleep(0.05)
        self._file.truncate(0)
        # A forked part that outlives its supervisor must not hold the lock for it.
        os.register_at_fork(after_in_child=self._file.close)

    def publish(self, settings: Mapping[str, str]) -> None:
        self._file.seek(0)
        self._file.truncate(0)
        json.dump(dict(settings), self._file)
        self._file.flush()

    def release(self) -> None:
        self._file.truncate(0)
        self._file.close()


def running_settings(paths: StackPaths) -> dict[str, str]:
    """The settings of the stack that runs now; {} if none does."""
    with suppress(OSError, ValueError), paths.running_file.open() as file:
        if not _lock(file, fcntl.LOCK_SH):
            return {str(name): str(value) for name, value in json.load(file).items()}
    return {}


def _lock(file: IO[str], kind: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        return True
    return False
