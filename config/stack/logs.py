"""The parts' log files: kept small, and the important lines of them shown on the terminal."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

_LARGEST_LOG = 10 * 1024 * 1024  # bytes; one older file of that size is kept beside it
_READ_AT_ONCE = 256 * 1024
_IMPORTANT = frozenset({"error", "critical"})
_LINES_PER_BURST = 3
_BURST_S = 10.0


class FollowedLog:
    """One part's log, from its present end on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._burst_ends = 0.0
        self._shown = self._left_out = 0

    def important_lines(self) -> Iterator[str]:
        """What was logged as an error since the last call; of a flood, the first lines and then their number."""
        if time.monotonic() > self._burst_ends:
            if self._left_out:
                yield f"… and {self._left_out} more, in {self.path}"
            self._burst_ends = time.monotonic() + _BURST_S
            self._shown = self._left_out = 0
        for line in self._new_lines():
            message = _important(line)
            if message and self._shown < _LINES_PER_BURST:
                self._shown += 1
                yield message
            elif message:
                self._left_out += 1

    def keep_small(self) -> None:
        """Move a large log aside. The process keeps its open file: what it writes during the copy may be lost."""
        if self.path.exists() and self.path.stat().st_size > _LARGEST_LOG:
            shutil.copyfile(self.path, self.path.with_suffix(".log.1"))
            with self.path.open("r+b") as file:
                file.truncate(0)

    def _new_lines(self) -> list[str]:
        if not self.path.exists():
            return []
        size = self.path.stat().st_size
        self._offset = 0 if size < self._offset else max(self._offset, size - _READ_AT_ONCE)
        with self.path.open("rb") as file:
            file.seek(self._offset)
            content = file.read()
        whole, newline, _ = content.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return whole.decode(errors="replace").splitlines()


def _important(line: str) -> str:
    """The line as a person reads it, or "" if it can wait; only the project's own JSON lines say how important they are."""
    try:
        entry = json.loads(line)
        if entry["level"] not in _IMPORTANT:
            return ""
    except (ValueError, KeyError, TypeError):
        return ""
    exception = str(entry.get("exception", "")).strip().splitlines()
    return " · ".join([str(entry.get("message", "")), *exception[-1:]])


def readable(line: str) -> str:
    """A JSON log line in short; any other line as it is."""
    try:
        entry = json.loads(line)
        return f"{entry['level']}: {entry['message']}" + (f"\n{entry['exception']}" if "exception" in entry else "")
    except (ValueError, KeyError, TypeError):
        return line
