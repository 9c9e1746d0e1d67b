"""Health against real processes: a worker that is killed and a scheduler that hangs show, and so does their return."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection

from config.operations import health
from config.operations.health import Monitor, Service, State
from config.operations.probes import KEY
from notifications.queues import PIPELINE, QUEUES
from tenants.redis import client

pytestmark = pytest.mark.acceptance

WORKER = ("-m", "celery", "-q", "-A", "config.celery", "worker", "--pool=solo", "--without-gossip", "--without-mingle")
SCHEDULER = ("manage.py", "run_scheduler")
PATIENCE_S = 60


@pytest.fixture
def start(transactional_db, monkeypatch) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a process of the service on the test's own database."""
    monkeypatch.setattr(health, "SERVED_WITHIN_S", 6.0)
    monkeypatch.setattr(health, "BEAT_WITHIN_S", 4.0)
    client().delete(KEY, *QUEUES)
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}")
    environment = os.environ | {"DATABASE_URL": database.geturl()}
    started = []

    def start(*command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            cwd=settings.BASE_DIR,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
    client().delete(KEY, *QUEUES)


def eventually(asked: Callable[[health.Services], Service], status: State) -> Service:
    deadline = time.monotonic() + PATIENCE_S
    monitor = Monitor()
    while True:
        service = asked(monitor.health().services)
        if service.status is status:
            return service
        assert time.monotonic() < deadline, f"still {service}"
        time.sleep(0.2)


def workers(services: health.Services) -> Service:
    return services.workers


def scheduler(services: health.Services) -> Service:
    return services.scheduler


def test_what_dies_or_hangs_shows_and_so_does_its_return(start):
    channel_queues = ",".join(queue for queue in QUEUES if queue != PIPELINE)
    pipeline, sender, beating = start(*WORKER, "-Q", PIPELINE), start(*WORKER, "-Q", channel_queues), start(*SCHEDULER)
    eventually(workers, State.OK)
    eventually(scheduler, State.OK)

    sender.send_signal(signal.SIGSTOP)
    assert "send.email not served" in eventually(workers, State.DEGRADED).error
    sender.send_signal(signal.SIGCONT)
    eventually(workers, State.OK)

    pipeline.kill()
    assert eventually(workers, State.DOWN).error.startswith("pipeline not served")
    start(*WORKER, "-Q", PIPELINE)
    eventually(workers, State.OK)

    beating.send_signal(signal.SIGSTOP)
    eventually(scheduler, State.DOWN)
    beating.send_signal(signal.SIGCONT)
    eventually(scheduler, State.OK)
