"""`make run` from outside: starts everything, mends what dies, stops without a trace."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from config.stack.paths import stack_paths
from tests.acceptance.conftest import eventually, free_port
from tests.acceptance.stack import LocalRun

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

PARTS = ("postgres", "redis", "web", "pipeline", "send", "scheduler")


@pytest.fixture
def state() -> Iterator[Path]:
    # Not pytest's own folder: its name is too long for a Unix socket, and closed to PostgreSQL's account.
    with tempfile.TemporaryDirectory(prefix="nt-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def start(state) -> Iterator[Callable[..., LocalRun]]:
    runs: list[LocalRun] = []

    def begin(**settings: str) -> LocalRun:
        runs.append(LocalRun(state, **settings))
        return runs[-1]

    yield begin
    for run in reversed(runs):
        run.stop()


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_a_run_from_start_to_stop_and_again(start, state):
    run = start()
    run.wait_ready()

    for url in ("/admin/", "/api/docs", "/api/health"):
        assert f"http://127.0.0.1:{run.port}{url}" in run.output
    assert re.search(r"API key +nk_", run.output)
    status, health = run.get("/api/health")
    assert (status, b'"status":"ok"' in health) == (200, True)
    assert run.get("/static/admin/css/base.css")[0] == 200

    count_tenants = ("shell", "--no-imports", "-c", "from tenants.models import Tenant; print(Tenant.objects.count())")
    tenants = run.manage(*count_tenants)
    assert int(tenants) > 0
    assert run.manage("create_tenant", "kept") == "kept"

    second = start(PORT=str(run.port))
    assert second.ended() == 1
    assert len(second.lines) == 1
    assert "already running" in second.output

    family = run.family()
    assert len(family) > len(PARTS)
    run.process.send_signal(signal.SIGTERM)
    assert run.ended() == 0
    eventually(lambda: all_gone(family), within_s=5)
    assert not list((state / "pids").iterdir())

    again = start()
    again.wait_ready()
    assert int(again.manage(*count_tenants)) == int(tenants) + 1
    again.process.send_signal(signal.SIGINT)
    assert again.ended() == 0


def test_whatever_dies_is_started_again(start):
    run = start()
    run.wait_ready()
    for part in PARTS:
        pid = run.pid_of(part)
        before = psutil.Process(pid).children(recursive=True)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: run.pid_of(part) not in {0, pid}, within_s=30)  # noqa: B023
        eventually(lambda: all_gone(before), within_s=10)  # noqa: B023
        assert f"{part} ended (signal 9)" in run.output
    eventually(lambda: run.get("/api/health")[0] == 200, within_s=60)


def test_a_killed_supervisor_leaves_nothing_that_the_next_start_would_meet(start):
    run = start()
    run.wait_ready()
    family = run.family()
    workers = [psutil.Process(run.pid_of(part)) for part in ("web", "pipeline", "send", "scheduler")]
    with psycopg.connect(stack_paths(run.state).database_url, autocommit=True) as session:
        run.process.kill()
        run.ended()
        eventually(lambda: all_gone(workers), within_s=30)
        assert session.execute("SELECT 1").fetchone() == (1,), "who had work in hand could not have written it down"
    following = start()
    following.wait_ready()
    assert all_gone(family)
    assert following.get("/api/health")[0] == 200


def test_a_second_request_to_stop_hurries(start):
    run = start()
    run.wait_ready()
    family = run.family()
    os.kill(run.pid_of("send"), signal.SIGSTOP)  # will not go by itself
    run.process.send_signal(signal.SIGINT)
    eventually(lambda: "stopping" in run.output, within_s=10)
    run.process.send_signal(signal.SIGINT)
    assert run.ended(within_s=20) == 0
    eventually(lambda: all_gone(family), within_s=5)


@pytest.fixture
def debians_redis(state) -> Iterator[str]:
    """The Redis of a distribution, over TCP as deployments have it."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian's package of that name)")
    port = str(free_port())
    command = [program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(state)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as redis:
        yield f"redis://127.0.0.1:{port}/3"
        redis.terminate()


def test_servers_that_the_settings_name_are_used(debians_redis, start, state):
    run = start(DATABASE_URL=os.environ["DATABASE_URL"], REDIS_URL=debians_redis)
    run.wait_ready()
    assert b'"status":"ok"' in run.get("/api/health")[1]
    assert {path.stem for path in (state / "pids").iterdir()} == set(PARTS) - {"postgres", "redis"}
    show = "from django.conf import settings; print(settings.ENV.database_url, settings.ENV.port)"
    assert run.manage("shell", "--no-imports", "-c", show) == f"{os.environ['DATABASE_URL']} {run.port}"
    run.process.send_signal(signal.SIGTERM)
    assert run.ended() == 0


def test_a_taken_port_is_one_line(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run = start(PORT=str(taken.getsockname()[1]))
        assert run.ended() == 1
    assert run.lines == [
        f"cannot run: PORT {run.port} cannot be used (Address already in use); choose another, e.g. make run PORT=8001"
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"EMAIL_URL": "localhost"}, "configuration error: EMAIL_URL must look like smtp://"),
        ({"TWILIO_AUTH_TOKN": "x"}, "TWILIO_AUTH_TOKN in the environment is not a setting; did you mean TWILIO_AUTH_TOKEN?"),
        ({"REDIS_URL": "redis://127.0.0.1:1"}, "cannot run: REDIS_URL: cannot connect"),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, "cannot run: DATABASE_URL: cannot connect"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(start, settings, expected):
    run = start(**settings)
    assert run.ended() == 1
    assert expected in run.lines[-1]
    assert "Traceback" not in run.output
