"""The service under trial: `make run`'s own processes, set up as in production, and hands on every one of them."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import redis

from config.stack.parts import wait_until
from config.stack.paths import stack_paths
from deliveries.states import OPEN
from tests.acceptance.conftest import eventually
from tests.acceptance.stack import LocalRun

_BACK_WITHIN_S = 60.0

# Of notifications.models.EventStatus, which cannot be imported without Django's settings.
ACCEPTED, PROCESSED = 0, 1

_UNFINISHED_OF = """
SELECT (SELECT count(*) FROM notifications_event WHERE status = %s AND starts_with(event_id, %s))
     + (SELECT count(*) FROM deliveries_delivery WHERE status = ANY(%s) AND starts_with(event_id, %s))
"""
_UNFINISHED = """
SELECT (SELECT count(*) FROM notifications_event WHERE status = %s)
     + (SELECT count(*) FROM deliveries_delivery WHERE status = ANY(%s))
"""


class Stand:
    """A running stack. Settings that are not given are as in production; servers that are not named are the embedded ones."""

    def __init__(self, state: Path, **settings: str) -> None:
        self.paths = stack_paths(state)
        # Set but empty: whatever `.env` says.
        self._settings = {
            "DATABASE_URL": "",
            "REDIS_URL": "",
            "CELERY_BROKER_URL": "",
            "DEBUG": "false",
            "ALLOWED_HOSTS": "127.0.0.1",
            **settings,
        }
        self.run = LocalRun(state, **self._settings)
        self.database_url = settings.get("DATABASE_URL") or self.paths.database_url
        """Where `rows` asks."""
        self._database: psycopg.Connection[Any] | None = None

    def client(self, api_key: str) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.run.port}", headers={"X-API-Key": api_key}, timeout=20)

    def start_again(self) -> None:
        """A new start on the same state and port, once the supervisor before it has ended."""
        self.run.ended()
        self.run.stop()
        self.run = LocalRun(self.paths.state, PORT=str(self.run.port), **self._settings)
        self.run.wait_ready()

    def wait_back(self, part: str, before: int) -> None:
        """Until the part runs under another pid than `before`, and answers where it can be asked."""
        eventually(lambda: self.run.pid_of(part) not in {0, before} and self.answers(part), within_s=_BACK_WITHIN_S)

    def wait_healthy(self) -> None:
        eventually(lambda: self.run.get("/api/health")[0] == 200, within_s=_BACK_WITHIN_S)

    def answers(self, part: str) -> bool:
        """Whether a server answers; workers and the scheduler cannot be asked, and count as soon as they run."""
        if part == "postgres":
            with contextlib.suppress(psycopg.Error):
                return self.rows("SELECT 1") == [(1,)]
            return False
        if part == "redis":
            with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.paths.redis_url, socket_timeout=1) as client:
                return bool(client.ping())
            return False
        return part != "web" or self.run.get("/api/health/live")[0] == 200

    def family_of(self, part: str) -> list[psutil.Process]:
        process = psutil.Process(self.run.pid_of(part))
        return [process, *process.children(recursive=True)]

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Asked of PostgreSQL itself; raises psycopg.Error while it is away, and reconnects the next time."""
        if self._database is None or self._database.broken:
            self._database = psycopg.connect(self.database_url, autocommit=True, connect_timeout=5)
        try:
            return self._database.execute(statement, parameters).fetchall()
        except psycopg.OperationalError:
            self._database.close()
            self._database = None
            raise

    def unfinished(self) -> int:
        """Events and deliveries that are not final; raises psycopg.Error."""
        ((count,),) = self.rows(_UNFINISHED, [ACCEPTED, [status.value for status in OPEN]])
        return int(count)

    def wait_final(self, since: float, limit_s: float) -> float | None:
        """Wait until all work is final; seconds since `since` (`time.monotonic`), None if they would be more than `limit_s`."""
        return _waited(self.unfinished, since, limit_s)

    def wait_final_of(self, prefix: str, since: float, limit_s: float) -> float | None:
        """As `wait_final`, for the events whose ids begin so."""

        def left() -> int:
            parameters = [ACCEPTED, prefix, [status.value for status in OPEN], prefix]
            return int(self.rows(_UNFINISHED_OF, parameters)[0][0])

        return _waited(left, since, limit_s)

    def stop(self) -> None:
        if self._database is not None:
            self._database.close()
        # What a strike that went wrong left stopped would not hear that it is to end.
        with contextlib.suppress(psutil.Error):
            for process in self.run.family():
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal.SIGCONT)
        self.run.stop()


def _waited(left: Callable[[], int], since: float, limit_s: float) -> float | None:
    def is_final() -> bool:
        with contextlib.suppress(psycopg.Error):
            return left() == 0
        return False

    return time.monotonic() - since if wait_until(is_final, since + limit_s - time.monotonic()) else None


@contextlib.contextmanager
def state_folder() -> Iterator[Path]:
    """A folder for a stand's state, for as long as the block lasts; nothing of it stays."""
    # Not below a long or closed path: PostgreSQL's account must get there, and a socket's name is short.
    state = Path(tempfile.mkdtemp(prefix="nc-"))
    state.chmod(0o755)
    paths = stack_paths(state)
    try:
        yield state
    finally:
        for folder in {paths.sockets, paths.servers, paths.state}:
            shutil.rmtree(folder, ignore_errors=True)


def strike_all(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to each that still lives."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
