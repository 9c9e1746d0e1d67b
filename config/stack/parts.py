"""A part of the stack: one long-lived process that is started, watched, stopped, and started again if it dies."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pwd
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from config.stack.paths import StackPaths

FORK = multiprocessing.get_context("fork")
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # prctl(2)
# Looked up here: between fork and exec nothing may be imported.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Process(Protocol):
    """What the standard library's two kinds of child process have in common."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""

    def wait(self) -> int: ...


class Part(ABC):
    """One process, in a session of its own, so that a terminal's Ctrl-C reaches the supervisor alone."""

    name: str
    stop_signal = signal.SIGTERM
    orphan_signal = signal.SIGTERM
    """What the kernel sends it when its supervisor is gone."""
    is_server = False
    """Whether the other parts need it until they have ended."""
    stop_within_s = 30.0
    """How long an orderly stop may take before the process is killed."""

    def __init__(self, paths: StackPaths) -> None:
        self.paths = paths
        self.log_file = paths.logs / f"{self.name}.log"
        self.process: Process | None = None

    @abstractmethod
    def launch(self, log: IO[bytes]) -> Process:
        """Start the process, its output going to `log`."""

    def prepare(self) -> None:  # noqa: B027 - most parts need nothing
        """Make ready what the process finds at its start; called before every start, idempotent."""

    def spawn(self) -> Process:
        """Start the process and return at once."""
        self.paths.logs.mkdir(parents=True, exist_ok=True)
        self.prepare()
        with self.log_file.open("ab") as log:
            self.process = self.launch(log)
        return self.process

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ask_to_stop(self) -> None:
        if self.process is not None and self.is_running():
            os.kill(self.process.pid, self.stop_signal)

    def kill(self) -> None:
        """End the process and whatever it started, at once."""
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """Ask, wait, and kill what did not go."""
        self.ask_to_stop()
        wait_until(lambda: not self.is_running(), self.stop_within_s)
        self.kill()

    def log_tail(self, lines: int = 20) -> str:
        with suppress(OSError):
            return "\n".join(_last_lines(self.log_file, lines))
        return "(no log)"


class CommandPart(Part):
    """Another program."""

    @abstractmethod
    def command(self) -> Sequence[str]: ...

    def run_as(self) -> pwd.struct_passwd | None:
        """The account to run as, where it may not be ours."""
        return None

    def launch(self, log: IO[bytes]) -> Process:
        account, parent = self.run_as(), os.getpid()
        return subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            start_new_session=True,
            preexec_fn=lambda: _die_with_parent(self.orphan_signal, parent),  # noqa: PLW1509 - system calls only, no lock
        )


class ForkedPart(Part):
    """A function of this program, in a copy of this process: what was imported before need not be imported again."""

    def __init__(self, paths: StackPaths, name: str, work: Callable[[], object], *, stop_within_s: float = 30.0) -> None:
        self.name = name
        self.work = work
        self.stop_within_s = stop_within_s
        super().__init__(paths)

    def launch(self, log: IO[bytes]) -> Process:
        return Forked(self.name, self.work, log)


class Forked:
    """A forked process that runs a function; SIGINT and SIGTERM end it in order, as if the function had returned."""

    def __init__(self, name: str, work: Callable[[], object], log: IO[bytes]) -> None:
        self._process = FORK.Process(target=self._run, args=(name, work, log, os.getpid()), name=name)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int:
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    @staticmethod
    def _run(name: str, work: Callable[[], object], log: IO[bytes], parent: int) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _leave)
        os.setsid()
        _die_with_parent(signal.SIGTERM, parent)
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_NAME, name.encode())
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
        sys.stdout = sys.stderr = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 - for as long as it lives
        work()


def _leave(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether the condition came to hold within the time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _die_with_parent(number: signal.Signals, parent: int) -> None:
    """Have the kernel send `number` to this process when its supervisor is gone, even by SIGKILL (Linux only)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it was gone before the kernel was asked
            os.kill(os.getpid(), number)


def _last_lines(path: Path, count: int) -> list[str]:
    with path.open("rb") as file:
        start = file.seek(max(0, path.stat().st_size - 64 * 1024))
        lines = file.read().decode(errors="replace").splitlines()
    whole = lines[1:] if start and len(lines) > 1 else lines  # the first may have begun before
    return whole[-count:]
