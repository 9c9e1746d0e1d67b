"""The parts' log files: kept small, and the important lines of them shown on the terminal."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

_LARGEST_LOG = 10 * 1024 * 1024  # bytes; one older file of that size is kept beside it
_READ_AT_ONCE = 256 * 1024
_IMPORTANT = frozenset({"error", "critical"})
_LINES_PER_BURST = 3
_BURST_S = 10.0
_LONGEST_LINE, _LONGEST_VALUE = 160, 80  # characters
_TRACE_LINES = 3  # where it was raised, and what
_LEFT_OUT = frozenset({"level", "message", "exception", "timestamp", "logger", "task", "task_id", "request_id"})
_IDS = ("_id", "_uid", "_ids", "_uids")


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


def last_words(lines: Iterable[str], most: int) -> list[str]:
    """The end of a log in at most `most` lines for a person: JSON lines in short, repetitions once, with their number.

    JSON lines that differ in ids alone are repetitions, whatever stands between them; other lines only one after the other,
    since those of a traceback belong together.
    """
    said: dict[Hashable, _Said] = {}
    key: Hashable = None
    for number, line in enumerate(lines):
        words = _words_of(line)
        if words.is_plain:
            key = key if key in said and said[key].words == words else number
        else:
            key = words.without_ids, words.exception
        before = said.pop(key, None)  # it takes its place at the end
        said[key] = _Said(words) if before is None else before.again(words)
    shown: list[str] = []
    for one in reversed(said.values()):
        block = one.block()
        if shown and len(shown) + len(block) > most:
            break
        shown[:0] = block
    return shown[:most]


@dataclass(frozen=True, slots=True)
class _Words:
    text: str
    without_ids: str
    exception: tuple[str, ...] = ()
    is_plain: bool = False


@dataclass(frozen=True, slots=True)
class _Said:
    words: _Words
    times: int = 1

    def again(self, words: _Words) -> _Said:
        return _Said(words if words == self.words else replace(words, text=words.without_ids), self.times + 1)

    def block(self) -> list[str]:
        times = f"{self.times} × " if self.times > 1 else ""
        return [_cut(times + self.words.text, _LONGEST_LINE), *(_cut(line, _LONGEST_LINE) for line in self.words.exception)]


def _words_of(line: str) -> _Words:
    try:
        entry = json.loads(line)
        said = _in_one_line(f"{entry['level']}: {entry['message']}")
    except (ValueError, KeyError, TypeError):
        return _Words(line, line, is_plain=True)
    fields = {name: _value(value) for name, value in entry.items() if name not in _LEFT_OUT and value not in ("", None)}
    ids = [f"{name}={value}" for name, value in fields.items() if name.endswith(_IDS)]
    others = [f"{name}={value}" for name, value in fields.items() if not name.endswith(_IDS)]
    trace = [line for line in str(entry.get("exception", "")).splitlines() if line.strip(" ^~")]
    # Ids stand last, where the end of the line cuts them first.
    return _Words(" ".join([said, *others, *ids]), " ".join([said, *others]), tuple(trace[-_TRACE_LINES:]))


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = _cut(_in_one_line(text), _LONGEST_VALUE)
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) and set(text) & set(' "=') else text


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
