"""What a person changes by a link: a few preferences at once, or an address that wants nothing any more."""

from __future__ import annotations

from operator import itemgetter

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils.timezone import now

from preferences import event_types
from preferences.centre.choices import Changes, Wish, fulfil
from preferences.centre.lines import Line, line_about
from preferences.centre.links import UnsubscribeLink
from preferences.choices import LONGEST_LADDER
from preferences.errors import LadderFullError
from preferences.models import Preference, PreferenceSource, Suppression
from preferences.quiet_hours import in_preference
from preferences.resolver import Ladder, Place, Rung
from preferences.selectors import preference_ladders, suppressed
from preferences.services import NewSuppression, add_suppressions
from tenants.models import Tenant

logger = structlog.get_logger(__name__)


class RequiredTypeError(Exception):
    """One cannot be taken off this."""


def ladder_of(tenant: Tenant, user_id: str) -> Ladder:
    return preference_ladders([(tenant.pk, user_id)]).of(tenant.pk, user_id)


@transaction.atomic
def apply_changes(
    *, tenant: Tenant, user_id: str, changes: Changes, source: PreferenceSource, most: int | None = LONGEST_LADDER
) -> None:
    """Write them, all or none; two statements and a count. Raises LadderFullError if the user had more than `most` then."""
    own = Preference.objects.for_tenant(tenant).filter(user_id=user_id)
    for place in changes.drop:
        own.filter(_at(place)).delete()
    if not changes.put:
        return
    # In one order, so that two writers of the same rungs wait for each other rather than deadlock.
    ordered = sorted(changes.put.items(), key=lambda item: (item[0][0] or 0, *item[0][1:]))
    Preference.objects.bulk_create(
        [_row(tenant, user_id, place, rung, source) for place, rung in ordered],
        update_conflicts=True,
        unique_fields=["tenant", "user_id", "channel", "event_type", "category"],
        update_fields=["enabled", *in_preference(None), "delivery", "source", "updated_at"],
    )
    if most is not None and own.count() > most:
        raise LadderFullError(f"There are {most} preferences already; remove some first.")


def unsubscribe(*, tenant: Tenant, link: UnsubscribeLink, way: str) -> None:
    """Do what the link says; a second time changes nothing. `way` is for the log. Raises RequiredTypeError."""
    if link.user_id:
        _take_off(tenant, link, way)
    else:
        _suppress(tenant, link, way)


def line_of(tenant: Tenant, link: UnsubscribeLink) -> Line:
    """What the link takes its user off; raises RequiredTypeError."""
    declared = event_types.all_facts(tenant.pk)
    facts = declared.get(link.event_type)
    if facts is not None and facts.required:
        raise RequiredTypeError
    return line_about(link.event_type, declared)


def is_suppressed(tenant: Tenant, link: UnsubscribeLink) -> bool:
    """Whether the link's addresses get nothing on its channel any more."""
    addresses = {(tenant.pk, link.channel, address) for address in link.address.split(" ")}
    return len(suppressed(addresses)) == len(addresses)


@transaction.atomic
def _take_off(tenant: Tenant, link: UnsubscribeLink, way: str) -> None:
    line = line_of(tenant, link)
    changes = fulfil([Wish(line=line, channel=link.channel, enabled=False)], ladder_of(tenant, link.user_id))
    # However many preferences there are: who wants no more of it must not be refused.
    apply_changes(tenant=tenant, user_id=link.user_id, changes=changes, source=PreferenceSource.UNSUBSCRIBE, most=None)
    logger.info(
        "unsubscribed",
        tenant=tenant.slug,
        user_id=link.user_id,
        channel=link.channel.label,
        event_type=link.event_type,
        category=line.category,
        way=way,
        changed=len(changes.put),
    )


def _suppress(tenant: Tenant, link: UnsubscribeLink, way: str) -> None:
    """What is on the list for another reason stays there for that."""
    addresses = {(tenant.pk, link.channel, address) for address in link.address.split(" ")}
    new = sorted(map(itemgetter(2), addresses - suppressed(addresses).keys()))
    add_suppressions(
        suppressions=[
            NewSuppression(
                tenant_id=tenant.pk,
                channel=link.channel,
                address=address,
                reason=Suppression.Reason.UNSUBSCRIBED.value,
                detail=f"By the link in a message about {link.event_type}, {now():%Y-%m-%d %H:%M} UTC.",
            )
            for address in new
        ]
    )
    logger.info(
        "address_unsubscribed",
        tenant=tenant.slug,
        channel=link.channel.label,
        event_type=link.event_type,
        way=way,
        changed=len(new),
    )


def _at(place: Place) -> Q:
    channel, event_type, category = place
    return Q(channel=channel, event_type=event_type, category=category)


def _row(tenant: Tenant, user_id: str, place: Place, rung: Rung, source: PreferenceSource) -> Preference:
    channel, event_type, category = place
    return Preference(
        tenant=tenant,
        user_id=user_id,
        channel=channel,
        event_type=event_type,
        category=category,
        enabled=rung.enabled,
        **in_preference(rung.quiet_hours),
        delivery=rung.delivery,
        source=source.value,
    )
