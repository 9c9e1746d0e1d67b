"""Metrics shared between processes: each writes its own memory-mapped files, whoever is scraped adds them up.

A process is named by host, process id and a random word, so neither containers that share the folder (where process ids
repeat) nor a recycled process id can write into another's file. It holds a lock on `<name>.alive` for as long as it lives;
the kernel drops it however the process ends, `kill -9` included, and other containers on the machine see that too. At the
next scrape the counters of the dead move into one archive file for each type, and their gauges are gone.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from django.core.exceptions import ImproperlyConfigured
from prometheus_client import values
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_ARCHIVE = "archive"
_CUMULATIVE = ("counter", "histogram", "summary")


class _Process:
    """The name of this process, renewed after a fork, and the lock that says it lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pid = 0
        self._name = ""
        self._lock: IO[bytes] | None = None

    def name(self) -> str:
        pid = os.getpid()
        if pid != self._pid:
            self._begin(pid)
        return self._name

    def _begin(self, pid: int) -> None:
        # prometheus_client splits file names at underscores.
        host = socket.gethostname().replace("_", "-").replace("/", "-")
        self._pid, self._name = pid, f"{host}-{pid}-{secrets.token_hex(4)}"
        if self._lock is not None:
            self._lock.close()  # our copy of the parent's; the parent's own stays locked
        while self._lock is None or self._lock.closed or not os.fstat(self._lock.fileno()).st_nlink:
            # Again, if a scrape met the file before it was locked and took it for a dead one's.
            self._lock = (self.folder / f"{self._name}.alive").open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX)


def share_metrics(folder: Path) -> None:
    """Make every metric of this process a shared one, kept in `folder`. To be called before the first metric is made."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        values.ValueClass = values.MultiProcessValue(_Process(folder).name)
    except OSError as error:
        raise ImproperlyConfigured(f"PROMETHEUS_MULTIPROC_DIR: {folder} is not writable: {error.strerror}") from error


class SharedMetrics(Collector):
    """The sum over every process, living and dead, that writes into `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def collect(self) -> Iterable[Metric]:
        with _locked(self.folder):
            self._bury()
            # A file is empty for the moment between its creation and its first page.
            files = [str(path) for path in self.folder.glob("*.db") if path.stat().st_size]
            return list(MultiProcessCollector.merge(files, accumulate=True))

    def _bury(self) -> None:
        dead = [alive for alive in self.folder.glob("*.alive") if _is_free(alive)]
        for kind in _CUMULATIVE:
            _archive(self.folder, kind, [self.folder / f"{kind}_{alive.stem}.db" for alive in dead])
        for alive in dead:
            for gauges in self.folder.glob(f"gauge_*_{alive.stem}.db"):
                gauges.unlink()
            alive.unlink()


def _archive(folder: Path, kind: str, candidates: Iterable[Path]) -> None:
    dead = [path for path in candidates if path.exists()]
    if not dead:
        return
    archive, draft = folder / f"{kind}_{_ARCHIVE}.db", folder / f"{kind}_{_ARCHIVE}.draft"
    draft.unlink(missing_ok=True)
    sources = [str(path) for path in (archive, *dead) if path.exists() and path.stat().st_size]
    merged = MmapedDict(str(draft))
    for metric in MultiProcessCollector.merge(sources, accumulate=False):
        for sample in metric.samples:
            key = mmap_key(metric.name, sample.name, list(sample.labels), list(sample.labels.values()), metric.documentation)
            merged.write_value(key, sample.value, 0.0)
    merged.close()
    draft.replace(archive)
    for path in dead:
        path.unlink()


def _is_free(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One scrape at a time reads and tidies the folder."""
    with (folder / "scrape.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
