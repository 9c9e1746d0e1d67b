"""Reads of deliveries."""

from __future__ import annotations

import functools
import operator
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Left
from django.db.models.lookups import Exact, StartsWith

from deliveries.models import ADDRESS_INDEXED, Attempt, AttemptOutcome, Delivery
from deliveries.states import Status
from tenants.ids import created_within
from tenants.models import ProviderAccount, Tenant
from tenants.vocabulary import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """What to look for; None leaves a part open, the others are all required. `since <= created_at < until`."""

    user_id: str | None = None
    event_id: str | None = None
    event_type: str | None = None
    channel: Channel | None = None
    status: Status | None = None
    ambiguous: bool | None = None
    """Whether an attempt of it is ambiguous: it may have gone out twice."""
    held: bool | None = None
    """Whether it waits for its time."""
    since: datetime | None = None
    until: datetime | None = None


def deliveries_matching(tenant: Tenant, wanted: DeliveryFilter) -> QuerySet[Delivery]:
    """The tenant's deliveries that match, unordered."""
    exact = {
        "user_id": wanted.user_id,
        "event_id": wanted.event_id,
        "event_type": wanted.event_type,
        "channel": wanted.channel,
        "status": wanted.status,
        "is_held": wanted.held,
    }
    given = {name: value for name, value in exact.items() if value is not None}
    deliveries = Delivery.objects.for_tenant(tenant).filter(created_within(wanted.since, wanted.until), **given)
    return deliveries if wanted.ambiguous is None else deliveries.filter(has_ambiguous_attempt(wanted.ambiguous))


def digested(tenant_id: int, event_id: str) -> QuerySet[Delivery]:
    """The deliveries that went into the message of a digest's event, in the order in which they came."""
    digest = KeyTextTransform("digestEventId", "explanation")
    return Delivery.objects.for_tenant(tenant_id).filter(Exact(digest, event_id), status=Status.DIGESTED).order_by("id")


def has_ambiguous_attempt(wanted: bool) -> Q:
    """Deliveries of which nobody knows whether an attempt of theirs went out; those without one, if not `wanted`."""
    # Answered by the index on just these attempts.
    found = Q(Exists(Attempt.objects.filter(delivery=OuterRef("pk"), outcome=AttemptOutcome.AMBIGUOUS)))
    return found if wanted else ~found


def deliveries_with_history(tenant: Tenant) -> QuerySet[Delivery]:
    """The tenant's deliveries with their attempts and receipts; the accounts that acted are named, as `account_name`."""
    attempts = Prefetch("attempts", attempts_with_account(Attempt.objects.all()))
    deliveries = Delivery.objects.for_tenant(tenant).annotate(account_name=_account_name("tenant_id"))
    return deliveries.prefetch_related(attempts, "receipts")


def attempts_with_account(attempts: QuerySet[Attempt]) -> QuerySet[Attempt]:
    """With `account_name`: what the tenant calls the account that acted; None without one, or when it is deleted."""
    return attempts.annotate(account_name=_account_name("delivery__tenant_id"))


def _account_name(tenant_id: str) -> Subquery:
    """In the statement that reads the rows. An account is only ever named to its own tenant."""
    acting = ProviderAccount.objects.filter(pk=OuterRef("provider_account_id"), tenant_id=OuterRef(tenant_id))
    return Subquery(acting.values("name"))


def events_of_user(user_id: str, limit: int) -> dict[int, set[str]]:
    """The event ids of the newest `limit` deliveries to users of this name, by tenant."""
    mine = Delivery.objects.filter(tenant_id__in=every_tenant(), user_id=user_id)
    events: dict[int, set[str]] = defaultdict(set)
    for tenant_id, event_id in mine.order_by("-id").values_list("tenant_id", "event_id")[:limit]:
        events[tenant_id].add(event_id)
    return events


def deliveries_named(deliveries: QuerySet[Delivery], text: str) -> QuerySet[Delivery]:
    """Those of `deliveries` whose id, event id, user id or address is `text`; if there are none, begins with it.

    Each meaning is looked for in its own index first, and only those that lead somewhere are asked for: an OR over all of
    them would be a scan of the table.
    """
    ours, has_address, start = Q(tenant_id__in=every_tenant()), ~Q(address=""), Left("address", ADDRESS_INDEXED)
    is_named = [
        *_as_id(text),
        ours & Q(event_id=text),
        ours & Q(user_id=text),
        has_address & Q(Exact(start, text[:ADDRESS_INDEXED])) & Q(address=text),
    ]
    begins = [
        ours & Q(event_id__startswith=text),
        ours & Q(user_id__startswith=text),
        has_address & Q(StartsWith(start, text[:ADDRESS_INDEXED])) & Q(address__startswith=text),
    ]
    for meanings in (is_named, begins):
        found = [meaning for meaning in meanings if Delivery.objects.filter(meaning).exists()]
        if found:
            return deliveries.filter(functools.reduce(operator.or_, found))
    return deliveries.none()


def every_tenant() -> list[int]:
    """The indexes begin with the tenant; naming them all lets a search across tenants use them."""
    return list(Tenant.objects.values_list("pk", flat=True))


def _as_id(text: str) -> list[Q]:
    try:
        return [Q(pk=UUID(text))]
    except ValueError:
        return []
