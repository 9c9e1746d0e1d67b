"""A local run as a test starts it: the real supervisor, with a state folder and a port of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from config.environment import KNOWN
from config.stack.paths import PROJECT_DIR
from tests.acceptance.conftest import eventually, free_port

START_TIMEOUT_S = 90.0


class LocalRun:
    """One `python -m config.stack`."""

    def __init__(self, state: Path, **settings: str) -> None:
        self.state = state
        self.port = int(settings.get("PORT", 0)) or free_port()
        given = {name: value for name, value in os.environ.items() if name not in KNOWN}
        self.second_terminal = {**given, "LOCAL_STATE_DIR": str(state)}
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "config.stack"],
            cwd=PROJECT_DIR,
            env={**self.second_terminal, **settings, "PORT": str(self.port)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_ready(self) -> None:
        eventually(lambda: "Ready. " in self.output or self.process.poll() is not None, within_s=START_TIMEOUT_S)
        assert self.process.poll() is None, self.output

    def ended(self, within_s: float = 60) -> int:
        code = self.process.wait(within_s)
        self._reader.join()
        return code

    def family(self) -> list[psutil.Process]:
        """Everything the run started that lives now."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def pid_of(self, part: str) -> int:
        try:
            return int(json.loads((self.state / "pids" / f"{part}.json").read_text())["pid"])
        except FileNotFoundError:
            return 0

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 0, b""

    def manage(self, *arguments: str) -> str:
        """What a `manage.py` command prints that somebody calls in a second terminal, without the run's own settings."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=PROJECT_DIR, env=self.second_terminal, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def stop(self) -> None:
        """For clean-up, whatever state the test left it in."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                for process in [*self.family(), psutil.Process(self.process.pid)]:
                    process.kill()
        self._reader.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()
