"""Reads of digests and what they hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count, QuerySet

from deliveries.models import Delivery
from deliveries.selectors import digested
from notifications.digests.models import Digest
from notifications.holds.models import Hold
from tenants.models import Tenant
from tenants.vocabulary import Channel

MOST_SHOWN = 100
"""Items shown with their digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestFilter:
    """What to look for; None leaves a part open, the others are all required."""

    user_id: str | None = None
    channel: Channel | None = None
    open: bool | None = None
    """Whether items still join it."""


def digests_matching(tenant: Tenant, wanted: DigestFilter) -> QuerySet[Digest]:
    """The tenant's digests that match, unordered."""
    exact = {"user_id": wanted.user_id, "channel": wanted.channel, "closed_at__isnull": wanted.open}
    return Digest.objects.for_tenant(tenant).filter(**{name: value for name, value in exact.items() if value is not None})


def holding(digests: Collection[Digest]) -> dict[UUID, int]:
    """How much those of the digests that are not finished hold now; one statement, none if all are finished."""
    ids = [digest.pk for digest in digests if digest.finished_at is None]
    if not ids:
        return {}
    return dict(Hold.objects.filter(digest_id__in=ids).values_list("digest_id").annotate(Count("delivery_id")))


def items_shown(digest: Digest) -> Sequence[Delivery]:
    """The first `MOST_SHOWN` deliveries that it holds or, once it is finished, that went into its message."""
    if digest.finished_at is not None:
        return list(digested(digest.tenant_id, digest.event_id)[:MOST_SHOWN]) if digest.event_id else []
    held = Hold.objects.filter(digest_id=digest.pk).order_by("delivery_id").values_list("delivery_id", flat=True)
    found = Delivery.objects.for_tenant(digest.tenant_id).filter(pk__in=list(held[:MOST_SHOWN]), is_held=True)
    return list(found.order_by("id"))
