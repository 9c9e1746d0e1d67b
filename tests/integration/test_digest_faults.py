"""Digests that no worker comes to an end with."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils.timezone import now

from deliveries.models import Delivery
from deliveries.services import cancel_event_deliveries
from deliveries.states import Status
from notifications import tasks
from notifications.digests import closing
from notifications.digests.claims import MAX_ATTEMPTS, claim_digests
from notifications.models import Digest, Hold
from tests.factories import DeliveryFactory, DigestFactory
from tests.integration.test_admin_limits import digest_with

AGO = now() - timedelta(hours=1)


def the_same(digest) -> Digest:
    return Digest.objects.get(pk=digest.pk)


def test_one_that_brings_its_workers_down_is_given_up_and_takes_no_others_with_it(tenant, monkeypatch):
    bad, good = digest_with(tenant, 2, user_id="bad", due_at=AGO), DigestFactory(tenant=tenant, user_id="good", due_at=AGO)
    closed_with = []

    def die_of_the_bad_one(digests, **_):
        closed_with.append(sorted(one.user_id for one in digests))
        if bad.pk in {one.id for one in digests}:
            raise KeyboardInterrupt  # as if the process ended: nothing is given back, nothing recorded
        Digest.objects.filter(pk__in=[one.id for one in digests]).update(finished_at=now())
        return closing.Closed(0, {}, announced=False)

    monkeypatch.setattr(closing, "close", die_of_the_bad_one)
    moment = now()
    for _ in range(3 * MAX_ATTEMPTS):
        moment += timedelta(minutes=2)  # the lease has run out
        monkeypatch.setattr(tasks, "clock", lambda at=moment: at)
        try:
            tasks.close_digests()
        except KeyboardInterrupt:
            continue
    assert the_same(good).finished_at is not None
    assert the_same(good).error == ""
    given_up = the_same(bad)
    assert given_up.error == f"Its digest was taken up {MAX_ATTEMPTS} times without coming to an end."
    assert {(one.status, one.reason) for one in Delivery.objects.all()} == {(Status.FAILED, "poison")}
    # Twice as any, once together under suspicion, then alone.
    assert closed_with.count(["bad", "good"]) == 3
    assert closed_with.count(["bad"]) == MAX_ATTEMPTS - 3
    assert not claim_digests(now=moment + timedelta(hours=1)).digests


def test_much_is_closed_in_parts(tenant, monkeypatch):
    monkeypatch.setattr(closing, "MOST_AT_ONCE", 3)
    for number, size in enumerate((2, 1, 5, 1)):
        digest_with(tenant, size, user_id=f"u{number}", due_at=AGO)
    claim = claim_digests(now=now())
    sizes = {"u0": 2, "u1": 1, "u2": 5, "u3": 1}
    found = [[one.user_id for one in part] for part in closing.parts(claim.digests)]
    assert sorted(name for part in found for name in part) == sorted(sizes)
    assert len(found) > 1
    assert all(len(part) == 1 or sum(sizes[name] for name in part) <= 3 for part in found)
    closed = [closing.close(part, lease_id=claim.lease_id, now=now()) for part in closing.parts(claim.digests)]
    assert len(closed) == len(found)
    assert Digest.objects.filter(finished_at=None).count() == 0
    assert not Hold.objects.exists()


def test_a_claim_says_whether_there_may_be_more(tenant):
    DigestFactory.create_batch(5, tenant=tenant, due_at=AGO)
    assert [(len(claim.digests), claim.more) for claim in (claim_digests(now=now(), limit=2) for _ in range(3))] == [
        (2, True),
        (2, True),
        (1, False),
    ]


_BLOCKED_BY_US = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"


@pytest.mark.django_db(transaction=True)
def test_who_cancels_an_event_locks_its_deliveries_as_who_closes_digests(tenant):
    """In the order of their ids, whatever index they are found by; so neither ever holds what the other waits for."""
    first, second = (
        DeliveryFactory(tenant=tenant, event_id="e", user_id=user_id, status=Status.PENDING, is_held=True) for user_id in "za"
    )
    assert first.pk < second.pk

    def cancel() -> None:
        try:
            with transaction.atomic():
                cancel_event_deliveries(tenant_id=tenant.pk, event_id="e")
        finally:
            connection.close()

    thread = threading.Thread(target=cancel)
    with transaction.atomic(), connection.cursor() as cursor:
        Delivery.objects.select_for_update().get(pk=first.pk)
        thread.start()
        blocked = False
        while not blocked and thread.is_alive():
            cursor.execute(_BLOCKED_BY_US)
            (blocked,) = cursor.fetchone()
        assert blocked
        assert Delivery.objects.select_for_update(nowait=True).get(pk=second.pk)  # nobody has it yet
    thread.join()
    assert set(Delivery.objects.values_list("status", "is_held")) == {(Status.CANCELED, False)}
