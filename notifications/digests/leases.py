"""Digests under a lease: which are still ours, giving them back, and giving up what no worker comes to an end with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog
from django.db import connection, transaction

from deliveries.held import fail_held
from notifications.digests.claims import MAX_ATTEMPTS, SUSPECT_AFTER, ClaimedDigest
from notifications.holds.leases import POISON
from notifications.holds.services import drop_digests
from tenants.columns import uuid_array

logger = structlog.get_logger(__name__)


def lock_ours(digest_ids: Sequence[UUID], lease_id: UUID) -> set[UUID]:
    """Those of the digests that are still ours, locked until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM notifications_digest WHERE id = ANY(%s::uuid[]) AND lease_id = %s AND finished_at IS NULL "
            "ORDER BY id FOR UPDATE",
            [uuid_array(digest_ids), lease_id],
        )
        return {row[0] for row in cursor.fetchall()}


def give_up(digest: ClaimedDigest, *, lease_id: UUID, error: str, now: datetime) -> None:
    """Let what a digest has collected fail, so that nothing waits for ever. It was never rendered: it cannot be sent again."""
    with transaction.atomic():
        if not lock_ours([digest.id], lease_id):
            return
        fail_held(delivery_ids=drop_digests(digest_ids=[digest.id]), reason=POISON, error=error)
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE notifications_digest SET finished_at = %s, error = %s, lease_until = NULL, lease_id = NULL "
                "WHERE id = %s",
                [now, error, digest.id],
            )
    logger.error("digest_failed", digest_id=str(digest.id), error=error)


def triage(digests: Sequence[ClaimedDigest], *, lease_id: UUID, now: datetime) -> tuple[list[ClaimedDigest], bool]:
    """The digests of a claim to be closed now, and whether others were given back.

    What came to no end too often is given up; what may be at fault is closed alone, so that it takes no others with it.
    """
    for worn_out in (one for one in digests if one.attempt_count > MAX_ATTEMPTS):
        give_up(worn_out, lease_id=lease_id, error=f"Taken up {MAX_ATTEMPTS} times without coming to an end.", now=now)
    going = [one for one in digests if one.attempt_count <= MAX_ATTEMPTS]
    suspects = [one for one in going if one.attempt_count > SUSPECT_AFTER]
    if not suspects or len(going) == 1:
        return going, False
    first = max(suspects, key=lambda one: one.attempt_count)
    give_back([one for one in going if one is not first], lease_id=lease_id)
    return [first], True


def give_back(digests: Sequence[ClaimedDigest], *, lease_id: UUID) -> None:
    """End our lease on what could not be closed; they stay closed to further items."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notifications_digest SET lease_until = NULL, lease_id = NULL, attempt_count = attempt_count - 1 "
            "WHERE id = ANY(%s::uuid[]) AND lease_id = %s",
            [uuid_array(digest.id for digest in digests), lease_id],
        )
