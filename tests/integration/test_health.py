import socket
import threading
import time

import pytest
from django.db import connection
from rest_framework.test import APIClient

from config.operations import views
from config.operations.health import Monitor
from config.operations.probes import KEY, Prober, beat, probe
from notifications.queues import PIPELINE, QUEUES
from tenants.redis import client

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No memory of earlier answers, no signs of life but the test's own."""
    monkeypatch.setattr(views, "_MONITOR", Monitor())
    client().delete(KEY)
    yield
    client().delete(KEY)


@pytest.fixture
def silent_server():
    """Takes connections and never says a word, as a stopped server does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def everything_works() -> None:
    beat()
    for queue in QUEUES:
        probe(queue, time.time())


def health() -> tuple[int, dict]:
    response = APIClient().get("/api/health")
    return response.status_code, response.json()


def test_ok_when_everything_answers():
    everything_works()
    status, body = health()
    assert status == 200
    assert body["status"] == "ok"
    assert {name: service["status"] for name, service in body["services"].items()} == dict.fromkeys(
        ["postgres", "redis", "workers", "scheduler"], "ok"
    )
    assert all(service["latencyMs"] >= 0 and "error" not in service for service in body["services"].values())
    assert body["version"]
    assert body["uptime"] >= 0
    assert body["timestamp"].endswith("Z")


def test_down_without_signs_of_workers_and_scheduler():
    status, body = health()
    assert (status, body["status"]) == (503, "down")
    assert body["services"]["postgres"]["status"] == body["services"]["redis"]["status"] == "ok"
    assert body["services"]["workers"]["status"] == body["services"]["scheduler"]["status"] == "down"
    assert body["services"]["workers"]["latencyMs"] is None


def test_a_send_queue_that_lags_degrades_with_200():
    everything_works()
    client().hset(KEY, QUEUES[-1], f"{time.time() - 60} 0")
    status, body = health()
    assert (status, body["status"]) == (200, "degraded")
    assert QUEUES[-1] in body["services"]["workers"]["error"]


def test_postgres_that_never_answers_is_down(monkeypatch, silent_server):
    everything_works()
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", silent_server)
    status, body = health()
    assert status == 503
    assert "no answer" in body["services"]["postgres"]["error"]
    assert body["services"]["workers"]["status"] == "ok"


def test_postgres_that_refuses_is_down_without_saying_where_it_is(monkeypatch, silent_server):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", port)
    _, body = health()
    assert body["services"]["postgres"] == {"status": "down", "latencyMs": None, "error": "no connection, or refused"}


def test_postgres_that_takes_no_writes_is_down(monkeypatch):
    options = {**connection.settings_dict["OPTIONS"], "options": "-c default_transaction_read_only=on"}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    assert health()[1]["services"]["postgres"]["error"] == "read-only"


@pytest.mark.parametrize("setting", ["REDIS_URL", "CELERY_BROKER_URL"])
def test_redis_or_another_broker_that_never_answers_is_down(settings, silent_server, setting):
    everything_works()
    setattr(settings, setting, f"redis://127.0.0.1:{silent_server}/0")
    status, body = health()
    assert (status, body["services"]["redis"]["status"]) == (503, "down")
    assert body["services"]["postgres"]["status"] == "ok"


def test_redis_that_takes_no_writes_is_down():
    everything_works()
    memory = client().config_get("maxmemory")["maxmemory"]
    client().config_set("maxmemory", "1")
    try:
        _, body = health()
    finally:
        client().config_set("maxmemory", memory)
    assert body["services"]["redis"]["error"] == "answers, but takes no writes"


def test_a_flood_of_questions_asks_once(monkeypatch):
    everything_works()
    connections = []
    original = type(connection.copy()).get_new_connection

    def counted(self, params):
        connections.append(params)
        return original(self, params)

    monkeypatch.setattr(type(connection.copy()), "get_new_connection", counted)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(views._MONITOR.health().status)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["ok"] * 50
    assert len(connections) == 1


def test_live_asks_nobody(django_assert_num_queries, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    with django_assert_num_queries(0):
        response = APIClient().get("/api/health/live", HTTP_X_API_KEY="nk_wrong")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_probes_go_to_every_queue_and_are_not_repeated_at_once(settings):
    from config.celery import app

    with app.connection_for_write() as connection:
        broker = connection.default_channel.client
        lengths = {queue: broker.llen(queue) for queue in QUEUES}
        prober = Prober()
        prober.send_probes()
        prober.send_probes()
        grown = {queue: broker.llen(queue) - lengths[queue] for queue in QUEUES}
        broker.delete(*QUEUES)
    assert grown == dict.fromkeys(QUEUES, 1)


def test_without_redis_signs_are_skipped_and_nothing_raises(monkeypatch):
    client.cache_clear()
    monkeypatch.setattr("django.conf.settings.REDIS_URL", "redis://127.0.0.1:1/0")
    try:
        beat()
        probe(PIPELINE, 0.0)
        Prober().send_probes()
    finally:
        client.cache_clear()
        monkeypatch.undo()
    assert client().hgetall(KEY) == {}
