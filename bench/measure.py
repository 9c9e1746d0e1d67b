"""What a scenario gives back: figures, and checks that the work behind them was really done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much work a run is to do; None leaves it to the scenario."""

    seconds: float | None = None
    events: int | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: float
    unit: str
    floor: str = ""
    """The figure of the floor that this one is a share of."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must have happened exactly as often as it should; a figure without it would be worth nothing."""

    name: str
    expected: int
    found: int
    at_least: bool = False
    """Whether more than expected is fine too."""

    @property
    def ok(self) -> bool:
        return self.found >= self.expected if self.at_least else self.found == self.expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    parameters: Mapping[str, Any]
    figures: Sequence[Figure]
    checks: Sequence[Check] = ()
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    """CPU seconds that each part used while the scenario ran."""
    samples_ms: Sequence[float] = ()
    """Single latencies, where the scenario measures them."""

    def figure(self, name: str) -> Figure | None:
        return next((figure for figure in self.figures if figure.name == name), None)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed; `values` need not be sorted."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def latency_figures(prefix: str, samples_ms: Sequence[float], shares: Sequence[float] = (0.5, 0.99)) -> list[Figure]:
    """`p50`, `p99` … and `max` (share 1) of some latencies in milliseconds."""
    return [
        Figure(prefix + ("max" if share == 1 else f"p{share * 100:g}"), percentile(samples_ms, share), "ms") for share in shares
    ]
