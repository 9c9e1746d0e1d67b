"""Giving digests back, and giving up those that come to no end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.utils.timezone import now as clock

from deliveries.held import fail_held
from deliveries.patience import patiently
from notifications.digests.claims import MAX_ATTEMPTS, Claim, ClaimedDigest
from notifications.holds.leases import POISON
from notifications.holds.services import drop_digests
from tenants.columns import uuid_array

logger = structlog.get_logger(__name__)

_PATIENCE = timedelta(seconds=10)


def lock_ours(digest_ids: Sequence[UUID], lease_id: UUID) -> set[UUID]:
    """Those of the digests that are still ours, locked until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM notifications_digest WHERE id = ANY(%s::uuid[]) AND lease_id = %s AND finished_at IS NULL "
            "ORDER BY id FOR UPDATE",
            [uuid_array(digest_ids), lease_id],
        )
        return {row[0] for row in cursor.fetchall()}


def triage(claim: Claim, *, now: datetime) -> list[ClaimedDigest]:
    """What of a claim is worked on; what came to no end too often is given up."""
    for digest in claim.digests:
        if digest.attempt_count > MAX_ATTEMPTS:
            error = f"Its digest was taken up {MAX_ATTEMPTS} times without coming to an end."
            give_up(digest, lease_id=claim.lease_id, error=error, now=now)
    return [digest for digest in claim.digests if digest.attempt_count <= MAX_ATTEMPTS]


def give_up(digest: ClaimedDigest, *, lease_id: UUID, error: str, now: datetime) -> None:
    """Let what a digest has collected fail, so that nothing waits for ever."""
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


def give_back(digests: Sequence[ClaimedDigest], *, lease_id: UUID) -> None:
    """End our lease on what could not be closed; they stay closed to further items. A database that is away is waited for."""
    patiently(lambda: _give_back(digests, lease_id), until=clock() + _PATIENCE)


def _give_back(digests: Sequence[ClaimedDigest], lease_id: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notifications_digest SET lease_until = NULL, lease_id = NULL, attempt_count = attempt_count - 1 "
            "WHERE id = ANY(%s::uuid[]) AND lease_id = %s",
            [uuid_array(digest.id for digest in digests), lease_id],
        )
