"""`python -m tests.acceptance.chaos`: strike the service at every crash point, print one table, write docs/reliability.md."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from bench.machine import machine_facts
from tests.acceptance import page
from tests.acceptance.chaos import report
from tests.acceptance.chaos.experiment import Result, conduct
from tests.acceptance.chaos.points import CRASH_POINTS
from tests.acceptance.chaos.stand import running_stand

_EVENTS = 600
_MOST_LINES = 40


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _stop)
    machine, commit = machine_facts(), page.commit()
    names = options.only or list(CRASH_POINTS)
    try:
        results, failures = _conduct_all(names, options.events)
    except KeyboardInterrupt:
        print("interrupted; nothing is written", file=sys.stderr)
        return 130
    if results:
        print(f"\n{report.table(results)}")
    for failure in failures:
        print(f"not as promised: {failure}", file=sys.stderr)
    if options.write and not failures and list(CRASH_POINTS) == names:
        report.write(results, machine, commit)
        print(f"written to {page.PAGE}")
    return 1 if failures else 0


def _conduct_all(names: Sequence[str], events: int) -> tuple[list[Result], list[str]]:
    """After a failure the next crash point gets a service that has not seen it."""
    results: list[Result] = []
    failures: list[str] = []
    left = list(names)
    while left:
        print("starting the service", flush=True)
        with running_stand() as stand:
            while left:
                name = left.pop(0)
                print(f"{name}: {CRASH_POINTS[name].about}", flush=True)
                try:
                    result = conduct(stand, name, events=events)
                except AssertionError as error:
                    failures.append(f"{name}: {error}")
                    break
                results.append(result)
                print("    " + ", ".join(_words(result)), flush=True)
                if result.failures:
                    failures += _shortened(name, result.failures)
                    break
    return results, failures


def _words(result: Result) -> list[str]:
    final = "not final" if result.final_s is None else f"final after {result.final_s:.1f} s"
    return [f"{result.accepted} accepted", f"{len(result.verdict.lost)} lost", f"{result.verdict.twice} twice", final]


def _shortened(name: str, failures: Sequence[str]) -> list[str]:
    lines = [f"{name}: {line}" for line in failures[:_MOST_LINES]]
    return lines if len(failures) <= _MOST_LINES else [*lines, f"{name}: and {len(failures) - _MOST_LINES} more"]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    listed = "\n".join(f"  {name:<18} {point.about}" for name, point in CRASH_POINTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.acceptance.chaos",
        description=f"crash points:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", choices=list(CRASH_POINTS), metavar="NAME", help="this one; may be repeated")
    parser.add_argument(
        "--events", type=_at_least_three, default=_EVENTS, help=f"posted at each crash point; {_EVENTS} if not given"
    )
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave docs/reliability.md as it is")
    return parser.parse_args(arguments)


def _at_least_three(text: str) -> int:
    number = int(text)
    if number < 3:
        raise argparse.ArgumentTypeError("must be 3 or more")
    return number


def _stop(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
