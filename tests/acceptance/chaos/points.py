"""The crash points: what is struck, and when it counts as back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from tests.acceptance.conftest import eventually
from tests.acceptance.stand import Stand, strike_all

_HANGS_FOR_S = 10.0
LIMIT_S = 90.0
"""All accepted work is final so soon after the struck part is back."""
_AT_ONCE_S = 10.0
"""For a stop in order, after which nothing may wait for a lease."""
_AT_WORK_WITHIN_S = 3.0

_PIPELINE_HOLDS = """
SELECT EXISTS (SELECT FROM notifications_event WHERE status = 0 AND lease_until > now())
    OR EXISTS (SELECT FROM deliveries_delivery WHERE status = 1 AND channel = 4)
"""
_SENDERS_HOLD = "SELECT EXISTS (SELECT FROM deliveries_delivery WHERE status = 1 AND channel = 1)"


@dataclass(frozen=True, slots=True)
class CrashPoint:
    about: str
    strike: Callable[[Stand], None]
    """Strikes, and returns when the part is back."""
    limit_s: float = LIMIT_S
    only_single: bool = False
    """Whether all events are posted singly."""


def _killed(part: str, *, times: int = 1) -> Callable[[Stand], None]:
    def strike(stand: Stand) -> None:
        for _ in range(times):
            pid = stand.run.pid_of(part)
            os.kill(pid, signal.SIGKILL)
            stand.wait_back(part, pid)

    return strike


def _hangs(part: str) -> Callable[[Stand], None]:
    def strike(stand: Stand) -> None:
        family = stand.family_of(part)
        strike_all(family, signal.SIGSTOP)
        time.sleep(_HANGS_FOR_S)
        strike_all(family, signal.SIGCONT)
        eventually(lambda: stand.answers(part))

    return strike


def _killed_at_work(part: str, holds: str) -> Callable[[Stand], None]:
    def strike(stand: Stand) -> None:
        family = stand.family_of(part)
        _stop_at_work(stand, family, holds)
        os.kill(family[0].pid, signal.SIGKILL)
        strike_all(family, signal.SIGCONT)
        stand.wait_back(part, family[0].pid)

    return strike


def _kill_a_child(stand: Stand) -> None:
    pipeline = psutil.Process(stand.run.pid_of("pipeline"))
    children = pipeline.children()
    _stop_at_work(stand, children[:1], _PIPELINE_HOLDS)
    children[0].kill()
    eventually(lambda: len(set(pipeline.children()) - set(children[:1])) == len(children))


def _stop_at_work(stand: Stand, processes: Sequence[psutil.Process], holds: str) -> None:
    """Stop them at a moment when work is in hand: a kill between two pieces of work would prove little."""
    deadline = time.monotonic() + _AT_WORK_WITHIN_S
    strike_all(processes, signal.SIGSTOP)
    while stand.rows(holds) != [(True,)] and time.monotonic() < deadline:
        strike_all(processes, signal.SIGCONT)
        strike_all(processes, signal.SIGSTOP)


def _kill_redis_unattended(stand: Stand) -> None:
    scheduler = stand.family_of("scheduler")
    strike_all(scheduler, signal.SIGSTOP)
    _killed("redis")(stand)
    time.sleep(_HANGS_FOR_S)
    strike_all(scheduler, signal.SIGCONT)


def _kill_supervisor(stand: Stand) -> None:
    stand.run.process.kill()
    stand.start_again()


def _stop_in_order(stand: Stand) -> None:
    stand.run.process.send_signal(signal.SIGTERM)
    stand.start_again()


CRASH_POINTS = {
    "worker child": CrashPoint("kill -9 of one of the pipeline worker's two processes", _kill_a_child),
    "pipeline worker": CrashPoint("kill -9 of the pipeline worker", _killed_at_work("pipeline", _PIPELINE_HOLDS)),
    "send worker": CrashPoint("kill -9 of the send worker", _killed_at_work("send", _SENDERS_HOLD)),
    "scheduler": CrashPoint("kill -9 of the scheduler", _killed("scheduler")),
    "web": CrashPoint("kill -9 of the web process", _killed("web")),
    "valkey": CrashPoint("kill -9 of Valkey; all it held is gone", _killed("redis")),
    "valkey thrice": CrashPoint(
        "the same three times in a row, under single posts", _killed("redis", times=3), only_single=True
    ),
    "valkey hangs": CrashPoint("SIGSTOP of Valkey for 10 s", _hangs("redis")),
    "valkey unattended": CrashPoint("kill -9 of Valkey while the scheduler is stopped, for 10 s more", _kill_redis_unattended),
    "postgres": CrashPoint("kill -9 of PostgreSQL's postmaster", _killed("postgres")),
    "postgres hangs": CrashPoint("SIGSTOP of all of PostgreSQL's processes for 10 s", _hangs("postgres")),
    "supervisor": CrashPoint("kill -9 of the supervisor, and a new start on the same state", _kill_supervisor),
    "stop": CrashPoint("SIGTERM of the whole, and a new start", _stop_in_order, limit_s=_AT_ONCE_S),
}
