"""The local run: everything the service needs, from one command."""

from __future__ import annotations

import functools
import json
import os
import socket
import urllib.request
from contextlib import suppress

from config.environment import KNOWN, Environment, read_environment
from config.sources import gather, generate_keys
from config.stack import programs
from config.stack.leftovers import end_leftovers
from config.stack.paths import StackPaths
from config.stack.running import RunningFile
from config.stack.servers import EmbeddedPostgres, EmbeddedRedis, EmbeddedServer
from config.stack.signals import StopRequests
from config.stack.supervisor import StartError, StopRequested, Supervisor
from config.stack.welcome import welcome

_READY_TIMEOUT_S = 60.0
# The last to stop: what works needs its servers until it has finished or given back.
_STOP_ORDER = (("web",), ("pipeline", "send", "scheduler"), ("redis",), ("postgres",))


def run() -> None:
    """Run the stack until someone asks to stop; raises StartError, AlreadyRunningError or ImproperlyConfigured."""
    requests = StopRequests()
    settings, stack = gather(KNOWN)
    running = RunningFile(stack)
    try:
        environment = _complete(settings, stack)
        left = end_leftovers(stack)
        if left:
            say(f"ended what an earlier run had left behind: {', '.join(left)}")
        _check_port(environment.port)
        running.publish({name: os.environ[name] for name in KNOWN if name in os.environ})
        supervisor = Supervisor(say=say, requests_to_stop=requests.count)
        try:
            _start(supervisor, environment)
            supervisor.keep_alive()
        except StopRequested:
            say("stopping: work in hand is finished first")
        finally:
            supervisor.stop(_STOP_ORDER)
        say("stopped")
    finally:
        running.release()


def say(line: str) -> None:
    with suppress(OSError):  # nobody listens any more, and the stack is worth more than its last words
        print(line, flush=True)


def _complete(settings: dict[str, str], stack: StackPaths) -> Environment:
    """Fill in what a local run never asks for, for this process and all its parts."""
    if not (settings.get("SECRET_KEY") and settings.get("ENCRYPTION_KEYS")):
        settings = generate_keys(stack) | settings
    os.environ.setdefault("DEBUG", settings.get("DEBUG") or "true")
    return read_environment()


def _start(supervisor: Supervisor, environment: Environment) -> None:
    stack = environment.stack
    say(f"starting (state and logs in {stack.state})")
    servers: list[EmbeddedServer] = []
    if environment.embedded_redis:
        servers.append(EmbeddedRedis(stack))
    if environment.embedded_postgres:
        servers.append(EmbeddedPostgres(stack))
    supervisor.start(servers)
    programs.load()
    supervisor.wait_for(servers)
    _check_servers(environment)
    # Production is spared the demo tenant and its well-known password.
    prepare = functools.partial(programs.prepare, demo=environment.debug)
    demo = supervisor.run_to_end("preparing the database", prepare, log_file=stack.logs / "prepare.log")
    supervisor.start(programs.programs(environment))
    base_url = f"http://127.0.0.1:{environment.port}"
    if not supervisor.wait_until(lambda: _is_healthy(base_url), timeout_s=_READY_TIMEOUT_S):
        say(f"not everything answers yet: see {base_url}/api/health and {stack.logs}")
    say(welcome(base_url=base_url, demo=demo, logs=str(stack.logs)))


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            reason = f"PORT {port} cannot be used ({error.strerror}); choose another, e.g. make run PORT=8001"
            raise StartError(reason) from error


def _check_servers(environment: Environment) -> None:
    """Servers that the settings name are asked now: one line here is worth more than a traceback from each part."""
    import psycopg
    import redis

    try:
        psycopg.connect(environment.database_url, connect_timeout=5).close()
    except psycopg.Error as error:
        raise StartError(f"DATABASE_URL: cannot connect ({str(error).strip().splitlines()[0]})") from error
    try:
        with redis.Redis.from_url(environment.redis_url, socket_connect_timeout=5) as client:
            client.ping()
    except redis.RedisError as error:
        raise StartError(f"REDIS_URL: cannot connect ({error})") from error


def _is_healthy(base_url: str) -> bool:
    with suppress(OSError, ValueError), urllib.request.urlopen(f"{base_url}/api/health", timeout=2) as reply:  # noqa: S310
        return bool(json.load(reply)["status"] == "ok")
    return False
