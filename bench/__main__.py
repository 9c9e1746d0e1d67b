"""`python -m bench`: run the scenarios against a service of our own, print one table, write bench/results/."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from bench import report
from bench.client import RequestFailedError
from bench.machine import machine_facts, server_facts
from bench.measure import Bounds, Result
from bench.progress import progress
from bench.scenarios import SCENARIOS
from bench.service import Service, ServiceError, running_service
from bench.watch import StuckError
from config.stack.servers import ServerError


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    bounds = Bounds(seconds=options.seconds, events=options.events)
    signal.signal(signal.SIGTERM, _stop)
    try:
        machine = machine_facts()
        if machine["load"] > machine["cores"] / 4:
            print(f"the machine is busy (load {machine['load']}): the figures will be too low", file=sys.stderr)
        print("starting the service", flush=True)
        with running_service() as service:
            facts = {"machine": machine, "servers": server_facts(service.database_url, service.redis_url)}
            results = {name: _measure(name, service, bounds) for name in options.only or SCENARIOS}
    except KeyboardInterrupt:
        return _fail("interrupted; nothing is written", 130)
    except (ServiceError, ServerError, RequestFailedError, StuckError, OSError) as error:
        return _fail(str(error), 1)
    print(f"\n{report.table(results)}\n\n{_summary(facts)}")
    failures = report.failed_checks(results)
    for failure in failures:
        print(f"not as it should be: {failure}", file=sys.stderr)
    if options.write and not failures:
        print(f"written to {report.write(results, facts)}")
    return 1 if failures else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    listed = "\n".join(f"  {name:<14} {scenario.about}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=f"scenarios:\n{listed}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), metavar="NAME", help="run this; may be repeated")
    parser.add_argument("--seconds", type=_positive(float), help="how long scenarios that go by time last")
    parser.add_argument("--events", type=_positive(int), help="how many events a scenario posts")
    parser.add_argument("--no-write", dest="write", action="store_false", help="do not write bench/results/")
    return parser.parse_args(arguments)


def _positive(kind: type[int | float]) -> Any:
    def parse(text: str) -> float:
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError("must be more than 0")
        return value

    return parse


def _measure(name: str, service: Service, bounds: Bounds) -> Result:
    print(f"{name}: {SCENARIOS[name].about}", flush=True)
    with progress(name) as line:
        return asyncio.run(SCENARIOS[name].run(service, bounds, line))


def _summary(facts: dict[str, Any]) -> str:
    machine, servers = facts["machine"], facts["servers"]
    postgres = servers["postgres"]
    return (
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memoryGb']} GB; Python {machine['python']}, "
        f"PostgreSQL {postgres['server_version']}, {servers['redis']}\n"
        f"fsync {postgres['fsync']}, synchronous_commit {postgres['synchronous_commit']}, "
        f"a commit takes {postgres['commitMs']} ms on {postgres['fileSystem']}\n"
        f"load generator on the same machine; load before the run {machine['load']}"
    )


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


def _stop(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
