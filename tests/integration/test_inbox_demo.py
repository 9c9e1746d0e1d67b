"""Who gets the demo page, which carries an API key."""

from __future__ import annotations

import pytest

from config.demo.seed import seed


@pytest.fixture
def home(db, client, settings):
    """A browser on the same machine."""
    settings.DEBUG = True
    client.defaults["HTTP_HOST"] = "localhost:8000"
    seed()
    return client


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_this_machine_has_the_page(home, host):
    response = home.get("/demo/", HTTP_HOST=host)
    assert response.status_code == 200
    assert "nk_" in response.content.decode()
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "request_of_another",
    [{"REMOTE_ADDR": "192.0.2.7"}, {"HTTP_HOST": "rebound.example.com:8000"}, {"HTTP_HOST": "localhost.example.com"}],
)
def test_nobody_else_has(home, request_of_another):
    assert home.get("/demo/", **request_of_another).status_code == 404


def test_production_has_none(home, settings):
    settings.DEBUG = False
    assert home.get("/demo/").status_code == 404


def test_the_demo_is_seeded_once_and_shows_the_same_key(db):
    first, second = seed(), seed()
    assert first["apiKey"] == second["apiKey"]
    assert first["adminPassword"] == second["adminPassword"]
