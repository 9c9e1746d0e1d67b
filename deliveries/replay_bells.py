"""Ringing for what was replayed, after the commit."""

from __future__ import annotations

from deliveries import bells
from deliveries.replay import Replayed


def ring_for(*replayed: Replayed) -> None:
    bells.ring_all({channel for one in replayed for channel in one.ready.values()})
    if any(one.held for one in replayed):
        bells.ring_release()
