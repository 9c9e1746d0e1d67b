"""`python -m tests.acceptance.strain`: put the service under every strain, print one table, write docs/reliability.md."""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from bench.machine import machine_facts
from tests.acceptance import page
from tests.acceptance.strain import report
from tests.acceptance.strain.experiment import Result, conduct
from tests.acceptance.strain.registry import STRAINS
from tests.acceptance.strain.world import running_world

_MOST_LINES = 20


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _stop)
    machine, commit = machine_facts(), page.commit()
    names = options.only or list(STRAINS)
    try:
        results = _conduct_all(names, options.count)
    except KeyboardInterrupt:
        print("interrupted; nothing is written", file=sys.stderr)
        return 130
    table = report.table(results)
    print(f"\n{table}")
    failed = [(result.name, line) for result in results for line in result.failures]
    if failed:
        print(f"not as promised: {', '.join(dict.fromkeys(name for name, _ in failed))}; see above", file=sys.stderr)
    if options.write and not failed and names == list(STRAINS):
        report.PLACE.write(table, machine, commit)
        print(f"written to {page.PAGE}")
    return 1 if failed else 0


def _conduct_all(names: Sequence[str], count: int) -> list[Result]:
    results = []
    for _, group in itertools.groupby(names, key=lambda name: STRAINS[name].house):
        some = list(group)
        strain = STRAINS[some[0]]
        print("starting the service", flush=True)
        with running_world(far_database=strain.far_database, **strain.settings) as world:
            for name in some:
                print(f"{name}: {STRAINS[name].about}", flush=True)
                result = conduct(world, name, STRAINS[name], count=count)
                results.append(result)
                _say(result)
    return results


def _say(result: Result) -> None:
    for felt in result.felt:
        print(f"    {felt.tenant}, {felt.channel}: {felt.at_rest} ms at rest, {felt.under_strain} ms under strain", flush=True)
    print(f"    {result.outcome.words}", flush=True)
    for line in result.failures[:_MOST_LINES]:
        print(f"    not as promised: {line}", flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    listed = "\n".join(f"  {name:<18} {strain.about}" for name, strain in STRAINS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.acceptance.strain",
        description=f"strains:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", choices=list(STRAINS), metavar="NAME", help="this one; may be repeated")
    parser.add_argument("--count", type=int, default=0, help="events that strain; the strain's own number if not given")
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave docs/reliability.md as it is")
    return parser.parse_args(arguments)


def _stop(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
