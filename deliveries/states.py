"""The life of a delivery: every state, and every change that is allowed. Nothing else decides this.

pending → sending → sent → delivered
   │         │        └──→ bounced
   │         ├─→ pending (retry) · failed · expired · canceled
   └─→ suppressed · digested · expired · canceled · failed · delivered, bounced (by a receipt)
"""

from __future__ import annotations

from typing import Final

from tenants.vocabulary import Coded


class Status(Coded):
    PENDING = 0, "pending"
    SENDING = 1, "sending"
    SENT = 2, "sent"
    DELIVERED = 3, "delivered"
    BOUNCED = 4, "bounced"
    FAILED = 5, "failed"
    SUPPRESSED = 6, "suppressed"
    EXPIRED = 7, "expired"
    CANCELED = 8, "canceled"
    DIGESTED = 9, "digested"


TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    # `delivered` and `bounced`, here and below: a receipt may answer for an attempt whose own answer was lost, and which is to
    # be repeated; and it may overtake the record that its message was sent.
    Status.PENDING: frozenset(
        {
            Status.SENDING,
            Status.DELIVERED,
            Status.BOUNCED,
            Status.SUPPRESSED,
            Status.DIGESTED,
            Status.EXPIRED,
            Status.CANCELED,
            Status.FAILED,
        }
    ),
    Status.SENDING: frozenset(
        {Status.SENT, Status.DELIVERED, Status.BOUNCED, Status.PENDING, Status.FAILED, Status.EXPIRED, Status.CANCELED}
    ),
    Status.SENT: frozenset({Status.DELIVERED, Status.BOUNCED}),
    Status.DELIVERED: frozenset({Status.BOUNCED}),  # some providers report a bounce after a first "delivered"
    Status.BOUNCED: frozenset(),
    Status.FAILED: frozenset({Status.PENDING}),  # a dead letter, replayed
    Status.SUPPRESSED: frozenset(),
    Status.EXPIRED: frozenset(),
    Status.CANCELED: frozenset(),
    Status.DIGESTED: frozenset(),  # what becomes of it is the digest's own delivery
}

OPEN: Final = frozenset({Status.PENDING, Status.SENDING})
"""States with work left to do."""

HANDED_OVER: Final = frozenset({Status.SENT, Status.DELIVERED, Status.BOUNCED})
"""States in which a provider (or the sandbox) has taken the message."""

UNHAPPY: Final = frozenset({Status.BOUNCED, Status.FAILED, Status.SUPPRESSED, Status.EXPIRED, Status.CANCELED})
"""States, final but for a replay, in which the recipient did not get the message."""


def may_become(current: Status, target: Status) -> bool:
    return target in TRANSITIONS[current]


def sources_of(target: Status) -> list[int]:
    """The states from which `target` may be reached: the condition of every conditional update."""
    return [source.value for source, targets in TRANSITIONS.items() if target in targets]
