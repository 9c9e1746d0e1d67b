"""Which retry policy counts for whom, and a tenant's own schedules."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from django.db.models import Q

from deliveries.models import RetrySchedule
from deliveries.retry import RetryPolicy
from tenants.models import Tenant
from tenants.vocabulary import Channel

_Place: TypeAlias = tuple[int | None, int | None]
"""Tenant, channel; None: every one."""

SOURCES: Final = ("channel", "tenant", "installation", "builtin")
"""Where a schedule comes from: the tenant's own for the channel, or for all channels; the operator's; the code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveSchedule:
    """What holds for a tenant on a channel. No waits: one attempt."""

    channel: Channel
    delays_s: Sequence[float]
    source: str
    """One of `SOURCES`."""

    @property
    def is_default(self) -> bool:
        """Whether the tenant has no schedule of its own for the channel."""
        return self.source != SOURCES[0]


def policies_for(channel: Channel, tenant_ids: Collection[int]) -> dict[int, RetryPolicy]:
    """For each tenant the policy of the most specific schedule, or the policy by default; one statement."""
    by_place = _by_place([channel], tenant_ids)
    return {tenant_id: RetryPolicy(delays_s=_effective(by_place, tenant_id, channel)[0]) for tenant_id in tenant_ids}


def effective_schedules(tenant: Tenant, channels: Collection[Channel] = tuple(Channel)) -> list[EffectiveSchedule]:
    """What holds on each channel; one statement."""
    by_place = _by_place(channels, [tenant.pk])
    effective = ((channel, *_effective(by_place, tenant.pk, channel)) for channel in channels)
    return [EffectiveSchedule(channel=channel, delays_s=delays_s, source=source) for channel, delays_s, source in effective]


def set_schedule(*, tenant: Tenant, channel: Channel, delays_s: Sequence[int]) -> None:
    """Make this the tenant's own schedule for the channel, from the next failure on."""
    RetrySchedule.objects.update_or_create(tenant=tenant, channel=channel, defaults={"delays_s": list(delays_s)})


def drop_schedule(*, tenant: Tenant, channel: Channel) -> None:
    """Take the tenant's own schedule for the channel away, if there is one."""
    RetrySchedule.objects.filter(tenant=tenant, channel=channel).delete()


def _by_place(channels: Collection[Channel], tenant_ids: Collection[int]) -> dict[_Place, list[int]]:
    schedules = RetrySchedule.objects.filter(
        Q(channel__in=channels) | Q(channel=None), Q(tenant_id__in=tenant_ids) | Q(tenant_id=None)
    )
    return {(one.tenant_id, one.channel): one.delays_s for one in schedules}


def _effective(by_place: Mapping[_Place, list[int]], tenant_id: int, channel: Channel) -> tuple[tuple[float, ...], str]:
    """The waits of the most specific schedule, and where it comes from."""
    places: tuple[tuple[_Place, str], ...] = (
        ((tenant_id, channel.value), "channel"),
        ((tenant_id, None), "tenant"),
        ((None, channel.value), "installation"),
        ((None, None), "installation"),
    )
    for place, source in places:
        if place in by_place:
            return tuple(by_place[place]), source
    return RetryPolicy().delays_s, "builtin"
