"""Dead letters sent again: as they are, or to a corrected address. What was never rendered goes back to the gates before."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.utils.timezone import now as clock

from deliveries.models import Delivery
from deliveries.states import Status, sources_of
from preferences.contact_points import NORMAL_FORM, InvalidContactPointError
from preferences.selectors import Address, suppressed
from tenants.times import written_utc
from tenants.vocabulary import Channel

MOST_REPLAYED = 1000

# A delivery whose message was erased stays what it is: there is nothing to send but a blank.
_REPLAY = """
UPDATE deliveries_delivery
SET status = 0, reason = '', error = '', next_attempt_at = %(now)s, lease_until = NULL, retry_count = 0, interruption_count = 0,
    explanation = (COALESCE(explanation, '{}') - 'cancelRequested') || jsonb_build_object('replayedAt', %(replayed_at)s::text)
WHERE tenant_id = %(tenant_id)s AND id = ANY(%(ids)s) AND status = ANY(%(sources)s) AND status = %(failed)s
    AND template_version_id IS NOT NULL AND NOT COALESCE(explanation ? 'erasedAt', false)
RETURNING id, channel
"""

# Without a user the link to unsubscribe speaks of the address, which would be the wrong one.
_CORRECT = """
UPDATE deliveries_delivery
SET address = %(address)s, unsubscribe_token = CASE WHEN user_id = '' THEN '' ELSE unsubscribe_token END,
    explanation = COALESCE(explanation, '{}') || jsonb_build_object('correctedFrom', address)
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND status = %(failed)s AND NOT COALESCE(explanation ? 'erasedAt', false)
"""


Asker: TypeAlias = Callable[[int, Collection[UUID], datetime], set[UUID]]
"""Tenant id, delivery ids, now → those of them that failed without words, and are now held so that they are asked about and
rendered anew. Runs in the transaction of the replay."""

_askers: list[Asker] = []


def register(asker: Asker) -> None:
    """Called by the room that decides and renders, when its app is ready."""
    _askers.append(asker)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was given back. Falsy if nothing was."""

    ready: dict[UUID, Channel]
    """To be sent as it is: ring for the channels."""
    held: set[UUID]
    """To be rendered first: ring for the release."""

    @property
    def ids(self) -> set[UUID]:
        return {*self.ready, *self.held}

    def __bool__(self) -> bool:
        return bool(self.ready or self.held)


class AddressRefusedError(Exception):
    """The corrected address cannot be used; the message may be shown."""


@transaction.atomic
def replay(*, tenant_id: int, ids: Collection[UUID]) -> Replayed:
    """Send dead letters again, now and with all their retries before them; returns those that were dead letters.

    One whose address has come onto the suppression list stays what it is.
    """
    now = clock()
    held = {row_id for ask in _askers for row_id in ask(tenant_id, ids, now)}
    return Replayed(_ready(tenant_id, ids, now), held)


def _ready(tenant_id: int, ids: Collection[UUID], now: datetime) -> dict[UUID, Channel]:
    parameters: dict[str, Any] = {
        "tenant_id": tenant_id,
        "ids": _not_suppressed(tenant_id, ids),
        "now": now,
        "replayed_at": written_utc(now),
        "sources": sources_of(Status.PENDING),
        "failed": Status.FAILED.value,
    }
    with connection.cursor() as cursor:
        cursor.execute(_REPLAY, parameters)
        return {row_id: Channel(channel) for row_id, channel in cursor.fetchall()}


def _not_suppressed(tenant_id: int, ids: Collection[UUID]) -> list[UUID]:
    """The dead letters among `ids` that have an address to go to."""
    dead = Delivery.objects.filter(tenant_id=tenant_id, pk__in=ids, status=Status.FAILED.value)
    places = {pk: _places(tenant_id, Channel(channel), address) for pk, channel, address in dead.values_list(*_PLACE)}
    listed = suppressed({place for several in places.values() for place in several})
    return [pk for pk, several in places.items() if not all(place in listed for place in several)]


def suppression_of(delivery: Delivery) -> str:
    """Why its address may get nothing, as on the suppression list; empty if it may."""
    several = _places(delivery.tenant_id, Channel(delivery.channel), delivery.address)
    listed = suppressed(several)
    return listed[several[0]].reason if all(place in listed for place in several) else ""


_PLACE: Final = ("id", "channel", "address")


def _places(tenant_id: int, channel: Channel, address: str) -> list[Address]:
    """Push goes to several tokens, separated by spaces."""
    return [(tenant_id, channel, one) for one in address.split(" ")]


def replay_to(*, delivery: Delivery, address: str) -> bool:
    """Send one dead letter again, to another address; returns whether it was one. Raises AddressRefusedError.

    The address it had stays in `explanation.correctedFrom`.
    """
    channel = Channel(delivery.channel)
    if channel is Channel.IN_APP:
        raise AddressRefusedError("An in-app message goes to its user; it has no address to correct.")
    try:
        written = NORMAL_FORM[channel](address)
    except InvalidContactPointError as error:
        raise AddressRefusedError(str(error)) from error
    if found := suppressed([(delivery.tenant_id, channel, written)]):
        raise AddressRefusedError(f"This address is on the suppression list: {next(iter(found.values())).reason}.")
    parameters: dict[str, Any] = {
        "tenant_id": delivery.tenant_id,
        "id": delivery.pk,
        "address": written,
        "failed": Status.FAILED.value,
    }
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_CORRECT, parameters)
            # Only as it is: what is to be rendered first goes to the recipient's own address.
            is_replayed = bool(_ready(delivery.tenant_id, [delivery.pk], clock()))
            if not is_replayed:
                transaction.set_rollback(True)  # one that stays a dead letter keeps its address
            return is_replayed
    except IntegrityError as error:
        raise AddressRefusedError("The event has a delivery to this address already.") from error
