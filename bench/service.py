"""The service under test: `make run`'s own command, on a port and in a folder of its own, set up as in production."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from config.environment import KNOWN
from config.stack.parts import CommandPart
from config.stack.paths import PROJECT_DIR, StackPaths, stack_paths

STATE = ".local/bench"
_START_TIMEOUT_S = 120.0


class ServiceError(RuntimeError):
    """The service could not be started; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The running service, and what a client needs to talk to it."""

    port: int
    api_key: str
    tokens: Mapping[str, str]
    """User tokens of the users whose sockets are opened."""
    paths: StackPaths

    @property
    def database_url(self) -> str:
        return self.paths.database_url

    @property
    def redis_url(self) -> str:
        return self.paths.redis_url

    def websocket_url(self, user_id: str) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/notifications/?token={self.tokens[user_id]}"


class _Stack(CommandPart):
    """The whole stack as one part: told to stop when the benchmark goes, even by SIGKILL."""

    name = "stack"
    stop_within_s = 60.0

    def command(self) -> list[str]:
        return [sys.executable, "-m", "config.stack"]


@contextmanager
def running_service() -> Iterator[Service]:
    """The service with a tenant, users and a template, for as long as the block lasts; nothing of it stays."""
    paths = stack_paths(PROJECT_DIR / STATE)
    _forget(paths)
    port = _free_port()
    _settle_environment(port)
    stack = _Stack(paths)
    try:
        stack.spawn()
        _wait_until_healthy(stack, port)
        seeded = json.loads(run("-m", "bench.seed"))
        yield Service(
            port=port,
            api_key=seeded["apiKey"],
            tokens=seeded["tokens"],
            paths=paths,
        )
    finally:
        stack.stop()
        _forget(paths)


def run(*arguments: str, **environment: str) -> str:
    """Run a Python program of the project to its end; returns what it printed, raises ServiceError."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT_DIR,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServiceError(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _settle_environment(port: int) -> None:
    """Give this process, and so all that it starts, the benchmark's settings and none of the developer's."""
    for name in KNOWN:
        os.environ.pop(name, None)
    os.environ |= {
        "PYTHONPATH": str(PROJECT_DIR),
        "LOCAL_STATE_DIR": STATE,
        "PORT": str(port),
        # Set but empty: the embedded servers, whatever `.env` says.
        "DATABASE_URL": "",
        "REDIS_URL": "",
        "CELERY_BROKER_URL": "",
        # As in production: with DEBUG on, Django keeps every statement in memory.
        "DEBUG": "false",
        "ALLOWED_HOSTS": "127.0.0.1",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }


def _wait_until_healthy(stack: _Stack, port: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not _is_healthy(port):
        if not stack.is_running():
            raise ServiceError(f"the service ended at its start:\n{stack.log_tail()}")
        if time.monotonic() > deadline:
            raise ServiceError(f"the service is not healthy after {_START_TIMEOUT_S:.0f} s:\n{stack.log_tail()}")
        time.sleep(0.1)


def _is_healthy(port: int) -> bool:
    url = f"http://127.0.0.1:{port}/api/health"
    with suppress(OSError, urllib.error.HTTPError), urllib.request.urlopen(url, timeout=2) as reply:
        return bool(reply.status == 200)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _forget(paths: StackPaths) -> None:
    for folder in (paths.sockets, paths.servers, paths.state):
        shutil.rmtree(Path(folder), ignore_errors=True)
