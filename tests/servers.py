"""Starts the suite's own PostgreSQL and Valkey before Django reads its settings. A pytest plugin, loaded with `-p`.

With `TEST_DATABASE_URL` and `TEST_REDIS_URL` the suite runs on those servers instead. Under xdist the controller starts
PostgreSQL; each worker has a database, a Valkey (or, with `TEST_REDIS_URL`, a number there) and metrics of its own.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_ENVIRONMENT = {
    "SECRET_KEY": "only-for-tests-" + "x" * 40,
    "ENCRYPTION_KEYS": "qxUHtDYUCGt4rhdPBJV9Qb5iwAFpVkzxAcxAGT5rXpE=",
    "DEBUG": "true",
    "ALLOWED_HOSTS": "*",
    "LOG_LEVEL": "WARNING",
    "PYTHONWARNINGS": "",
}
_OF_THE_DEVELOPER = (
    "EMAIL_URL",
    "TWILIO_",
    "FCM_",
    "TELEGRAM_",
    "DATABASE_URL",
    "REDIS_URL",
    "CELERY_BROKER_URL",
    "PUBLIC_URL",
)


def _start() -> None:
    from config.stack.paths import stack_paths
    from config.stack.servers import EmbeddedPostgres, EmbeddedRedis

    for name in [name for name in os.environ if name.startswith(_OF_THE_DEVELOPER)]:
        del os.environ[name]
    state = Path(tempfile.mkdtemp(prefix="nt-"))
    state.chmod(0o755)
    paths = stack_paths(state)
    os.environ |= _ENVIRONMENT | {
        "LOCAL_STATE_DIR": str(state),
        "DATABASE_URL": paths.database_url,
        "REDIS_URL": paths.redis_url,
    }
    own = []
    if os.environ.get("TEST_DATABASE_URL"):
        os.environ["DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]
    else:
        own.append(EmbeddedPostgres(paths, durable=False))
    if os.environ.get("TEST_REDIS_URL"):
        os.environ["REDIS_URL"] = os.environ["TEST_REDIS_URL"]
    else:
        own.append(EmbeddedRedis(paths))

    def stop() -> None:
        for server in own:
            server.stop()
        shutil.rmtree(state, ignore_errors=True)

    atexit.register(stop)
    for server in own:
        server.start()
    paths.metrics.mkdir(parents=True, exist_ok=True)
    os.environ["TEST_SERVERS"] = "started"


def _start_for(worker: str) -> None:
    """What a worker must not share: some tests fill Redis up or cut its connections, and metrics are counted."""
    from config.stack.paths import stack_paths
    from config.stack.servers import EmbeddedRedis

    paths = stack_paths(Path(os.environ["LOCAL_STATE_DIR"]) / worker)
    paths.metrics.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(paths.metrics)
    if os.environ.get("TEST_REDIS_URL"):
        separator = "&" if "?" in os.environ["REDIS_URL"] else "?"
        os.environ["REDIS_URL"] += f"{separator}db={int(worker.removeprefix('gw')) + 1}"
        return
    redis = EmbeddedRedis(paths)
    atexit.register(redis.stop)
    redis.start()
    os.environ["REDIS_URL"] = paths.redis_url


if os.environ.get("TEST_SERVERS") != "started":
    _start()
elif worker := os.environ.get("PYTEST_XDIST_WORKER", ""):
    _start_for(worker)
