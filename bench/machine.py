"""What the figures were measured on, asked of the machine and of the running servers themselves."""

from __future__ import annotations

import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis

_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers")
_COMMITS = 200


def machine_facts() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        # Of the minute before: on a machine that was busy with something else, the figures are that much too low.
        "load": round(os.getloadavg()[0], 2),
        "memoryGb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def server_facts(database_url: str, redis_url: str) -> dict[str, Any]:
    """Versions, what durability the running PostgreSQL says it has, and what one commit costs here."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        settings = {name: _show(connection, name) for name in _SETTINGS}
        commit_ms = _commit_ms(connection)
        data = _show(connection, "data_directory")
    with redis.Redis.from_url(redis_url) as client:
        info: Any = client.info("server")
    version = info.get("valkey_version")
    return {
        "postgres": settings | {"commitMs": round(commit_ms, 3), "fileSystem": _file_system(Path(data))},
        "redis": f"Valkey {version}" if version else f"Redis {info['redis_version']}",
    }


def _show(connection: psycopg.Connection[Any], name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])


def _commit_ms(connection: psycopg.Connection[Any]) -> float:
    """The median of small commits one after the other: far below a tenth of a millisecond, nothing reaches a disk."""
    connection.execute("CREATE TABLE bench_commit (n int)")
    times = []
    for number in range(_COMMITS):
        started = time.perf_counter()
        connection.execute("INSERT INTO bench_commit VALUES (%s)", [number])
        times.append((time.perf_counter() - started) * 1000)
    connection.execute("DROP TABLE bench_commit")
    return statistics.median(times)


def _file_system(path: Path) -> str:
    mounts = [mount for mount in psutil.disk_partitions(all=True) if path.is_relative_to(mount.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "unknown"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
