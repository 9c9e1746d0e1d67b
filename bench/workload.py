"""What the events of all scenarios are like: an order's notice, with a template that uses their data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

EVENT_TYPE = "order.shipped"
SUBJECT = "Order {{ orderId }} is on its way"
TEMPLATE = "Hello {{ name }}, order {{ orderId }} ({{ items | size }} items) is with {{ carrier | default: 'the carrier' }}."
VARIABLES: list[dict[str, Any]] = [
    {"name": "orderId"},
    {"name": "name"},
    {"name": "items"},
    {"name": "carrier", "required": False},
]

USERS = [f"user-{index}" for index in range(2000)]
"""Users without an open socket."""
WATCHED = [f"watched-{index}" for index in range(20)]
"""Users whose inbox is open, where a scenario opens it."""
EVERY_NTH_CHOSE = 5
"""So many of the users have a preference of their own, so that the resolver has something to look at."""
BULK = 500
"""Events in a bulk request."""


def event(run: str, user_id: str, number: int) -> dict[str, Any]:
    """One in-app event, some 250 bytes as JSON; run and number come back in the frame's data."""
    data = {"orderId": f"A-{number:07}", "name": "Ada", "items": ["tea", "pot", "cup"], "run": run, "number": number}
    return {
        "eventId": f"{run}-{number}",
        "eventType": EVENT_TYPE,
        "userId": user_id,
        "channels": ["in_app"],
        "data": data,
    }


def bulk_bodies(run: str, users: Sequence[str], events: int) -> list[bytes]:
    """`events` events for `users` in turn, as bodies of bulk requests."""
    posted = [event(run, users[number % len(users)], number) for number in range(events)]
    return [msgspec.json.encode({"events": posted[start : start + BULK]}) for start in range(0, events, BULK)]
