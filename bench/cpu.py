"""CPU time and memory of the service's parts, and of the load generator that shares the machine with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

LOAD_GENERATOR = "load generator"


class Usage:
    """CPU seconds per part between the block's begin and end; filled in when it ends."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}

    def per_event_us(self, events: int) -> float:
        """Microseconds of CPU for each event, all parts but the load generator together."""
        return sum(spent for name, spent in self.cpu_s.items() if name != LOAD_GENERATOR) / events * 1_000_000


@contextmanager
def usage(pids: Path) -> Iterator[Usage]:
    measured = Usage()
    before = _cpu_s(pids)
    yield measured
    after = _cpu_s(pids)
    measured.cpu_s |= {name: round(spent - before.get(name, 0.0), 2) for name, spent in after.items()}


def memory_mb(pids: Path) -> dict[str, float]:
    """The resident memory of each part's largest process, in MB."""
    largest: dict[str, float] = {}
    for name, family in _families(pids).items():
        sizes = []
        for process in family:
            with suppress(psutil.Error):
                sizes.append(process.memory_info().rss / 2**20)
        largest[name] = round(max(sizes, default=0.0), 1)
    return largest


def _cpu_s(pids: Path) -> dict[str, float]:
    spent: dict[str, float] = {}
    for name, family in _families(pids).items():
        for process in family:
            with suppress(psutil.Error):
                times = process.cpu_times()
                # Those of children that ended are with their parent: a server forks a process for each connection.
                ended = times.children_user + times.children_system
                spent[name] = spent.get(name, 0.0) + times.user + times.system + ended
    return spent


def _families(pids: Path) -> Mapping[str, list[psutil.Process]]:
    """Every part with its children, by the pid files that the supervisor keeps."""
    families = {LOAD_GENERATOR: [psutil.Process()]}
    for file in pids.glob("*.json"):
        with suppress(psutil.Error, OSError, ValueError, KeyError):
            process = psutil.Process(json.loads(file.read_text())["pid"])
            families[file.stem] = [process, *process.children(recursive=True)]
    return families
