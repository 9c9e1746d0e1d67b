"""The metadata of events. They belong to a room above, which registers here as their source."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

EventKey = tuple[int, str]
"""Tenant id, event id."""
MetadataSource = Callable[[Collection[EventKey]], Mapping[EventKey, dict[str, Any]]]
"""Leaves out events without metadata, and those that are gone."""


def _nothing_known(events: Collection[EventKey]) -> Mapping[EventKey, dict[str, Any]]:
    return {}


_source: MetadataSource = _nothing_known


def register(source: MetadataSource) -> None:
    """Called once, by the room that owns events, when its app is ready."""
    global _source  # noqa: PLW0603
    _source = source


def metadata_of(events: Collection[EventKey]) -> Mapping[EventKey, dict[str, Any]]:
    return _source(events)
