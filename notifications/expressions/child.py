"""The guard's program: evaluates one CEL expression after another; the kernel ends it at the first that takes too long.

Run by its path, it imports nothing of the service. Arguments: seconds of CPU time for one evaluation, bytes of memory.
Standard input is one end of a socket pair. Frames both ways: length (4 bytes, big-endian), then msgpack. Request:
`[expression, variables]`. Answer: `[whether it came to a value, seconds of CPU time, the value or what was wrong]`.
The other end's closing ends the program.
"""

from __future__ import annotations

import functools
import os
import resource
import signal
import socket
import sys
import time
from datetime import timedelta
from typing import Any

import cel
import msgspec

LONGEST_ANSWER = 2 << 20
"""Bytes; a thousand user ids are at most half of it."""
DURATION = 1
"""The extension type (msgpack) of a duration: its microseconds as text."""
_LONGEST_ERROR = 500

_program = functools.lru_cache(maxsize=512)(cel.compile)


def main() -> None:
    cpu_s, memory = float(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the parent's matter
    # The default action, which no code is asked for: native code that is busy is ended all the same.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere the address space cannot be limited reliably
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    with socket.socket(fileno=0) as link:
        while (request := _receive(link)) is not None:
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
            answer = _answer(request)
            del request
            link.sendall(len(answer).to_bytes(4, "big") + answer)
            signal.setitimer(signal.ITIMER_PROF, 0)


def _receive(link: socket.socket) -> bytes | None:
    header = link.recv(4, socket.MSG_WAITALL)
    if len(header) < 4:
        return None
    length = int.from_bytes(header, "big")
    body = link.recv(length, socket.MSG_WAITALL)
    return body if len(body) == length else None


def _answer(request: bytes) -> bytes:
    before = time.process_time()
    try:
        good, value = True, _value(request)
    except MemoryError:
        os.abort()  # as Rust does: a fresh start, and one sign of it for the parent
    except BaseException as error:  # noqa: BLE001 - the library's faults are of many kinds, a Rust panic among them
        good, value = False, msgspec.msgpack.encode(str(error)[:_LONGEST_ERROR])
    return msgspec.msgpack.encode((good, time.process_time() - before, msgspec.Raw(value)))


def _value(request: bytes) -> bytes:
    expression, variables = msgspec.msgpack.decode(request)
    value = msgspec.msgpack.encode(_portable(_program(expression).execute(variables)))
    if len(value) > LONGEST_ANSWER:
        raise ValueError(f"it came to a value of {len(value)} bytes, more than {LONGEST_ANSWER}")
    return value


def _portable(value: Any) -> Any:
    """The value with durations marked: as they are, they would arrive as text."""
    if isinstance(value, timedelta):
        return msgspec.msgpack.Ext(DURATION, str(value // timedelta(microseconds=1)).encode())
    if isinstance(value, list):
        return [_portable(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _portable(entry) for key, entry in value.items()}
    return value


if __name__ == "__main__":
    main()
