"""Fourth stage: hand over to the providers. In-app deliveries of a chunk follow at once; the rest is claimed by channel."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from deliveries.claims import ClaimedDelivery, release_deliveries
from deliveries.dispatch import send_claimed
from deliveries.services import NewDelivery
from tenants.vocabulary import Channel


class Handover(msgspec.Struct, array_like=True):
    """A chunk's in-app deliveries, stored as `sending` under a lease that is this message's."""

    deliveries: list[ClaimedDelivery]


def handover(rows: Sequence[NewDelivery], *, created_at: datetime) -> Handover:
    return Handover([_claimed(row, created_at) for row in rows])


def send_in_app(message: Handover) -> None:
    for _ in send_claimed(Channel.IN_APP, message.deliveries):
        pass


def give_back(message: Handover) -> None:
    """Undo the lease of a message that could not be published: the sweep sends its deliveries instead."""
    release_deliveries(rows=message.deliveries)


def _claimed(row: NewDelivery, created_at: datetime) -> ClaimedDelivery:
    assert row.lease_until is not None
    return ClaimedDelivery(
        id=row.id,
        tenant_id=row.tenant_id,
        event_id=row.event_id,
        event_type=row.event_type,
        user_id=row.user_id,
        priority=row.priority,
        sandbox=row.sandbox,
        address=row.address,
        subject=row.subject,
        body=row.body,
        html=row.html,
        data=row.data,
        attempt=1,
        retry_count=0,
        interruption_count=0,
        expires_at=row.expires_at,
        accepted_at=row.accepted_at,
        created_at=created_at,
        lease_until=row.lease_until,
        interrupted_at=None,
    )
