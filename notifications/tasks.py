"""The pipeline as Celery tasks: enrich → filter → route → send. Each unpacks, calls its stage, and passes the chunk on.

A chunk that cannot be passed on is not lost: its events' lease runs out and the sweep takes them up again. A chunk that a
stage chokes on is halved until the event at fault stands alone and becomes a dead letter; its chunk-mates go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from celery import shared_task
from django.db import InterfaceError, OperationalError
from django.utils.timezone import now as clock
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from deliveries import bells, desks
from deliveries.dispatch import CLAIM_SIZE, dispatch
from deliveries.metrics import count_deliveries
from deliveries.queues import DIGESTS_TASK, ENRICH_TASK, RELEASE_TASK, SEND_TASK
from notifications import enrich as enriching
from notifications import filter as filtering
from notifications import leases, metrics
from notifications import route as routing
from notifications import send as sending
from notifications.claims import Claim, ClaimedEvent, claim_events
from notifications.digests import closing
from notifications.digests import leases as digest_leases
from notifications.digests.claims import Claim as DigestClaim
from notifications.digests.claims import ClaimedDigest, claim_digests
from notifications.holds import leases as hold_leases
from notifications.holds.claims import Claim as HoldClaim
from notifications.holds.claims import ClaimedHold, claim_holds
from notifications.holds.release import chunk_of
from notifications.queues import FILTER_TASK, ROUTE_TASK, SEND_IN_APP_TASK, SERIALIZER
from notifications.wire import Chunk, pack, unpack
from tenants.vocabulary import Channel

logger = structlog.get_logger(__name__)

TIME_LIMIT_S = 28
"""A stage that takes longer is ended with its process (in a prefork pool): its events' lease is about to run out, and what
keeps it so long must not keep it for ever. Whose fault it is shows when the suspects work alone.
"""

# The surroundings failed, not the work: the lease runs out and it is tried again as a whole.
_SURROUNDINGS = (OperationalError, InterfaceError, RedisError, BrokerError, OSError)


@shared_task(name=ENRICH_TASK, time_limit=TIME_LIMIT_S)
def enrich() -> None:
    """Answer the bell: take up a chunk of due events and say whom they are for."""
    enough_called = bells.answer_enrich()
    claim = claim_events(now=clock())
    events, left = leases.triage(claim)
    if left:
        leases.give_back([event.id for event in left], claim.lease_id)
    if (claim.more or left) and not enough_called:
        bells.ring_enrich(again=True)
    if events:
        _enrich(claim, events)


def _enrich(claim: Claim, events: list[ClaimedEvent]) -> None:
    try:
        chunk, left_over = enriching.expand(claim, events)
        if left_over:
            leases.give_back([event.id for event in left_over], claim.lease_id)
            bells.ring_enrich(again=True)
        filter_.apply_async((pack(chunk),), serializer=SERIALIZER)
    except _SURROUNDINGS:
        leases.give_back([event.id for event in events], claim.lease_id)
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the chunk-mates
        if len(events) == 1:
            leases.fail_event(events[0].id, claim.lease_id, error)
            return
        logger.warning("chunk_halved", stage="enrich", events=len(events), error=type(error).__name__)
        middle = len(events) // 2
        _enrich(claim, events[:middle])
        _enrich(claim, events[middle:])


@shared_task(name=RELEASE_TASK, time_limit=TIME_LIMIT_S)
def release() -> None:
    """Answer the bell: take up held deliveries whose time has come, and pass them through the gates again."""
    bells.answer_release()
    claim = claim_holds(now=clock())
    if claim.more:
        bells.ring_release(again=True)
    if holds := hold_leases.triage(claim):
        _release(claim, holds)


def _release(claim: HoldClaim, holds: list[ClaimedHold]) -> None:
    ids = [one.held.delivery_id for one in holds]
    try:
        chunk = chunk_of(holds, lease_id=claim.lease_id)
        filter_.apply_async((pack(chunk),), serializer=SERIALIZER)
    except _SURROUNDINGS:
        hold_leases.give_back(ids, claim.lease_id)
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the chunk-mates
        if len(holds) == 1:
            hold_leases.fail(ids, claim.lease_id, hold_leases.in_words(error))
            return
        logger.warning("chunk_halved", stage="release", deliveries=len(holds), error=type(error).__name__)
        middle = len(holds) // 2
        _release(claim, holds[:middle])
        _release(claim, holds[middle:])


@shared_task(name=DIGESTS_TASK, time_limit=TIME_LIMIT_S)
def close_digests() -> None:
    """Answer the bell: close digests whose time has come, and raise the events that carry their messages."""
    bells.answer_digests()
    claim = claim_digests(now=clock())
    if claim.more:
        bells.ring_digests(again=True)
    if digests := digest_leases.triage(claim, now=clock()):
        for part in closing.parts(digests):
            _close_digests(claim, part)


def _close_digests(claim: DigestClaim, digests: list[ClaimedDigest]) -> None:
    try:
        closed = closing.close(digests, lease_id=claim.lease_id, now=clock())
    except _SURROUNDINGS:
        digest_leases.give_back(digests, lease_id=claim.lease_id)
        raise
    except Exception as error:  # noqa: BLE001 - as above
        if len(digests) == 1:
            error_text = hold_leases.in_words(error)
            digest_leases.give_up(digests[0], lease_id=claim.lease_id, error=error_text, now=clock())
            return
        logger.warning("chunk_halved", stage="close_digests", digests=len(digests), error=type(error).__name__)
        middle = len(digests) // 2
        _close_digests(claim, digests[:middle])
        _close_digests(claim, digests[middle:])
        return
    count_deliveries(closed.statuses)
    if closed.events:
        bells.ring_enrich()
    if closed.announced:
        bells.ring_status_webhooks()


@shared_task(name=FILTER_TASK, time_limit=TIME_LIMIT_S)
def filter_(message: bytes) -> None:
    """Decide for every recipient and channel whether it may be sent."""
    _isolating("filter", unpack(message), _filter)


def _filter(chunk: Chunk) -> None:
    route.apply_async((pack(filtering.decide(chunk, now=clock())),), serializer=SERIALIZER)


@shared_task(name=ROUTE_TASK, time_limit=TIME_LIMIT_S)
def route(message: bytes) -> None:
    """Render and write the deliveries, and ring for the channels that have something to send."""
    _isolating("route", unpack(message), _route)


def _route(chunk: Chunk) -> None:
    now = clock()
    routed = routing.write(chunk, now=now)
    metrics.count_processed(routed.processed)
    count_deliveries(routed.statuses)
    if routed.in_app:
        _send_at_once(sending.handover(routed.in_app, created_at=now))
    bells.ring_all(routed.waiting - {Channel.IN_APP})
    if routed.announced:
        bells.ring_status_webhooks()
    if routed.unfinished:
        bells.ring_enrich(again=True)


def _send_at_once(handover: sending.Handover) -> None:
    try:
        send_in_app.apply_async((msgspec.msgpack.encode(handover),), serializer=SERIALIZER)
    except _SURROUNDINGS:
        sending.give_back(handover)
        raise


@shared_task(name=SEND_IN_APP_TASK, time_limit=TIME_LIMIT_S)
def send_in_app(message: bytes) -> None:
    """Publish a chunk's in-app deliveries, written a moment ago."""
    sending.send_in_app(msgspec.msgpack.decode(message, type=sending.Handover))


@shared_task(name=SEND_TASK)
def send(channel: int) -> None:
    """Answer a channel's bell: send what is due on it, until nothing is."""
    wanted = Channel(channel)
    bells.answer_send(wanted)
    if not desks.sit_down(wanted):
        return
    try:
        while True:
            while dispatch(wanted) == CLAIM_SIZE[wanted] and not desks.is_closed():
                bells.ring_send(wanted)  # a full claim: others may join in
            if desks.may_get_up(wanted):
                return
    except BaseException:
        desks.leave(wanted)
        raise


def _isolating(stage: str, chunk: Chunk, run: Callable[[Chunk], Any]) -> None:
    try:
        run(chunk)
    except _SURROUNDINGS:
        leases.give_back_chunk(chunk)
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the chunk-mates
        if len(chunk.works) == 1:
            leases.fail_chunk(chunk, error)
            return
        logger.warning("chunk_halved", stage=stage, events=len(chunk.works), error=type(error).__name__)
        middle = len(chunk.works) // 2
        for part in (range(middle), range(middle, len(chunk.works))):
            _isolating(stage, leases.part_of(chunk, part), run)
