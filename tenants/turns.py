"""Tenants take turns: how a claim is shared out among those who wait."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is due of one tenant in one class of priority; `count` stops at the size of a claim."""

    priority: int
    tenant_id: int
    count: int


def divide(waiting: Sequence[Waiting], limit: int) -> list[tuple[Waiting, int]]:
    """Who may bring how many: the most urgent class first; in a class everyone alike, what one leaves free to the others."""
    shares: list[tuple[Waiting, int]] = []
    left = limit
    for _, group in itertools.groupby(
        sorted(waiting, key=lambda pair: (pair.priority, pair.count)), key=lambda pair: pair.priority
    ):
        pairs = list(group)
        for position, pair in enumerate(pairs):  # the smallest first, so that each remainder is known when it is divided
            share = min(pair.count, math.ceil(left / (len(pairs) - position)), left)
            if share:
                shares.append((pair, share))
                left -= share
    return shares
