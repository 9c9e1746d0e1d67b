"""Giving held deliveries back, and failing what no chunk can digest."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.utils.timezone import now as clock

from deliveries.held import fail_held
from deliveries.patience import patiently
from notifications.holds.claims import MAX_ATTEMPTS, Claim, ClaimedHold
from notifications.holds.services import lift
from tenants.columns import uuid_array

logger = structlog.get_logger(__name__)

POISON = "poison"
_LONGEST_ERROR = 2000
_PATIENCE = timedelta(seconds=10)


def give_back(delivery_ids: Sequence[UUID], lease_id: UUID) -> None:
    """End our lease on what was not begun; it does not count as an attempt. A database that is away is waited for."""
    patiently(lambda: _give_back(delivery_ids, lease_id), until=clock() + _PATIENCE)


def _give_back(delivery_ids: Sequence[UUID], lease_id: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notifications_hold SET lease_until = NULL, lease_id = NULL, attempt_count = attempt_count - 1 "
            "WHERE delivery_id = ANY(%s::uuid[]) AND lease_id = %s",
            [uuid_array(delivery_ids), lease_id],
        )


def fail(delivery_ids: Sequence[UUID], lease_id: UUID, error: str) -> None:
    """Let deliveries fail that a stage cannot digest. Sent again, they are asked about and rendered anew."""
    with transaction.atomic():
        fail_held(delivery_ids=lift(delivery_ids=delivery_ids, lease_id=lease_id), reason=POISON, error=error)
    logger.error("held_deliveries_failed", delivery_ids=[str(one) for one in delivery_ids], error=error)


def in_words(error: Exception) -> str:
    return "".join(traceback.format_exception_only(error))[:_LONGEST_ERROR].replace("\x00", "")


def triage(claim: Claim) -> list[ClaimedHold]:
    """What of a claim is worked on; what came to no end too often fails."""
    worn_out = [one.held.delivery_id for one in claim.holds if one.attempt_count > MAX_ATTEMPTS]
    if worn_out:
        fail(worn_out, claim.lease_id, f"Taken up {MAX_ATTEMPTS} times without coming to an end.")
    return [one for one in claim.holds if one.attempt_count <= MAX_ATTEMPTS]
