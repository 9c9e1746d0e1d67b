"""Parts that a killed supervisor left behind, found by the pid files it wrote and ended at the next start.

A pid alone proves nothing: it may be another program's by now. A process is taken for ours only if it began when the file
says and still runs the command the file names.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from config.stack.parts import Part
from config.stack.paths import StackPaths

# Boot time, from which start times are counted, is only known to the second or so.
_START_TOLERANCE_S = 2.0
_STOP_TIMEOUT_S = 20.0


def record(part: Part) -> None:
    """Remember the part's running process."""
    assert part.process is not None
    path = _pid_file(part.paths, part.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(psutil.NoSuchProcess):  # it died already; the supervisor will see
        process = psutil.Process(part.process.pid)
        content = {
            "pid": process.pid,
            "started": process.create_time(),
            "command": process.cmdline(),
            "signal": int(part.stop_signal),
            "server": part.is_server,
        }
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(content))
        draft.replace(path)


def forget(part: Part) -> None:
    _pid_file(part.paths, part.name).unlink(missing_ok=True)


def end_leftovers(paths: StackPaths) -> list[str]:
    """End what an earlier supervisor of this stack left running, servers last; returns the names of the parts."""
    found = [leftover for file in sorted(paths.pids.glob("*.json")) if (leftover := _read(file))]
    _end([leftover for leftover in found if not leftover.is_server])
    _end([leftover for leftover in found if leftover.is_server])
    for file in paths.pids.glob("*"):
        file.unlink()
    return [leftover.name for leftover in found]


@dataclass(frozen=True, slots=True)
class _Leftover:
    name: str
    process: psutil.Process
    stop_signal: signal.Signals
    is_server: bool


def _read(file: Path) -> _Leftover | None:
    """The process that the file is about, if it still runs."""
    with suppress(ValueError, KeyError, psutil.Error):
        content = json.loads(file.read_text())
        process = psutil.Process(content["pid"])
        if _is_ours(process, content["started"], content["command"]):
            return _Leftover(file.stem, process, signal.Signals(content["signal"]), content.get("server", False))
    return None


def _end(leftovers: Sequence[_Leftover]) -> None:
    """Ask them to stop, and kill what did not, with whatever it had started."""
    family: list[psutil.Process] = []
    for leftover in leftovers:
        with suppress(psutil.Error):
            family += [leftover.process, *leftover.process.children(recursive=True)]
            leftover.process.send_signal(leftover.stop_signal)
    _, alive = psutil.wait_procs(family, timeout=_STOP_TIMEOUT_S)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=_STOP_TIMEOUT_S)


def _is_ours(process: psutil.Process, started: float, command: list[str]) -> bool:
    same_time = abs(process.create_time() - started) < _START_TOLERANCE_S
    return same_time and bool(process.cmdline() == command) and bool(process.pid != os.getpid())


def _pid_file(paths: StackPaths, name: str) -> Path:
    return paths.pids / f"{name}.json"
