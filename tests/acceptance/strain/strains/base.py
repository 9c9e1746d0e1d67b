"""What a strain is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.acceptance.strain.world import BYSTANDER, World


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the strained work."""

    words: str
    failures: list[str] = field(default_factory=list)
    """What is not as promised."""
    late: list[str] = field(default_factory=list)
    """What is as promised, but not in time."""


@dataclass(frozen=True, slots=True)
class Strain:
    about: str
    apply: Callable[[World, str, int], Outcome]
    """Strains the service with so many events whose ids begin with the text given; returns when they are final."""
    count: int
    worst_s: float = 5.0
    """No bystander's message may take longer."""
    settings: Mapping[str, str] = field(default_factory=dict)
    far_database: bool = False
    bystanders: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {BYSTANDER: ("normal", "urgent")})
    """Tenants, and the priorities of their events in turn."""

    @property
    def house(self) -> tuple[object, ...]:
        """Strains that need the same service may have it one after the other."""
        return (tuple(self.settings.items()), self.far_database)


def seconds(final_s: float | None) -> str:
    return "not final" if final_s is None else f"final after {final_s:.1f} s"


def not_final(final_s: float | None) -> list[str]:
    return ["the strained work is not final"] if final_s is None else []
