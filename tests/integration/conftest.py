"""The pipeline without workers: the same tasks, run in this process one after the other; and the web application, listening."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.servers.basehttp import WSGIServer
from django.test.testcases import LiveServerThread, QuietWSGIRequestHandler
from django.utils.timezone import now

from config.celery import app
from deliveries import handover
from deliveries.claims import channels_with_due_deliveries
from notifications import tasks
from notifications.claims import events_are_due
from notifications.digests.claims import digests_are_due
from notifications.holds.claims import holds_are_due
from tenants import redis


@pytest.fixture
def drain(db, monkeypatch) -> Iterator[Callable[[], None]]:
    """Call it to run everything that is due: what a doorbell would start, started by hand."""
    monkeypatch.setattr(handover, "_PART_S", 20)  # a claim in one part, however slow the machine: statements are counted
    before = app.conf.task_always_eager, app.conf.task_eager_propagates
    app.conf.task_always_eager, app.conf.task_eager_propagates = True, True
    redis.client().flushdb()

    def run(at: datetime | None = None) -> None:
        """`at`: as if it were then, for whatever waits for its time."""
        monkeypatch.setattr(tasks, "clock", lambda: at or now())
        clock = tasks.clock
        while events_are_due(now=clock()) or holds_are_due(now=clock()) or digests_are_due(now=clock()):
            tasks.close_digests()
            tasks.release()
            tasks.enrich()
        while channels := channels_with_due_deliveries(now=now()):
            for channel in channels:
                tasks.send(channel.value)

    yield run
    app.conf.task_always_eager, app.conf.task_eager_propagates = before


class _Service(LiveServerThread):
    """One request after the other, in one thread: at its end no connection to the database is left behind."""

    def _create_server(self, connections_override=None):
        return WSGIServer((self.host, self.port), QuietWSGIRequestHandler)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@pytest.fixture(scope="module")
def service(django_db_setup, django_db_blocker):
    """The web application, listening."""
    with django_db_blocker.unblock():
        thread = _Service("127.0.0.1", StaticFilesHandler)
        thread.start()
        thread.is_ready.wait()
        assert thread.error is None
        yield thread
        thread.terminate()
