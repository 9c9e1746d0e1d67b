"""The README's first event, posted: its commands, replies and figures are those of the code."""

import json
import re
import shlex
from pathlib import Path

import pytest
from django.conf import settings
from django.urls import Resolver404, resolve
from rest_framework.test import APIClient

from config.demo.seed import seed
from notifications.claims import CHUNK

README = (Path(settings.BASE_DIR) / "README.md").read_text()
FENCES = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
CURLS = [text for kind, text in FENCES if kind == "sh" and "curl" in text]
REPLIES = [json.loads(text) for kind, text in FENCES if kind == "json"]


@pytest.fixture
def demo(db, drain) -> APIClient:
    """A client with the demo tenant's key."""
    return APIClient(HTTP_X_API_KEY=seed()["apiKey"])


def words_of(command: str) -> list[str]:
    """The words that a shell would pass to curl."""
    return shlex.split(command[command.index("curl ") :])


def path_of(command: str) -> str:
    (url,) = [word for word in words_of(command) if word.startswith("http")]
    return url.removeprefix("http://127.0.0.1:8000")


def body_of(command: str) -> str:
    words = words_of(command)
    return words[words.index("-d") + 1]


def test_the_first_event_and_its_deliveries(demo, drain, settings):
    settings.DEBUG = True
    post, look = CURLS
    accepted, deliveries = REPLIES
    first = demo.generic("POST", path_of(post), body_of(post), content_type="application/json")
    assert (first.status_code, first.json()) == (202, accepted)
    again = demo.generic("POST", path_of(post), body_of(post), content_type="application/json")
    assert again.json()["duplicate"] is True
    drain()
    found, shown = demo.get(path_of(look)).json(), deliveries["results"]
    found["results"] = [{name: row[name] for name in few} for row, few in zip(found["results"], shown, strict=True)]
    assert found == deliveries


def test_every_address_it_names_is_served():
    named = {match.rstrip("/.") for match in re.findall(r"`(/api/[\w/-]*|/admin/|/demo/)`", README)}
    assert "/api/docs" in named
    unserved = set()
    for path in named:
        try:
            resolve(path)
        except Resolver404:
            unserved.add(path)
    assert unserved == set()


def test_the_figures_are_those_of_the_code():
    assert f"up to {CHUNK} events at a time" in README
