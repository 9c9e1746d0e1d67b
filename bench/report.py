"""What a run leaves behind: a table for people, a JSON file for comparison, a plot if matplotlib is there.

`python -m bench.report` prints the newest file of bench/results/ as the table of docs/performance.md.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.measure import Figure, Result, percentile
from config.stack.paths import PROJECT_DIR

RESULTS = PROJECT_DIR / "bench" / "results"
_HEADINGS = ("scenario", "figure", "value", "", "of the floor")
_RIGHT = (2, 4)
"""Columns of numbers."""


def table(results: Mapping[str, Result]) -> str:
    rows = [_HEADINGS, *(row for name, result in results.items() for row in _rows(name, result, results))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(_padded(row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def failed_checks(results: Mapping[str, Result]) -> list[str]:
    return [
        f"{name}: {check.name}: expected {check.expected:,}, found {check.found:,}"
        for name, result in results.items()
        for check in result.checks
        if not check.ok
    ]


def share_of_floor(figure: Figure, results: Mapping[str, Result]) -> float | None:
    """The figure as a share of the floor's, if the floor was measured in the same run."""
    floor = results["floor"].figure(figure.floor) if figure.floor and "floor" in results else None
    return figure.value / floor.value if floor else None


def write(results: Mapping[str, Result], facts: Mapping[str, Any]) -> Path:
    """Write `bench/results/<date>-<commit>.json`, and a plot of latencies beside it; returns the file."""
    now, commit = datetime.now(UTC), commit_name(besides=["bench/results"])
    document = {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit,
        "loadGenerator": "on the same machine",
        **facts,
        "scenarios": {name: _document(result, results) for name, result in results.items()},
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{now:%Y-%m-%d}-{commit}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    for name, result in results.items():
        if result.samples_ms:
            _plot(path.with_suffix(".png"), name, result.samples_ms)
    return path


def newest() -> Path:
    """The newest file of results, by the date it holds."""
    return max(RESULTS.glob("*.json"), key=lambda path: str(json.loads(path.read_text())["date"]))


def markdown(document: Mapping[str, Any]) -> str:
    """A written run as a Markdown table."""
    lines = ["| scenario | figure | value | of the floor |", "|---|---|--:|--:|"]
    for name, scenario in document["scenarios"].items():
        for figure, measured in scenario["figures"].items():
            share = f"{measured['ofFloor']:.0%}" if "ofFloor" in measured else ""
            lines.append(f"| `{name}` | {figure} | {_number(measured['value'])} {measured['unit']} | {share} |")
    return "\n".join(lines)


def commit_name(*, besides: Sequence[str]) -> str:
    """The commit's short name; `-changed` if the tree is not what was committed, `besides` what a run itself writes."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    name = git("rev-parse", "--short", "HEAD") or "unknown"
    excluded = [f":!{path}" for path in besides]
    return f"{name}-changed" if git("status", "--porcelain", "--", ".", *excluded) else name


def _rows(name: str, result: Result, results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for position, figure in enumerate(result.figures):
        share = share_of_floor(figure, results)
        cells = (_number(figure.value), figure.unit, "" if share is None else f"{share:.0%}")
        rows.append((name if position == 0 else "", figure.name, *cells))
    return rows


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = enumerate(zip(row, widths, strict=True))
    return [cell.rjust(width) if column in _RIGHT else cell.ljust(width) for column, (cell, width) in cells]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _document(result: Result, results: Mapping[str, Result]) -> dict[str, Any]:
    figures = {}
    for figure in result.figures:
        share = share_of_floor(figure, results)
        figures[figure.name] = {"value": round(figure.value, 2), "unit": figure.unit}
        if share is not None:
            figures[figure.name]["ofFloor"] = round(share, 3)
    checks = [asdict(check) | {"ok": check.ok} for check in result.checks]
    return {"parameters": dict(result.parameters), "figures": figures, "checks": checks, "cpuS": dict(result.cpu_s)}


def _plot(path: Path, name: str, samples_ms: Sequence[float]) -> None:
    """The share of latencies up to each value; left out where matplotlib is not installed."""
    with suppress(ImportError):
        from matplotlib import pyplot as plt

        figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
        ordered = sorted(samples_ms)
        axes.plot(ordered, [100 * (rank + 1) / len(ordered) for rank in range(len(ordered))], linewidth=2)
        for share, words in ((0.5, "half"), (0.99, "99 of 100")):
            value, height = percentile(ordered, share), 100 * share
            axes.vlines(value, 0, height, linestyle=":", linewidth=1, color="0.4")
            # The curve only rises: above it to the left, and below it to the right, is room for a label at its own height.
            side, edge, away = ("right", "bottom", 4) if value > ordered[-1] / 2 else ("left", "top", -4)
            axes.annotate(
                f" {words} within {value:.1f} ms ",
                (value, height),
                (0, away),
                textcoords="offset points",
                horizontalalignment=side,
                verticalalignment=edge,
            )
        axes.set(xlabel="ms from POST to websocket frame", ylabel="% of events", title=name, ylim=(0, 112), xlim=(0, None))
        axes.set_yticks(range(0, 101, 20))
        axes.grid(visible=True, alpha=0.3)
        figure.savefig(path, dpi=120)
        plt.close(figure)


if __name__ == "__main__":
    print(markdown(json.loads(newest().read_text())))
