"""The service that is struck: `make run`'s own processes, set up as in production, with a mail server that counts."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import redis

from config.stack.paths import stack_paths
from tests.acceptance.conftest import eventually
from tests.acceptance.stack import LocalRun
from tests.doubles.smtp import SmtpDouble

EVENT_TYPE = "chaos.struck"
_MAIL_TAKES_S = 0.02
"""So that mails are under way at any moment of a load; eight at a time are 400 a second."""
_BACK_WITHIN_S = 60.0


class Stand:
    """A running stack with a tenant, its templates, and hands on every process."""

    def __init__(self, state: Path, smtp: SmtpDouble) -> None:
        self.smtp = smtp
        self.paths = stack_paths(state)
        # Servers set but empty: the embedded ones, whatever `.env` says. The rest as in production.
        self._settings = {
            "DATABASE_URL": "",
            "REDIS_URL": "",
            "CELERY_BROKER_URL": "",
            "DEBUG": "false",
            "ALLOWED_HOSTS": "127.0.0.1",
            "EMAIL_URL": smtp.url,
        }
        self.run = LocalRun(state, **self._settings)
        self._database: psycopg.Connection[Any] | None = None
        self.api_key = ""

    def prepare(self) -> None:
        """Wait for the service, and give it the tenant whose events will be posted."""
        self.run.wait_ready()
        self.run.manage("create_tenant", "chaos")
        self.api_key = self.run.manage("create_api_key", "chaos", "--scope", "admin")
        with self.client() as api:
            for channel in ("email", "in_app"):
                template = {
                    "channel": channel,
                    "eventType": EVENT_TYPE,
                    "locale": "en",
                    "subject": "{{ number }}",
                    "body": "This is {{ number }}.",
                    "variables": ["number"],
                }
                api.post("/api/admin/templates", json=template).raise_for_status()

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.run.port}", headers={"X-API-Key": self.api_key}, timeout=20)

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
            self._database = psycopg.connect(self.paths.database_url, autocommit=True, connect_timeout=5)
        try:
            return self._database.execute(statement, parameters).fetchall()
        except psycopg.OperationalError:
            self._database.close()
            self._database = None
            raise

    def mails(self) -> Counter[tuple[str, str]]:
        """How often the mail server took what, by recipient and subject, which is the event's id."""
        return Counter((mail.recipients[0], str(mail.message["Subject"])) for mail in list(self.smtp.received))

    def stop(self) -> None:
        if self._database is not None:
            self._database.close()
        # What a strike that went wrong left stopped would not hear that it is to end.
        with contextlib.suppress(psutil.Error):
            for process in self.run.family():
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal.SIGCONT)
        self.run.stop()


@contextlib.contextmanager
def running_stand() -> Iterator[Stand]:
    """A stand in a folder of its own, for as long as the block lasts; nothing of it stays."""
    # Not below a long or closed path: PostgreSQL's account must get there, and a socket's name is short.
    state = Path(tempfile.mkdtemp(prefix="nc-"))
    state.chmod(0o755)
    with SmtpDouble() as smtp:
        smtp.behave(delay_s=_MAIL_TAKES_S)
        stand = Stand(state, smtp)
        try:
            stand.prepare()
            yield stand
        finally:
            stand.stop()
            for folder in {stand.paths.sockets, stand.paths.servers, stand.paths.state}:
                shutil.rmtree(folder, ignore_errors=True)


def strike_all(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to each that still lives."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
