"""Writes to digests from outside the pipeline."""

from __future__ import annotations

from datetime import datetime

from django.db.models import F
from django.db.models.functions import Least

from notifications.digests.models import Digest


def send_now(digest: Digest, *, now: datetime) -> bool:
    """Make an open digest due; ring `bells.ring_digests` after that. False if it is closed already.

    Until it is taken up further items may join it, but none puts its end off.
    """
    is_open = Digest.objects.filter(pk=digest.pk, tenant_id=digest.tenant_id, closed_at=None)
    return bool(is_open.update(due_at=Least(F("due_at"), now), closes_by=Least(F("closes_by"), now)))
