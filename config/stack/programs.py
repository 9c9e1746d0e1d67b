"""The service's own processes in a local run. `docker-compose.yml` starts the same ones from the command line.

They are forked from the supervisor, which imports everything once (`load`): that is two thirds of the time of a start.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
from collections.abc import Mapping, Sequence

import django

from config.environment import Environment
from config.stack.parts import ForkedPart, Part
from deliveries.queues import PIPELINE, QUEUES, send_queue
from tenants.vocabulary import Channel

# In-app items are rows and a publish, nothing to wait for: they go with the pipeline. The others wait for vendors.
QUICK_QUEUES = (PIPELINE, send_queue(Channel.IN_APP))
SLOW_QUEUES = tuple(queue for queue in QUEUES if queue not in QUICK_QUEUES)


_HEAVY = (
    "celery.apps.worker",
    "celery.bin.celery",
    "config.asgi",
    "config.management.commands.run_scheduler",
    "config.urls",
    "uvicorn.protocols.http.httptools_impl",
    "config.websocket_protocol",
)


def load() -> None:
    """Import what the programs will need. Opens no connection and starts no thread, so that forking is safe."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    for module in _HEAVY:
        importlib.import_module(module)
    from config.celery import app

    app.loader.import_default_modules()
    gc.freeze()  # the copies share these pages for as long as nobody writes to them


def programs(environment: Environment) -> Sequence[Part]:
    stack = environment.stack
    return [
        ForkedPart(stack, "web", lambda: _web(environment.port), stop_within_s=12),
        ForkedPart(stack, "pipeline", lambda: _worker("pipeline", "--pool=prefork", "--concurrency=2", queues=QUICK_QUEUES)),
        ForkedPart(stack, "send", lambda: _worker("send", "--pool=threads", "--concurrency=64", queues=SLOW_QUEUES)),
        ForkedPart(stack, "scheduler", _scheduler),
    ]


def prepare(*, demo: bool) -> Mapping[str, object]:
    """Bring the database up to date; with `demo`, what there is to show of the demo tenant."""
    from django.core.management import call_command

    call_command("migrate", interactive=False, verbosity=0)
    if not demo:
        call_command("collectstatic", interactive=False, verbosity=0)
        return {}
    printed = io.StringIO()
    call_command("seed_demo", stdout=printed)
    shown: Mapping[str, object] = json.loads(printed.getvalue())
    return shown


def _web(port: int) -> None:
    import uvicorn

    uvicorn.run(
        "config.asgi:application",
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws="config.websocket_protocol:WebSocketProtocol",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=8,
        ws_max_size=1 << 20,  # clients say little
        ws_per_message_deflate=False,  # a compressor for each socket costs more memory than the frames are long
    )


def _worker(name: str, *options: str, queues: Sequence[str]) -> None:
    from config.celery import app

    os.environ["CELERY_SKIP_CHECKS"] = "1"  # two seconds of every start; `make check` runs them
    argv = [
        "--quiet",
        "worker",
        f"--hostname={name}@%h",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        f"--queues={','.join(queues)}",
    ]
    app.worker_main([*argv, *options])


def _scheduler() -> None:
    from django.core.management import call_command

    call_command("run_scheduler")
