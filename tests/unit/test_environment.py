"""Settings: every wrong value stops the start with one line that names the setting."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.environment import KNOWN, parse, read_environment
from config.public_url import check_public_url
from config.sources import gather, generate_keys, read_file
from config.stack.paths import PROJECT_DIR, stack_paths
from config.stack.running import AlreadyRunningError, RunningFile
from tenants.throttling.limits import RateLimit

FERNET = base64.urlsafe_b64encode(b"k" * 32).decode()
LEAST = {"SECRET_KEY": "s" * 50, "ENCRYPTION_KEYS": FERNET, "DEBUG": "true"}
ACCOUNT = {"project_id": "p", "client_email": "c@example.com", "private_key": "k", "token_uri": "https://t.example.com"}


@pytest.fixture
def stack(tmp_path):
    return stack_paths(tmp_path)


def settings(stack, **values):
    return parse(LEAST | values, stack=stack)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", ""),
        ("ENCRYPTION_KEYS", ""),
        ("ENCRYPTION_KEYS", "short"),
        ("ENCRYPTION_KEYS", f"{FERNET},{FERNET[:-4]}"),
        ("ENCRYPTION_KEYS", "é" * 44),
        ("DEBUG", "maybe"),
        ("ALLOWED_HOSTS", "https://example.com"),
        ("ALLOWED_HOSTS", "example.com:8000"),
        ("CSRF_TRUSTED_ORIGINS", "example.com"),
        ("CSRF_TRUSTED_ORIGINS", "https://example.com/path"),
        ("TRUST_PROXY_HEADERS", "2"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("PORT", "-1"),
        ("PUBLIC_URL", "example.com"),
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", "ftp://example.com"),
        ("PUBLIC_URL", "https://example.com/?a=b"),
        ("PUBLIC_URL", "https://example.com/#top"),
        ("PUBLIC_URL", "https://user@example.com"),
        ("PUBLIC_URL", "https://example.com/a//b"),
        ("DATABASE_URL", "mysql://u@h/db"),
        ("DATABASE_URL", "postgresql://u@h"),
        ("DATABASE_URL", "postgresql://u@h:port/db"),
        ("DATABASE_URL", "postgresql://[u@h/db"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "redis://h:port"),
        ("CELERY_BROKER_URL", "http://h"),
        ("EMAIL_URL", "localhost"),
        ("EMAIL_URL", "smtp://"),
        ("EMAIL_URL", "smtp://h:port"),
        ("EMAIL_URL", "consolemail://h"),
        ("DEFAULT_FROM_EMAIL", "nobody"),
        ("DEFAULT_FROM_EMAIL", "a@"),
        ("TWILIO_FROM_NUMBER", "0123"),
        ("TWILIO_API_URL", "ftp://h"),
        ("FCM_CREDENTIALS", "/no/such/file.json"),
        ("FCM_CREDENTIALS", "{"),
        ("FCM_CREDENTIALS", json.dumps(ACCOUNT | {"private_key": ""})[:-1]),
        ("FCM_CREDENTIALS", '{"project_id": "p"}'),
        ("FCM_API_URL", "h"),
        ("TELEGRAM_BOT_TOKEN", "token"),
        ("TELEGRAM_API_URL", "h"),
        ("WEBHOOK_ALLOWED_NETWORKS", "10.0.0.0/33"),
        ("WEBHOOK_ALLOWED_NETWORKS", "10.0.0.1/8"),
        ("API_RATE_LIMIT", "1000"),
        ("API_RATE_LIMIT", "0/second"),
        ("USER_RATE_LIMIT", "600/day"),
        ("USER_RATE_LIMIT", "1000001/minute"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_setting(stack, name, value):
    with pytest.raises(ImproperlyConfigured) as caught:
        settings(stack, **{name: value})
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["SECRET_KEY", "ENCRYPTION_KEYS", "DATABASE_URL", "REDIS_URL", "EMAIL_URL", "TELEGRAM_BOT_TOKEN"]
)
def test_a_complaint_never_shows_what_may_be_secret(stack, name):
    with pytest.raises(ImproperlyConfigured) as caught:
        settings(stack, **{name: "hush-hush", "DEBUG": "false", "ALLOWED_HOSTS": "h"})
    assert "hush" not in str(caught.value)


def test_a_list_as_fcm_credentials_is_no_service_account(stack, tmp_path):
    (tmp_path / "account.json").write_text("[1]")
    with pytest.raises(ImproperlyConfigured, match="FCM_CREDENTIALS is not a service account"):
        settings(stack, FCM_CREDENTIALS=str(tmp_path / "account.json"))


def test_limits_on_requests(stack):
    least = settings(stack)
    assert (least.api_rate_limit, least.user_rate_limit) == (RateLimit(60_000, 60), RateLimit(6000, 60))
    given = settings(stack, API_RATE_LIMIT="off", USER_RATE_LIMIT="5/s")
    assert (given.api_rate_limit, given.user_rate_limit) == (None, RateLimit(5, 1))


def test_production_needs_hosts_and_a_long_key(stack):
    with pytest.raises(ImproperlyConfigured, match=r"^ALLOWED_HOSTS must name"):
        settings(stack, DEBUG="false")
    with pytest.raises(ImproperlyConfigured, match=r"^SECRET_KEY must have at least 50 characters"):
        settings(stack, DEBUG="false", ALLOWED_HOSTS="example.com", SECRET_KEY="short")


@pytest.mark.parametrize("left_out", ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM_NUMBER"])
def test_twilio_needs_all_three(stack, left_out):
    twilio = {"TWILIO_ACCOUNT_SID": "AC1", "TWILIO_AUTH_TOKEN": "t", "TWILIO_FROM_NUMBER": "+14155550100"}
    del twilio[left_out]
    with pytest.raises(ImproperlyConfigured, match=f"^{left_out} must be set too, because TWILIO_"):
        settings(stack, **twilio)


def test_the_least_there_is(stack):
    environment = settings(stack)
    assert environment.debug
    assert environment.allowed_hosts == ("*",)
    assert environment.embedded_postgres
    assert environment.embedded_redis
    assert environment.database["HOST"] == str(stack.sockets)
    assert environment.broker_url.startswith("redis+socket://")
    assert environment.email is None
    assert environment.fcm_credentials is None
    assert environment.public_url == "http://127.0.0.1:8000"


def test_everything_there_is(stack, tmp_path):
    (tmp_path / "fcm.json").write_text(json.dumps(ACCOUNT))
    environment = settings(
        stack,
        DEBUG="off",
        ALLOWED_HOSTS="example.com, .example.org,[::1]",
        CSRF_TRUSTED_ORIGINS="https://example.com,https://*.example.org",
        TRUST_PROXY_HEADERS="yes",
        PORT="9000",
        PUBLIC_URL="https://example.com/",
        DATABASE_URL="postgresql://u:p%23w@db:5433/name?sslmode=require",
        REDIS_URL="rediss://:secret@cache:6380/1",
        CELERY_BROKER_URL="amqp://u:p@rabbit//",
        TWILIO_ACCOUNT_SID="AC1",
        TWILIO_AUTH_TOKEN="t",
        TWILIO_FROM_NUMBER="whatsapp:+14155550100",
        FCM_CREDENTIALS=str(tmp_path / "fcm.json"),
        TELEGRAM_BOT_TOKEN="123:AAE_x-y",
        WEBHOOK_ALLOWED_NETWORKS="10.0.0.0/8,fd00::/8",
        LOG_LEVEL="WARNING",
        LOG_FORMAT="console",
        DEFAULT_FROM_EMAIL="Acme <no-reply@example.com>",
        PROMETHEUS_MULTIPROC_DIR="/run/metrics",
    )
    assert not environment.debug
    assert environment.allowed_hosts == ("example.com", ".example.org", "[::1]")
    assert environment.trust_proxy_headers
    assert environment.public_url == "https://example.com"
    assert (environment.database["PASSWORD"], environment.database["PORT"]) == ("p#w", 5433)
    assert environment.database["OPTIONS"] == {"sslmode": "require"}
    assert environment.broker_url.startswith("amqp://")
    assert environment.fcm_credentials == ACCOUNT
    assert environment.webhook_allowed_networks == ("10.0.0.0/8", "fd00::/8")
    assert environment.metrics_dir == Path("/run/metrics")
    assert not environment.embedded_postgres
    assert not environment.embedded_redis


@pytest.mark.parametrize(
    ("url", "port", "encryption"),
    [
        ("smtp://127.0.0.1:2525", 2525, None),
        ("smtp://mail", 25, None),
        ("smtp+tls://u:p@mail", 587, "EMAIL_USE_TLS"),
        ("smtp+ssl://u:p@mail", 465, "EMAIL_USE_SSL"),
        ("smtps://u:p@mail", 465, "EMAIL_USE_SSL"),
    ],
)
def test_email_url(stack, url, port, encryption):
    email = settings(stack, EMAIL_URL=url).email
    assert email["EMAIL_PORT"] == port
    assert {name for name in ("EMAIL_USE_TLS", "EMAIL_USE_SSL") if email.get(name)} == ({encryption} if encryption else set())


@pytest.mark.parametrize(
    ("redis", "broker"),
    [
        ("redis://h:6380/2", "redis://h:6380/2"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock"),
        ("unix://:p@/run/redis.sock?db=2", "redis+socket://:p@/run/redis.sock?virtual_host=2"),
        ("unix:///run/redis.sock?timeout=1&db=2", "redis+socket:///run/redis.sock?timeout=1&virtual_host=2"),
    ],
)
def test_the_broker_is_the_same_redis_unless_said_otherwise(stack, redis, broker):
    assert settings(stack, REDIS_URL=redis).broker_url == broker


class TestSources:
    """The order in which settings are looked for."""

    @pytest.fixture(autouse=True)
    def nothing_given(self, monkeypatch, tmp_path):
        for name in KNOWN & set(os.environ):
            monkeypatch.delenv(name)
        monkeypatch.setenv("LOCAL_STATE_DIR", str(tmp_path / "state"))

    @pytest.fixture
    def dotenv(self, tmp_path):
        return tmp_path / ".env"

    def test_an_unknown_setting_in_the_file_is_refused_with_a_suggestion(self, dotenv):
        dotenv.write_text("DATABSE_URL=x\n")
        with pytest.raises(ImproperlyConfigured, match=r"^DATABSE_URL in \.env is not a setting; did you mean DATABASE_URL\?$"):
            gather(KNOWN, dotenv_file=dotenv)

    def test_what_is_like_no_setting_gets_no_suggestion(self, dotenv):
        dotenv.write_text("QQ=x\n")
        with pytest.raises(ImproperlyConfigured, match=r"^QQ in \.env is not a setting$"):
            gather(KNOWN, dotenv_file=dotenv)

    def test_a_misspelt_setting_of_ours_in_the_environment_is_refused(self, monkeypatch, dotenv):
        monkeypatch.setenv("TELEGRAM_BOT_TOKN", "x")
        with pytest.raises(ImproperlyConfigured, match="in the environment is not a setting; did you mean TELEGRAM_BOT_TOKEN"):
            gather(KNOWN, dotenv_file=dotenv)

    def test_what_only_docker_compose_reads_may_stand_in_the_file(self, dotenv):
        dotenv.write_text("POSTGRES_PASSWORD=x\nHTTP_PORT=8080\nWEB_CONCURRENCY=4\nCOMPOSE_PROJECT_NAME=n\n")
        values, _ = gather(KNOWN, dotenv_file=dotenv)
        assert values["SECRET_KEY"]

    def test_the_environment_goes_before_the_running_stack_and_that_before_the_file(self, monkeypatch, dotenv):
        dotenv.write_text("PORT=1\nLOG_LEVEL=INFO\nDEFAULT_FROM_EMAIL=file@example.com\n")
        running = RunningFile(stack_paths())
        running.publish({"PORT": "2", "LOG_LEVEL": "DEBUG"})
        monkeypatch.setenv("PORT", "3")
        values, _ = gather(KNOWN, dotenv_file=dotenv)
        assert (values["PORT"], values["LOG_LEVEL"], values["DEFAULT_FROM_EMAIL"]) == ("3", "DEBUG", "file@example.com")
        running.release()
        values, _ = gather(KNOWN, dotenv_file=dotenv)
        assert (values["PORT"], values["LOG_LEVEL"]) == ("3", "INFO")

    def test_a_second_supervisor_is_refused(self):
        running = RunningFile(stack_paths())
        with pytest.raises(AlreadyRunningError, match="already running"):
            RunningFile(stack_paths())
        running.release()
        RunningFile(stack_paths()).release()

    def test_a_local_run_gets_keys_of_its_own_and_keeps_them(self, dotenv):
        values, stack = gather(KNOWN, dotenv_file=dotenv)
        assert values["DEBUG"] == "true"
        assert parse(values, stack=stack).secret_key == values["SECRET_KEY"]
        assert stack.environment_file.stat().st_mode & 0o777 == 0o600
        assert gather(KNOWN, dotenv_file=dotenv)[0] == values
        assert generate_keys(stack)["SECRET_KEY"] == values["SECRET_KEY"]

    def test_a_named_database_makes_no_keys_and_no_debug(self, monkeypatch, dotenv):
        monkeypatch.setenv("DATABASE_URL", "postgresql://u@h/db")
        values, stack = gather(KNOWN, dotenv_file=dotenv)
        assert "DEBUG" not in values
        assert not stack.environment_file.exists()
        with pytest.raises(ImproperlyConfigured, match="SECRET_KEY"):
            parse(values, stack=stack)

    def test_a_secret_key_of_ones_own_is_not_for_debugging(self, monkeypatch, dotenv):
        gather(KNOWN, dotenv_file=dotenv)
        monkeypatch.setenv("SECRET_KEY", "s" * 50)
        assert "DEBUG" not in gather(KNOWN, dotenv_file=dotenv)[0]

    def test_a_state_folder_named_in_the_file_is_used(self, monkeypatch, dotenv, tmp_path):
        monkeypatch.delenv("LOCAL_STATE_DIR")
        dotenv.write_text(f"LOCAL_STATE_DIR={tmp_path}/elsewhere\n")
        assert gather(KNOWN, dotenv_file=dotenv)[1].state == tmp_path / "elsewhere"

    def test_a_state_folder_that_cannot_be_made_is_said(self, monkeypatch, dotenv):
        monkeypatch.setenv("LOCAL_STATE_DIR", "/dev/null/state")
        with pytest.raises(ImproperlyConfigured, match=r"^LOCAL_STATE_DIR: cannot keep keys in /dev/null/state"):
            gather(KNOWN, dotenv_file=dotenv)

    def test_the_process_reads_what_is_gathered(self, monkeypatch):
        monkeypatch.setenv("PORT", "4321")
        assert read_environment().port == 4321


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("export A=b", "b"),
        (" A = b ", "b"),
        ('A="b c"', "b c"),
        ("A='#b'", "#b"),
        ("A=b # why", "b"),
        ("A=b#c", "b#c"),
        ("A=", ""),
        ("A=b=c", "b=c"),
    ],
)
def test_lines_of_a_dotenv_file(tmp_path, line, value):
    (tmp_path / ".env").write_text(f"# comment\n\n{line}\n")
    assert read_file(tmp_path / ".env") == {"A": value}


@pytest.mark.parametrize("line", ["A", "=b", "A B=c"])
def test_a_line_that_is_none_is_named(tmp_path, line):
    (tmp_path / ".env").write_text(f"\n{line}\n")
    with pytest.raises(ImproperlyConfigured, match=r"^\.env line 2 is not of the form NAME=value$"):
        read_file(tmp_path / ".env")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / ".env").mkdir()
    with pytest.raises(ImproperlyConfigured, match=r"^\.env cannot be read"):
        read_file(tmp_path / ".env")


def test_every_setting_is_documented_and_nothing_else():
    documented = re.findall(r"^### `([A-Z_]+)`", (PROJECT_DIR / "docs" / "settings.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(KNOWN)


def test_the_example_file_names_settings_only():
    lines = (PROJECT_DIR / ".env.example").read_text().splitlines()
    named = {line.removeprefix("#").partition("=")[0].strip() for line in lines if re.match(r"#?[A-Z_]+=", line)}
    assert named - {"POSTGRES_PASSWORD", "HTTP_PORT", "WEB_CONCURRENCY"} <= KNOWN
    assert {"SECRET_KEY", "ENCRYPTION_KEYS", "ALLOWED_HOSTS"} <= named


@pytest.mark.parametrize(
    ("debug", "url", "warnings"),
    [
        (False, "https://notify.example.com", 0),
        (False, "http://notify.example.com", 1),
        (True, "http://127.0.0.1:8000", 0),
    ],
)
def test_in_production_links_are_to_lead_to_https(settings, debug, url, warnings):
    settings.DEBUG, settings.PUBLIC_URL = debug, url
    assert len(check_public_url(app_configs=None)) == warnings
