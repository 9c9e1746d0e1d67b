"""What docker-compose.yml runs, run by hand: every command, with a deployment's settings, behind a real nginx."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import websockets
import yaml
from websockets.sync.client import connect

from config.stack.paths import PROJECT_DIR, stack_paths
from config.stack.servers import embedded_servers
from deliveries.receipts.views import MOST_BYTES
from tests.acceptance.conftest import eventually, free_port
from tests.unit.test_environment import FERNET

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed (apt install nginx-light)"),
]

SERVICES = yaml.safe_load((PROJECT_DIR / "docker-compose.yml").read_text())["services"]
PROGRAMS = ("web", "websocket", "pipeline-worker", "send-worker", "scheduler")


class Deployment:
    """The compose file's services as plain processes."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.ports = {name: free_port() for name in ("web", "websocket", "nginx")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.ports['nginx']}"

    def command(self, name: str) -> list[str]:
        """The service's command, on a port of the test's and with the suite's own packages."""
        program, *arguments = SERVICES[name]["command"]
        arguments = [argument.replace("--host=0.0.0.0", "--host=127.0.0.1") for argument in arguments]
        if name in self.ports:
            arguments = [argument.replace("--port=8000", f"--port={self.ports[name]}") for argument in arguments]
        if program == "gunicorn":
            arguments.append(f"--bind=127.0.0.1:{self.ports[name]}")
        return [sys.executable, *([] if program == "python" else ["-m", program]), *arguments]

    def start(self, name: str, command: list[str] | None = None) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command or self.command(name),
                cwd=PROJECT_DIR,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=PROJECT_DIR, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def manage(self, *arguments: str) -> str:
        return self.run(sys.executable, "manage.py", *arguments)

    def start_nginx(self) -> None:
        text = (PROJECT_DIR / "deploy" / "nginx.conf").read_text().replace("/tmp/", f"{self.folder}/")
        for name in ("web", "websocket"):
            text = text.replace(f"server {name}:8000;", f"server 127.0.0.1:{self.ports[name]};")
        text = text.replace("listen 8080;", f"listen {self.host};")
        (self.folder / "nginx.conf").write_text(text)
        nginx = [str(shutil.which("nginx")), "-p", str(self.folder), "-e", "stderr", "-c", "nginx.conf", "-g", "daemon off;"]
        self.start("nginx", nginx)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def stop(self) -> dict[str, int]:
        """Exit codes of an orderly stop."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        codes = {}
        for name, process in self.processes.items():
            try:
                codes[name] = process.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                codes[name] = process.wait()
        return codes


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with tempfile.TemporaryDirectory(prefix="nt-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        paths = stack_paths(folder)
        environment = {name: os.environ[name] for name in os.environ if name.startswith(("PATH", "HOME", "COVERAGE"))}
        environment |= {**SERVICES["web"]["environment"], "DATABASE_URL": paths.database_url, "REDIS_URL": paths.redis_url}
        environment |= {"SECRET_KEY": secrets.token_urlsafe(48), "ENCRYPTION_KEYS": FERNET, "ALLOWED_HOSTS": "127.0.0.1"}
        environment |= {"PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"), "WEB_CONCURRENCY": "2"}
        with embedded_servers(paths, durable=False):
            deployment = Deployment(folder, environment)
            try:
                deployment.manage("collectstatic", "--no-input", "--verbosity", "0")
                deployment.run(*deployment.command("migrate"))
                for program in PROGRAMS:
                    deployment.start(program)
                deployment.start_nginx()
                eventually(lambda: all_up(deployment), within_s=90)
                yield deployment
            finally:
                codes = deployment.stop()
        assert codes == dict.fromkeys((*PROGRAMS, "nginx"), 0)


@pytest.fixture(scope="module")
def api_key(deployment: Deployment) -> str:
    deployment.manage("create_tenant", "deployed", "--sandbox")
    return deployment.manage("create_api_key", "deployed", "--scope", "admin")


def all_up(deployment: Deployment) -> bool:
    ended = [name for name, process in deployment.processes.items() if process.poll() is not None]
    assert not ended, f"{ended} ended: {deployment.log(ended[0])[-2000:]}"
    try:
        health = httpx.get(f"http://{deployment.host}/api/health").json()
        httpx.get(f"http://127.0.0.1:{deployment.ports['websocket']}/api/health/live").raise_for_status()
    except (httpx.HTTPError, json.JSONDecodeError):
        return False
    return bool(health["status"] == "ok")


def test_an_event_becomes_a_delivery(deployment, api_key):
    with httpx.Client(base_url=f"http://{deployment.host}", headers={"X-API-Key": api_key}) as client:
        event = {"eventId": "e1", "eventType": "account", "to": {"userId": "u1", "email": "ok@simulator.invalid"}}
        reply = client.post("/api/events", json=event | {"channels": ["in_app", "email"], "data": {}})
        assert reply.status_code == 202, reply.text

        def deliveries() -> list[dict]:
            return client.get("/api/deliveries", params={"eventId": "e1"}).json()["results"]

        settled = eventually(lambda: len(found := deliveries()) == 2 and all(d["status"] != "pending" for d in found) and found)
        assert {delivery["channel"] for delivery in settled} == {"in_app", "email"}


def test_the_websocket_goes_to_the_other_process_and_its_token_into_no_log(deployment, api_key):
    token = deployment.manage("create_user_token", "deployed", "u1")
    with connect(f"ws://{deployment.host}/ws/notifications/?token={token}") as socket:
        assert json.loads(socket.recv(timeout=10))["type"] == "ready"
    with connect(f"ws://{deployment.host}/ws/notifications/?token=wrong") as socket:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            socket.recv(timeout=10)
        assert closed.value.rcvd.code == 4401
    with pytest.raises(websockets.InvalidStatus) as refused, connect(f"ws://{deployment.host}/ws/elsewhere/"):
        pass
    assert refused.value.response.status_code == 403
    eventually(lambda: "/ws/notifications/" in deployment.log("nginx"))
    assert token not in "".join(deployment.log(name) for name in deployment.processes)


@pytest.mark.parametrize("size", [520 * 1024, 700 * 1024])
def test_a_body_that_is_too_large_gets_a_problem_whoever_refuses_it(deployment, api_key, size):
    reply = httpx.post(f"http://{deployment.host}/api/events", content=b" " * size, headers={"X-API-Key": api_key})
    assert reply.status_code == 413
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["status"] == 413
    assert "512 KB" in reply.json()["detail"]


def test_vendors_are_told_the_limit_of_their_own(deployment):
    place = f"http://{deployment.host}/api/receipts/email/postmark/installation"
    headers = {"Content-Type": "application/json"}
    assert httpx.post(place, content=b" " * 700 * 1024, headers=headers).status_code == 403
    reply = httpx.post(place, content=b" " * (MOST_BYTES + 100 * 1024), headers=headers)
    assert reply.status_code == 413
    assert reply.headers["content-type"] == "application/problem+json"
    assert f"{MOST_BYTES // 1024} KB" in reply.json()["detail"]


def test_what_a_client_claims_about_itself_is_replaced(deployment):
    forged = {"X-Forwarded-Host": "evil.example.com", "X-Forwarded-Proto": "https", "X-Forwarded-For": "10.0.0.1"}
    reply = httpx.get(f"http://{deployment.host}/api/health/live", headers=forged)
    assert reply.status_code == 200
    assert "strict-transport-security" not in reply.headers
    assert httpx.get(f"http://{deployment.host}/api/health/live", headers={"Host": "evil.example.com"}).status_code == 400


def test_the_admin_has_its_style(deployment):
    page = httpx.get(f"http://{deployment.host}/admin/login/").text
    styles = re.findall(r'href="(/static/[^"]+\.css)"', page)
    assert styles
    for style in styles:
        assert re.search(r"\.[0-9a-f]{12}\.css$", style)
        reply = httpx.get(f"http://{deployment.host}{style}")
        assert reply.status_code == 200
        assert "immutable" in reply.headers["cache-control"]


def test_containers_tell_their_health(deployment, monkeypatch):
    monkeypatch.setenv("ALLOWED_HOSTS", "127.0.0.1")
    spec = importlib.util.spec_from_file_location("healthcheck", PROJECT_DIR / "deploy" / "healthcheck.py")
    healthcheck = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(healthcheck)
    web, websocket = (f"http://127.0.0.1:{deployment.ports[name]}" for name in ("web", "websocket"))
    assert healthcheck.main([], live=f"{web}/api/health/live") is None
    assert healthcheck.main([], live=f"{websocket}/api/health/live") is None
    assert healthcheck.main(["workers"], everything=f"{web}/api/health") is None
    assert healthcheck.main(["scheduler"], everything=f"{web}/api/health") is None
    assert "no answer" in healthcheck.main([], live=f"http://127.0.0.1:{free_port()}/")


def test_without_the_processes_behind_it_nginx_says_so(deployment):
    with httpx.Client(base_url=f"http://{deployment.host}") as client:
        deployment.processes["web"].send_signal(signal.SIGTERM)
        deployment.processes["web"].wait(40)
        try:
            reply = client.get("/api/health/live")
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
            assert reply.headers["content-type"] == "application/problem+json"
            assert client.post("/api/receipts/email/postmark/installation").status_code == 503
            assert client.get("/nginx-health").status_code == 204
        finally:
            deployment.start("web")
        eventually(lambda: client.get("/api/health/live").status_code == 200, within_s=60)
