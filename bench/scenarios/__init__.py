"""The scenarios, in the order in which they run. A new one is a file beside this one and a line in the table."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.measure import Bounds, Result
from bench.progress import Progress
from bench.scenarios import bulk_in_app, floor, intake_single, latency_20
from bench.service import Service


@dataclass(frozen=True, slots=True)
class Scenario:
    about: str
    run: Callable[[Service, Bounds, Progress], Coroutine[Any, Any, Result]]


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "floor": Scenario("the bare SQL and Redis work, no framework around it", floor.run),
    "latency_20": Scenario("20 single events a second, POST to frame in the websocket", latency_20.run),
    "intake_single": Scenario("single events over 50 connections", intake_single.run),
    "bulk_in_app": Scenario("bulk requests of 500, first POST to all recorded as sent", bulk_in_app.run),
}
