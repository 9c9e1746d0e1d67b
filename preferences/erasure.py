"""What other rooms know of a user and forget with it. They lie above, and register here how it is erased."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tenants.models import Tenant

Eraser: TypeAlias = Callable[[Tenant, str], bool]
"""Tenant, user id → whether there was anything to forget. Runs in the transaction of the erasure."""

_erasers: list[Eraser] = []


def register(eraser: Eraser) -> None:
    """Called once for each eraser, by its room, when its app is ready."""
    _erasers.append(eraser)


def erase_elsewhere(tenant: Tenant, user_id: str) -> bool:
    """Whether any room had something to forget."""
    forgotten = [erase(tenant, user_id) for erase in _erasers]
    return any(forgotten)
