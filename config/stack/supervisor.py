"""Keeps the parts of a local run alive, and stops them in order."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from config.stack import leftovers
from config.stack.logs import FollowedLog, last_words
from config.stack.parts import FORK, Forked, Part
from config.stack.servers import START_TIMEOUT_S, EmbeddedServer, ServerError

_TICK_S = 0.1
_TIDY_EVERY_S = 5.0
_TAIL_LINES = 12
_TAIL_READ = 200  # lines: of a flood, what was said before it is worth a line as well
# A part that lived this long has recovered: its next death is a first one again.
_RECOVERED_AFTER_S = 60.0
_LONGEST_DELAY_S = 10.0
_HURRIED_STOP_S = 2.0

Answer = TypeVar("Answer")


class StartError(RuntimeError):
    """The stack cannot start; the message says why, for a person to read."""


class StopRequested(Exception):  # noqa: N818 - a person's wish, no error
    """Someone asked the stack to stop while it was starting."""


class Kept:
    """A part and what the supervisor knows about its lives."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.log = FollowedLog(part.log_file)
        self.deaths = 0
        self.started_at = 0.0
        self.start_again_at: float | None = None

    def start(self) -> None:
        self.started_at, self.start_again_at = time.monotonic(), None
        self.part.spawn()
        leftovers.record(self.part)

    def note_death(self) -> float:
        """Plan the next start; returns the delay in seconds."""
        if time.monotonic() - self.started_at > _RECOVERED_AFTER_S:
            self.deaths = 0
        delay = restart_delay(self.deaths)
        self.deaths += 1
        self.start_again_at = time.monotonic() + delay
        return delay


class Supervisor:
    """Starts, watches and stops parts. Single-threaded: `requests_to_stop` is asked between any two steps."""

    def __init__(self, *, say: Callable[[str], None], requests_to_stop: Callable[[], int]) -> None:
        self.say = say
        self.requests_to_stop = requests_to_stop
        """How often someone asked to stop so far: once is an orderly stop, twice a hurried one."""
        self._kept: list[Kept] = []
        self._tidy_at = 0.0

    def start(self, parts: Sequence[Part]) -> None:
        """Start parts and keep them alive from now on."""
        for part in parts:
            kept = Kept(part)
            self._kept.append(kept)
            kept.start()

    def wait_for(self, servers: Sequence[EmbeddedServer]) -> None:
        """Until servers that were started are of use; raises StartError if one is not within a minute, or dies."""
        for server in servers:
            self._wait_for(server)

    def run_to_end(self, what: str, work: Callable[[], Answer], *, log_file: Path) -> Answer:
        """Run a function in a process of its own while the parts are kept alive; raises StartError if it fails."""
        log_file.parent.mkdir(parents=True, exist_ok=True)
        receiver, sender = FORK.Pipe(duplex=False)
        with log_file.open("wb") as log:
            process = Forked(what, lambda: sender.send(work()), log)
        sender.close()
        try:
            while process.poll() is None and not receiver.poll(_TICK_S):
                self.tick()
        except StopRequested:
            os.kill(process.pid, signal.SIGTERM)
            process.wait()
            raise
        try:
            answer: Answer = receiver.recv()
        except EOFError:
            process.wait()
            words = last_words(log_file.read_text().splitlines()[-_TAIL_READ:], _TAIL_LINES)
            raise StartError(f"{what} failed:\n" + "\n".join(words)) from None
        process.wait()
        return answer

    def wait_until(self, condition: Callable[[], bool], *, timeout_s: float) -> bool:
        """Keep the parts alive until `condition` holds; False if it does not within the time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if condition():
                return True
            self.tick()
            time.sleep(_TICK_S)
        return False

    def keep_alive(self) -> None:
        """Until someone asks to stop, which ends it by StopRequested."""
        while True:
            self.tick()
            time.sleep(_TICK_S)

    def tick(self) -> None:
        """Look at every part once; raises StopRequested."""
        if self.requests_to_stop():
            raise StopRequested
        for kept in self._kept:
            self._look_at(kept)
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + _TIDY_EVERY_S
            for kept in self._kept:
                kept.log.keep_small()

    def stop(self, order: Sequence[Sequence[str]]) -> None:
        """Stop the named parts group by group; parts that are not named first of all."""
        named = {name for group in order for name in group}
        groups = [[kept for kept in self._kept if kept.part.name not in named]]
        groups += [[kept for kept in self._kept if kept.part.name in group] for group in order]
        for group in groups:
            self._stop_group([kept.part for kept in group])

    def _stop_group(self, parts: Sequence[Part]) -> None:
        if not parts:
            return
        for part in parts:
            part.ask_to_stop()
        deadline = time.monotonic() + max(part.stop_within_s for part in parts)
        while any(part.is_running() for part in parts) and time.monotonic() < deadline:
            time.sleep(_TICK_S / 4)
            if self.requests_to_stop() > 1:
                deadline = min(deadline, time.monotonic() + _HURRIED_STOP_S)
        for part in parts:
            if part.is_running():
                self.say(f"{part.name} did not stop in time and is ended; work it held is taken up again at the next start")
            part.kill()
            leftovers.forget(part)

    def _wait_for(self, server: EmbeddedServer) -> None:
        def settled() -> bool:
            return not server.is_running() or server.is_ready()

        deadline = time.monotonic() + START_TIMEOUT_S
        while not settled() and time.monotonic() < deadline:
            if self.requests_to_stop():
                raise StopRequested
            time.sleep(_TICK_S / 4)
        if not server.is_running() or not server.is_ready():
            raise StartError(f"{server.name} did not start:\n{server.log_tail()}")
        server.after_start()

    def _look_at(self, kept: Kept) -> None:
        for line in kept.log.important_lines():
            self.say(f"{kept.part.name}: {line}")
        if kept.start_again_at is not None:
            if time.monotonic() >= kept.start_again_at:
                self._start_again(kept)
        elif not kept.part.is_running():
            self._bury(kept)

    def _bury(self, kept: Kept) -> None:
        part = kept.part
        assert part.process is not None
        code = part.process.wait()
        part.kill()  # what it had started must not live on beside its successor
        delay = kept.note_death()
        when = f"in {delay:.0f} s" if delay >= 1 else "now"
        self.say(f"{part.name} ended ({_how(code)}); starting it again {when}. Its last lines:")
        for line in last_words(part.log_tail(_TAIL_READ).splitlines(), _TAIL_LINES):
            self.say(f"    {line}")

    def _start_again(self, kept: Kept) -> None:
        try:
            kept.start()
        except (OSError, ServerError) as error:
            delay = kept.note_death()
            self.say(f"{kept.part.name} cannot be started ({error}); trying again in {delay:.0f} s")


def restart_delay(deaths: int) -> float:
    """Seconds until the next start, after that many deaths in a row before this one: 0, 1, 2, 4 … 30."""
    return 0.0 if deaths == 0 else min(_LONGEST_DELAY_S, 2.0 ** (deaths - 1))


def _how(returncode: int) -> str:
    return f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
