"""Parts that a killed supervisor left behind, found by the pid files it wrote and ended at the next start.

A pid alone proves nothing: it may be another program's by now. A process is taken for ours only if it began when the file
says and still runs the command the file names.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
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
        }
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(content))
        draft.replace(path)


def forget(part: Part) -> None:
    _pid_file(part.paths, part.name).unlink(missing_ok=True)


def end_leftovers(paths: StackPaths) -> list[str]:
    """End what an earlier supervisor of this stack left running; returns the names of the parts."""
    found: dict[str, list[psutil.Process]] = {}
    for file in sorted(paths.pids.glob("*.json")):
        with suppress(ValueError, KeyError, psutil.Error):
            content = json.loads(file.read_text())
            process = psutil.Process(content["pid"])
            if _is_ours(process, content["started"], content["command"]):
                found[file.stem] = [process, *process.children(recursive=True)]
                process.send_signal(signal.Signals(content["signal"]))
    _, alive = psutil.wait_procs([process for family in found.values() for process in family], timeout=_STOP_TIMEOUT_S)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=_STOP_TIMEOUT_S)
    for file in paths.pids.glob("*"):
        file.unlink()
    return list(found)


def _is_ours(process: psutil.Process, started: float, command: list[str]) -> bool:
    same_time = abs(process.create_time() - started) < _START_TOLERANCE_S
    return same_time and bool(process.cmdline() == command) and bool(process.pid != os.getpid())


def _pid_file(paths: StackPaths, name: str) -> Path:
    return paths.pids / f"{name}.json"
