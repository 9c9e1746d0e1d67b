"""The whole service as `make run` starts it, with vendors' doubles behind every channel."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.stack.paths import PROJECT_DIR
from tests.doubles.fcm import FcmDouble
from tests.doubles.smtp import SmtpDouble
from tests.doubles.telegram import TelegramDouble
from tests.doubles.twilio import TwilioDouble
from tests.doubles.webhook import WebhookDouble

_START_S = 90
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
_OF_THE_SUITE = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "LOCAL_STATE_DIR", "SECRET_KEY", "ENCRYPTION_KEYS", "DEBUG")


def eventually(condition: Callable[[], Any], *, within_s: float = 20) -> Any:
    """Wait until `condition` gives something true, and return it; fail with what it gave last."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s; last seen: {value!r}"
        time.sleep(0.05)
    return value


@dataclass
class Doubles:
    smtp: SmtpDouble
    twilio: TwilioDouble
    fcm: FcmDouble
    telegram: TelegramDouble
    webhook: WebhookDouble

    def settings(self) -> dict[str, str]:
        return {
            "EMAIL_URL": self.smtp.url,
            "TWILIO_ACCOUNT_SID": self.twilio.account_sid,
            "TWILIO_AUTH_TOKEN": self.twilio.auth_token,
            "TWILIO_FROM_NUMBER": "+15005550006",
            "TWILIO_API_URL": self.twilio.url,
            "FCM_CREDENTIALS": json.dumps(self.fcm.credentials),
            "FCM_API_URL": self.fcm.url,
            "TELEGRAM_BOT_TOKEN": self.telegram.bot_token,
            "TELEGRAM_API_URL": self.telegram.url,
        }


@dataclass
class Service:
    """A running stack."""

    port: int
    environment: dict[str, str]
    process: subprocess.Popen[str]
    output: Path
    doubles: Doubles
    tenants: dict[str, str] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=PROJECT_DIR,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def client(self, tenant: str, **headers: str) -> httpx.Client:
        """A client with every scope for a tenant, which is made on first use."""
        if tenant not in self.tenants:
            self.manage("create_tenant", tenant)
            self.tenants[tenant] = self.manage("create_api_key", tenant, "--scope", "admin")
        return httpx.Client(base_url=self.base_url, headers={"X-API-Key": self.tenants[tenant], **headers}, timeout=10)

    def user_token(self, tenant: str, user_id: str) -> str:
        return self.manage("create_user_token", tenant, user_id)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def doubles() -> Iterator[Doubles]:
    with contextlib.ExitStack() as stack:
        yield Doubles(
            *[stack.enter_context(kind()) for kind in (SmtpDouble, TwilioDouble, FcmDouble, TelegramDouble, WebhookDouble)]
        )


@pytest.fixture(scope="session")
def service(doubles: Doubles) -> Iterator[Service]:
    """Started once for all acceptance tests that do not end processes."""
    folder = Path(tempfile.mkdtemp(prefix="na-"))
    folder.chmod(0o755)
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if name not in _OF_THE_SUITE}
    environment |= {"LOCAL_STATE_DIR": str(folder), "PORT": str(port), "LOG_LEVEL": "INFO"} | doubles.settings()
    output = folder / "output"
    with output.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "config.stack"],
            cwd=PROJECT_DIR,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    service = Service(port, environment, process, output, doubles)
    try:
        _wait_until_healthy(service)
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(40)
        process.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for tests of pages as people see them."""
    if _CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian's package: chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        yield browser
        browser.close()


def _wait_until_healthy(service: Service) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and service.process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{service.base_url}/api/health", timeout=3).status_code == 200:
                return
        time.sleep(0.1)
    pytest.fail(f"the service did not start:\n{service.output.read_text()[-3000:]}")
