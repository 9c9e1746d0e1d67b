"""Which retry policy counts for whom."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Q

from deliveries.models import RetrySchedule
from deliveries.retry import RetryPolicy
from tenants.vocabulary import Channel


def policies_for(channel: Channel, tenant_ids: Collection[int]) -> dict[int, RetryPolicy]:
    """For each tenant the policy of the most specific schedule, or the policy by default; one statement."""
    schedules = RetrySchedule.objects.filter(
        Q(channel=channel) | Q(channel=None), Q(tenant_id__in=tenant_ids) | Q(tenant_id=None)
    )
    by_place = {(one.tenant_id, one.channel): one.delays_s for one in schedules}
    return {tenant_id: _policy(by_place, tenant_id, channel) for tenant_id in tenant_ids}


def _policy(by_place: dict[tuple[int | None, int | None], list[int]], tenant_id: int, channel: Channel) -> RetryPolicy:
    for place in ((tenant_id, channel.value), (tenant_id, None), (None, channel.value), (None, None)):
        if place in by_place:
            return RetryPolicy(delays_s=tuple(by_place[place]))
    return RetryPolicy()
