"""What other rooms know of a user and forget with it. They lie above, and register here how it is erased."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tenants.models import Tenant

Eraser: TypeAlias = Callable[[Tenant, str], bool]
"""Tenant, user id → whether there was anything to forget. Runs in the transaction of the erasure."""
HistoryEraser: TypeAlias = Callable[[Tenant, str], bool]
"""As an `Eraser`, but of at most a batch of rows, in a transaction of its own; asked again until nothing is left."""

_erasers: list[Eraser] = []
_history_erasers: list[HistoryEraser] = []


def register(eraser: Eraser) -> None:
    """Called once for each eraser, by its room, when its app is ready."""
    _erasers.append(eraser)


def register_history(eraser: HistoryEraser) -> None:
    """As `register`, for what may be any number of rows."""
    _history_erasers.append(eraser)


def erase_elsewhere(tenant: Tenant, user_id: str) -> bool:
    """Whether any room had something to forget."""
    forgotten = [erase(tenant, user_id) for erase in _erasers]
    return any(forgotten)


def erase_history(tenant: Tenant, user_id: str) -> bool:
    """Whether there was any. Interrupted, it goes on where it stopped when it is called again.

    In the order of registration, which is that of the rooms from the top down (`INSTALLED_APPS`): what makes rows in a room
    below comes first. Until a whole round finds nothing, so that what was just being made is forgotten too.
    """
    found = False
    while user_id and any(_erase_all(erase, tenant, user_id) for erase in _history_erasers):
        found = True
    return found


def _erase_all(erase: HistoryEraser, tenant: Tenant, user_id: str) -> bool:
    found = False
    while erase(tenant, user_id):
        found = True
    return found
