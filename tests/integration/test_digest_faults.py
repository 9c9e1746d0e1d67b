"""Digests that no worker comes to an end with."""

from __future__ import annotations

from datetime import timedelta

from django.utils.timezone import now

from deliveries.models import Delivery
from deliveries.states import Status
from notifications import tasks
from notifications.digests import closing
from notifications.digests.claims import MAX_ATTEMPTS, claim_digests
from notifications.models import Digest, Hold
from tests.factories import DigestFactory
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
    assert given_up.error == f"Taken up {MAX_ATTEMPTS} times without coming to an end."
    assert {(one.status, one.reason) for one in Delivery.objects.all()} == {(Status.FAILED, "poison")}
    assert closed_with.count(["bad", "good"]) == 2
    assert closed_with.count(["bad"]) == MAX_ATTEMPTS - 2
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
