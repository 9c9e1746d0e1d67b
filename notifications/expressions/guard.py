"""A small process of each worker's own that evaluates what might take long, and may be killed for it.

Native code in a busy loop hears no exception and no time limit of Celery's; only the kernel stops it, and only by ending its
process. So expressions whose cost nobody can foretell are evaluated in a process that can be spared.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from notifications.expressions import child

CPU_S = 1.0
MEMORY = 512 << 20
"""Bytes of address space; an idle guard takes 50 MB, one with a payload of 512 KB in hand 150 MB."""
WALL_S = 10.0
"""For an answer in all, should the guard be stopped or the machine be overloaded."""
TURN_S = 15.0
"""For a turn, while other threads have theirs: more than the longest of them takes."""
_LEAVE_S = 5.0


class Answer(NamedTuple):
    good: bool
    """Whether the expression came to a value."""
    cpu_s: float
    value: Any
    """The value, or what was wrong."""


class Killed(Exception):  # noqa: N818 - what happened to the guard
    """The evaluation did not come to an end; the message says why."""

    def __init__(self, why: str, *, cpu_s: float) -> None:
        super().__init__(why)
        self.cpu_s = cpu_s


class NoTurn(Exception):  # noqa: N818 - as above
    """Other threads kept the guard busy all the time; the message says so."""


class _Interrupted(Exception):  # noqa: N818 - as above
    """The guard died, and not of the expression as far as one can see."""


class Guard:
    """One child process, started when it is first needed and again after each death. Threads take turns."""

    def __init__(self, *, cpu_s: float = CPU_S, memory: int = MEMORY, wall_s: float = WALL_S, turn_s: float = TURN_S) -> None:
        self._cpu_s, self._memory, self._wall_s, self._turn_s = cpu_s, memory, wall_s, turn_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def evaluate(self, request: bytes) -> Answer:
        """Answer a `request_of`; raises Killed or NoTurn. An OSError means that the machine has no process to give."""
        lock = self._lock
        if not lock.acquire(timeout=self._turn_s):
            raise NoTurn(f"the guard was busy with others for {self._turn_s:g} s")
        try:
            return self._exchange(request)
        except _Interrupted:  # someone ended it, perhaps long ago
            try:
                return self._exchange(request)
            except _Interrupted as error:
                raise Killed(str(error), cpu_s=self._cpu_s) from None
        finally:
            lock.release()

    def close(self) -> None:
        """End the child; the next evaluation starts another one."""
        with self._lock:
            self._end(signal.SIGKILL)

    def forget(self) -> None:
        """In a forked process: the child is the parent's. It must not be kept alive by a copy of the parent's socket."""
        self._lock = threading.Lock()
        if self._process is not None and self._link is not None:
            self._process.returncode = 0  # not ours to wait for
            self._link.close()
        self._process = self._link = None

    def _exchange(self, request: bytes) -> Answer:
        deadline = time.monotonic() + self._wall_s
        if self._process is not None and self._process.poll() is not None:
            self._end()
        link = self._link or self._start()
        try:
            link.settimeout(self._wall_s)
            link.sendall(len(request).to_bytes(4, "big") + request)
            length = int.from_bytes(_received(link, 4, deadline), "big")
            return Answer(*_DECODER.decode(_received(link, length, deadline)))
        except TimeoutError:
            self._end(signal.SIGKILL)
            raise Killed(f"it gave no answer within {self._wall_s:g} s", cpu_s=self._cpu_s) from None
        except (ConnectionError, EOFError):
            raise self._fault(self._end()) from None
        except BaseException:  # a task's time limit, a Ctrl-C: the answer on its way is nobody's
            self._end(signal.SIGKILL)
            raise

    def _fault(self, code: int) -> Exception:
        if code == -signal.SIGPROF:
            return Killed(f"it took more than {self._cpu_s:g} s of CPU time", cpu_s=self._cpu_s)
        if code == -signal.SIGABRT:  # an allocation failed
            return Killed(f"it needed more than {self._memory >> 20} MB of memory", cpu_s=self._cpu_s)
        return _Interrupted(f"its evaluation was ended (code {code})")

    def _start(self) -> socket.socket:
        link, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    [sys.executable, "-I", str(_PROGRAM), str(self._cpu_s), str(self._memory)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                )
            except BaseException:
                link.close()
                raise
        self._link = link
        return link

    def _end(self, number: signal.Signals | None = None) -> int:
        """Let the child go, by a signal if need be; gives its exit code."""
        process, link, self._process, self._link = self._process, self._link, None, None
        if process is None or link is None:
            return 0
        link.close()
        if number is not None:
            process.send_signal(number)
        try:
            return process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def request_of(expression: str, variables: Mapping[str, Any]) -> bytes:
    """What `Guard.evaluate` is asked; raises whatever keeps the variables from being written."""
    try:
        return msgspec.msgpack.encode((expression, variables))
    except OverflowError:
        return msgspec.msgpack.encode((expression, _narrowed(variables)))


def _narrowed(value: Any) -> Any:
    """Integers beyond 64 bits as floating-point numbers, as CEL's library takes them too."""
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return float(value)
    if isinstance(value, list):
        return [_narrowed(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: _narrowed(entry) for key, entry in value.items()}
    return value


def _received(link: socket.socket, length: int, deadline: float) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        link.settimeout(left)
        part = link.recv(length - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _extension(code: int, data: memoryview) -> Any:
    assert code == child.DURATION
    return timedelta(microseconds=int(bytes(data)))


_PROGRAM = Path(child.__file__)
_DECODER = msgspec.msgpack.Decoder(tuple[bool, float, Any], ext_hook=_extension)

guard = Guard()
"""This process's."""


def _leave() -> None:
    with suppress(OSError):
        guard.close()


os.register_at_fork(after_in_child=guard.forget)
atexit.register(_leave)
