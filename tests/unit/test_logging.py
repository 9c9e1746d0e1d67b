import io
import json
import logging
import os
import subprocess
import sys

import pytest
import structlog
from django.http import HttpResponse
from django.test import RequestFactory

from config.environment import KNOWN
from config.logging import HIDDEN, Repetitions, RequestContextMiddleware, bind_task, formatter, unbind_task
from config.stack.paths import PROJECT_DIR

SETTING = 'the-installation\'s "own" secret\nin two lines'


class Lines:
    """A logger whose lines are rendered as the service renders them."""

    def __init__(self, *, style: str = "json", clock=None) -> None:
        self.stream = io.StringIO()
        self.logger = logging.Logger("test.logger")  # noqa: LOG001 - apart from the process's own loggers
        handler = logging.StreamHandler(self.stream)
        handler.setFormatter(formatter(style, [SETTING]))
        if clock:
            handler.addFilter(Repetitions(clock))
        self.logger.addHandler(handler)
        self.structured = structlog.wrap_logger(
            self.logger, processors=structlog.get_config()["processors"], wrapper_class=structlog.stdlib.BoundLogger
        )

    def text(self) -> str:
        return self.stream.getvalue()

    def __call__(self) -> list[dict]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def lines():
    return Lines()


@pytest.fixture(autouse=True)
def nothing_bound():
    structlog.contextvars.clear_contextvars()
    yield
    structlog.contextvars.clear_contextvars()


def fail(error: Exception) -> None:
    raise error


def test_both_ways_of_logging_give_the_same_json(lines):
    lines.structured.info("sent", delivery_id="d1", event_id="e1")
    lines.logger.info("%s is %s", "this", "that", extra={"delivery_id": "d2"})
    first, second = lines()
    assert first.pop("timestamp").endswith("Z")
    assert second.pop("timestamp").endswith("Z")
    assert first == {"message": "sent", "level": "info", "logger": "test.logger", "delivery_id": "d1", "event_id": "e1"}
    assert second == {"message": "this is that", "level": "info", "logger": "test.logger", "delivery_id": "d2"}


def test_bound_ids_are_on_every_line(lines):
    with structlog.contextvars.bound_contextvars(event_id="e1", delivery_id="d1"):
        lines.logger.warning("from a library")
        lines.structured.warning("ours")
    lines.structured.warning("after")
    assert [line.get("delivery_id") for line in lines()] == ["d1", "d1", None]
    assert [line.get("event_id") for line in lines()] == ["e1", "e1", None]


def test_a_task_binds_its_name_and_id(lines):
    class Task:
        name = "notifications.enrich"

    with structlog.contextvars.bound_contextvars(request_id="r"):
        bind_task(task_id="t1", task=Task)
        lines.logger.info("within")
        unbind_task()
        lines.logger.info("after")
    within, after = lines()
    assert (within["task"], within["task_id"], within["request_id"]) == ("notifications.enrich", "t1", "r")
    assert "task" not in after
    assert after["request_id"] == "r"


def test_celery_really_sends_those_signals(lines):
    from celery import Celery

    app = Celery("test", broker="memory://", set_as_current=False)

    @app.task(name="test.task")
    def task() -> None:
        lines.logger.info("within")

    task.apply(task_id="t2")
    lines.logger.info("after")
    assert [(line.get("task"), line.get("task_id")) for line in lines()] == [("test.task", "t2"), (None, None)]


def test_an_exception_is_one_line(lines):
    for log in (lines.logger, lines.structured):
        try:
            fail(ValueError("first\nsecond"))
        except ValueError:
            log.exception("it failed")
    for line in lines():
        assert line["message"] == "it failed"
        assert line["level"] == "error"
        assert "Traceback" in line["exception"]
        assert line["exception"].endswith("ValueError: first\nsecond")


def test_what_json_does_not_know_is_logged_all_the_same(lines):
    lines.structured.info("odd", value=object(), number=float("nan"))
    assert lines()[0]["value"].startswith("<object")


SECRETS = {
    "API key": "nk_abcdefghijklmnopqrstuvwxyz0123456789",
    "user token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyXzEifQ.c2lnbmF0dXJl",
    "webhook secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "bot token in a URL": "https://api.telegram.org/bot123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc/sendMessage",
    "password in a URL": "redis://worker:hunter2@cache:6379/0",
    "password without a user": "redis://:hunter2@cache:6379/0",
    "authorization header": "{'Authorization': 'Bearer ya29.a0AfH6SMBx'}",
    "basic credentials": "Authorization: Basic QUMxMjM6aHVudGVyMg==",
    "token in a query": "/ws/notifications/?token=opaque-hunter2&since=1",
    "private key": "-----BEGIN PRIVATE KEY-----\nMIIEvQhunter2\n-----END PRIVATE KEY-----\n",
    "one of the settings": SETTING,
}
TELLING = ("nk_abc", "eyJ", "whsec_MfKQ", "AAEhBOweik", "hunter2", "ya29", "QUMxMjM6", "two lines")


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
def test_no_secret_shows_wherever_it_stands(style, secret):
    lines = Lines(style=style)
    lines.logger.warning("said %s at last", secret)
    lines.structured.warning("said", response=f"before {secret} after", nested={"a": [{"b": secret}]})
    try:
        fail(ConnectionError(f"failed: {secret}"))
    except ConnectionError:
        lines.structured.exception("it failed")
    assert not [telling for telling in TELLING if telling in lines.text()]
    assert lines.text().count(HIDDEN) >= 4
    assert "it failed" in lines.text()


@pytest.mark.parametrize(
    "key", ["password", "userToken", "auth_token", "X-API-Key", "client_secret", "Authorization", "Set-Cookie"]
)
def test_values_under_a_telling_name_are_hidden(lines, key):
    lines.structured.info("said", **{key: "opaque", "deep": [{key: {"inner": "opaque"}}]})
    assert "opaque" not in lines.text()
    assert lines()[0][key] == HIDDEN


def test_a_request_is_not_logged_with_its_query(lines):
    request = RequestFactory().get("/api/recipients?email=ada@example.com")
    lines.logger.warning("Not Found: %s", request.path, extra={"status_code": 404, "request": request})
    assert "ada@example.com" not in lines.text()
    assert (lines()[0]["message"], lines()[0]["status_code"]) == ("Not Found: /api/recipients", 404)


ASK_FOR_NOTHING = """
import django
django.setup()
from django.test import Client
assert Client().get("/nothing", headers={"host": "notify.example.com"}).status_code == 404
"""


@pytest.mark.parametrize("debug", ["true", "false"])
def test_what_is_not_found_is_logged_once_and_as_json(debug):
    """In a process of its own: Django gives its loggers handlers before ours are set up."""
    given = {name: value for name, value in os.environ.items() if name not in KNOWN}
    deployed = (PROJECT_DIR / "deploy" / "check.env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in deployed if not line.startswith("#"))
    settings |= {"DEBUG": debug, "LOG_FORMAT": "json", "DJANGO_SETTINGS_MODULE": "config.settings"}
    done = subprocess.run(
        [sys.executable, "-c", ASK_FOR_NOTHING],
        cwd=PROJECT_DIR,
        env=given | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    messages = [json.loads(line)["message"] for line in (done.stdout + done.stderr).splitlines()]
    assert [message for message in messages if "/nothing" in message] == ["Not Found: /nothing"]


def test_a_traceback_shows_no_local_variables():
    lines = Lines(style="console")

    def connect(password: str) -> None:
        raise ConnectionError("refused")

    try:
        connect("opaque")
    except ConnectionError:
        lines.structured.exception("it failed")
    assert "Traceback" in lines.text()
    assert "'opaque'" not in lines.text()


def test_ordinary_lines_are_left_alone(lines):
    text = "POST /api/events?limit=5 to http://127.0.0.1:8000/x?mail=a@b.example took 12:30 Bearer of news: 3 tokens"
    lines.logger.warning(text)
    assert lines()[0]["message"] == text


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_flood_of_like_lines_is_a_trickle_with_a_count(clock):
    lines = Lines(clock=clock)
    for attempt in range(1000):
        lines.logger.error("Cannot connect to %s: retry %d", "redis", attempt)
        lines.structured.warning("bell_not_rung", bell="enrich", request_id=str(attempt))
    clock.now += Repetitions.every_s
    lines.logger.error("Cannot connect to %s: retry %d", "redis", 1000)
    lines.structured.warning("bell_not_rung", bell="enrich")
    assert [(line["message"], line.get("swallowed")) for line in lines()] == [
        ("Cannot connect to redis: retry 0", None),
        ("bell_not_rung", None),
        ("Cannot connect to redis: retry 1000", 999),
        ("bell_not_rung", 999),
    ]


def test_unlike_lines_and_lower_levels_all_pass(clock):
    lines = Lines(clock=clock)
    for _ in range(3):
        lines.logger.info("attempt made")
    lines.logger.warning("one")
    lines.logger.warning("two")
    lines.logger.error("one")
    for error in (ValueError("x"), KeyError("x")):
        lines.logger.error("failed", exc_info=error)
    assert len(lines()) == 8


def test_what_is_remembered_of_lines_is_bounded(clock):
    repetitions = Repetitions(clock)
    for number in range(3000):
        word = "".join(chr(97 + int(digit)) for digit in str(number))
        assert repetitions.filter(logging.LogRecord("x", logging.ERROR, "", 0, word, (), None))
    assert len(repetitions._seen) == Repetitions.remembered


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-123", True), ("", False), ("x" * 65, False), ("a b", False), ("a\x00", False), ('"}', False), ("é", False)],
)
def test_the_request_id_is_the_callers_if_it_is_one(lines, given, kept):
    def view(request) -> HttpResponse:
        lines.logger.info("within")
        return HttpResponse()

    response = RequestContextMiddleware(view)(RequestFactory().get("/", headers={"X-Request-ID": given}))
    assert response["X-Request-ID"] == lines()[0]["request_id"]
    assert (response["X-Request-ID"] == given) is kept
    lines.logger.info("after")
    assert "request_id" not in lines()[1]


def test_what_opens_a_recipients_page_is_left_out(lines):
    token = "lgLOawHXdgGqbmV3c2xldHRlcqNhZGGgN1eV2E4ZDTcSit_C-oJvwQ"
    preference = "/api/preferences/01a1ff35-fea1-76cc-9315-11e13632575d"
    lines.logger.warning("Not Found: /u/%s", token)
    lines.logger.warning("Gone: https://notify.example.com/preferences/%s?saved", token)
    lines.logger.warning("Not Found: %s", preference)
    assert token not in lines.text()
    assert preference in lines.text()
