"""Much that is due at once, large, or never comes to an end: it costs its own tenant time, and nobody else."""

import threading
from datetime import UTC, datetime

import pytest
from django.db import OperationalError, connection, connections, transaction
from psycopg.errors import DeadlockDetected

from deliveries.erasure import forget_deliveries
from deliveries.models import Delivery
from deliveries.states import Status
from notifications import services, suspects
from notifications.digests import claims as digest_claims
from notifications.digests import closing, windows
from notifications.digests.claims import claim_digests
from notifications.holds import claims as hold_claims
from notifications.holds.claims import claim_holds
from notifications.models import Digest, Event, Hold
from notifications.services import cancel_event
from tests.conftest import client_for
from tests.factories import PreferenceFactory, RecipientFactory, TemplateFactory
from tests.integration.test_digests import GIVEN, LIST, NEXT, NOON, post

NIGHT = datetime(2031, 7, 1, 23, tzinfo=UTC)
MORNING = datetime(2031, 7, 2, 7, tzinfo=UTC)


@pytest.fixture
def users(tenant):
    """Ada and Bob, who want digests."""
    TemplateFactory(tenant=tenant)
    TemplateFactory(tenant=tenant, event_type="digest", version__body=LIST, version__variables=GIVEN)
    for name in ("ada", "bob"):
        RecipientFactory(tenant=tenant, user_id=name, timezone="Europe/Vienna")
        PreferenceFactory(tenant=tenant, user_id=name, delivery="digest")


@pytest.fixture
def toss(monkeypatch):
    """Call it to say whether it is the suspects' turn."""

    def fall(*, suspects_turn):
        monkeypatch.setattr(suspects.random, "random", lambda: 0.0 if suspects_turn else 0.9)

    return fall


def hold(tenant, api, drain, count, **event):
    """Deliveries held over the night, one of each user."""
    TemplateFactory(tenant=tenant)
    for number in range(count):
        user = f"{tenant.slug}-{number}"
        RecipientFactory(tenant=tenant, user_id=user, quiet_hours=[{"start": "22:00", "end": "07:00"}])
        post(api, userId=user, **event)
    drain(NIGHT)
    assert Hold.objects.filter(tenant=tenant).count() == count


class TestDigests:
    def test_one_that_never_ends_is_given_up_and_takes_no_other_with_it(self, api, users, drain):
        lost, kept = post(api, "a"), post(api, "b", userId="bob")
        drain(NOON)
        Digest.objects.filter(user_id="ada").update(attempt_count=digest_claims.MAX_ATTEMPTS)
        drain(NEXT)
        (given_up,) = Delivery.objects.filter(event_id=lost)
        assert (given_up.status, given_up.reason, given_up.is_held) == (Status.FAILED, "poison", False)
        assert Delivery.objects.get(event_id=kept).status == Status.DIGESTED
        assert "5 times" in Digest.objects.get(user_id="ada").error
        assert not Digest.objects.filter(finished_at=None).exists()
        assert not Hold.objects.exists()

    @pytest.mark.parametrize(("suspects_turn", "taken"), [(True, "ada"), (False, "bob")])
    def test_suspects_work_apart(self, api, users, drain, toss, suspects_turn, taken):
        post(api, "a")
        post(api, "b", userId="bob")
        drain(NOON)
        Digest.objects.filter(user_id="ada").update(attempt_count=3)
        toss(suspects_turn=suspects_turn)
        claim = claim_digests(now=NEXT)
        assert [digest.user_id for digest in claim.digests] == [taken]
        assert claim.more

    def test_a_claim_has_so_many_items_and_tenants_share_it(self, api, stranger, users, drain, monkeypatch):
        for name, count in (("ada", 4), ("bob", 4)):
            for _ in range(count):
                post(api, userId=name)
        PreferenceFactory(tenant=stranger, user_id="eve", delivery="digest")
        RecipientFactory(tenant=stranger, user_id="eve", timezone="Europe/Vienna")
        post(client_for(stranger), userId="eve")
        drain(NOON)
        assert sorted(Digest.objects.values_list("user_id", "item_count")) == [("ada", 4), ("bob", 4), ("eve", 1)]
        monkeypatch.setattr(digest_claims, "MOST_ITEMS", 5)
        claim = claim_digests(now=NEXT)
        users_taken = sorted(digest.user_id for digest in claim.digests)
        assert "eve" in users_taken
        assert len(users_taken) == 2
        assert claim.more

    def test_a_full_claim_says_that_there_may_be_more(self, api, users, drain):
        post(api, "a")
        post(api, "b", userId="bob")
        drain(NOON)
        assert claim_digests(now=NEXT, limit=1).more

    def test_one_that_has_collected_very_much_is_due_at_once(self, api, users, drain, monkeypatch):
        monkeypatch.setattr(windows, "MOST_COLLECTED", 3)
        for name in "abc":
            post(api, name)
        drain(NOON)
        post(api, "d")
        drain(NOON)
        assert [d.body for d in Delivery.objects.filter(event_type="digest")] == ["a b c d 4"]
        post(api, "e")
        drain(NOON)
        assert Digest.objects.get(closed_at=None).due_at == NEXT

    def test_no_more_data_is_read_than_is_shown(self, api, users, drain, monkeypatch):
        for name in "abcd":
            post(api, name * 100)
            post(api, name * 100, userId="bob")
        drain(NOON)
        read = []
        data_of = closing._data_of
        monkeypatch.setattr(closing, "_data_of", lambda items: read.append(len(items)) or data_of(items))
        monkeypatch.setattr(closing, "MOST_BYTES", 250)
        monkeypatch.setattr(closing, "MOST_BYTES_AT_ONCE", 100)
        drain(NEXT)
        assert read == [2, 2]
        events = Event.objects.filter(event_type="digest")
        assert {(len(e.data["items"]), e.data["count"], e.data["more"]) for e in events} == {(2, 4, 2)}


class TestHolds:
    @pytest.mark.parametrize(("suspects_turn", "taken"), [(True, {"acme"}), (False, {"stranger"})])
    def test_suspects_do_not_stand_before_others(self, api, tenant, stranger, drain, toss, suspects_turn, taken):
        hold(tenant, api, drain, 3)
        hold(stranger, client_for(stranger), drain, 2)
        Hold.objects.filter(tenant=tenant).update(attempt_count=4)
        toss(suspects_turn=suspects_turn)
        claim = claim_holds(now=MORNING)
        assert {one.user_id.split("-")[0] for one in claim.holds} == taken
        assert len(claim.holds) == (1 if suspects_turn else 2)
        assert claim.more

    def test_under_suspicion_for_the_first_time_they_work_together(self, api, tenant, drain):
        hold(tenant, api, drain, 3)
        Hold.objects.update(attempt_count=2)
        assert len(claim_holds(now=MORNING).holds) == 3

    def test_data_that_is_small_in_the_table_counts_as_it_is(self, api, tenant, drain, monkeypatch):
        hold(tenant, api, drain, 3, data={"userName": "x" * 100_000})
        monkeypatch.setattr(hold_claims, "MOST_BYTES", 150_000)
        claim = claim_holds(now=MORNING)
        assert len(claim.holds) == 2
        assert claim.more


class TestWithoutEvent:
    """Somebody deleted events by hand: their deliveries come to an end all the same."""

    def test_one_that_is_held_fails(self, api, tenant, drain):
        hold(tenant, api, drain, 2)
        Event.objects.filter(user_id="acme-0").delete()
        drain(MORNING)
        assert {(d.user_id, d.status, d.reason, d.is_held) for d in Delivery.objects.all()} == {
            ("acme-0", Status.FAILED, "event_gone", False),
            ("acme-1", Status.SENT, "", False),
        }
        assert not Hold.objects.exists()

    def test_one_that_was_collected_fails(self, api, users, drain):
        gone, kept, canceled = post(api, "a"), post(api, "b"), post(api, "c")
        drain(NOON)
        Event.objects.filter(event_id=gone).delete()
        assert api.delete(f"/api/events/{canceled}").status_code == 200
        drain(NEXT)
        states = dict(Delivery.objects.values_list("event_id", "status"))
        assert (states[gone], states[kept], states[canceled]) == (Status.FAILED, Status.DIGESTED, Status.CANCELED)
        assert [d.body for d in Delivery.objects.filter(event_type="digest")] == ["b 1"]
        assert not Hold.objects.exists()


class TestWhoWaitsForWhom:
    """Whoever comes second waits before it has locked anything that the first still wants; else they would deadlock."""

    pytestmark = pytest.mark.django_db(transaction=True)

    @staticmethod
    def meanwhile(work):
        """Start `work` in a thread, and wait until it waits for this connection, or is done."""
        done = threading.Event()

        def run():
            try:
                work()
            finally:
                connections.close_all()
                done.set()

        thread = threading.Thread(target=run)
        thread.start()
        with connection.cursor() as cursor:
            waits = False
            while not (waits or done.is_set()):
                cursor.execute(
                    "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
                )
                (waits,) = cursor.fetchone()
        return thread

    def test_who_erases_waits_for_who_releases(self, api, tenant, drain):
        hold(tenant, api, drain, 1)
        (delivery,) = Delivery.objects.all()
        with transaction.atomic():
            Hold.objects.select_for_update().get()
            thread = self.meanwhile(lambda: forget_deliveries(tenant, delivery.user_id))
            Delivery.objects.select_for_update(nowait=True).get()
        thread.join()
        assert Delivery.objects.get().status == Status.CANCELED
        assert not Hold.objects.exists()

    def test_who_cancels_waits_for_who_releases(self, api, tenant, drain):
        hold(tenant, api, drain, 2)
        first, second = Delivery.objects.order_by("id")
        # The other way round in the index by which the event's deliveries are found.
        Delivery.objects.filter(pk=first.pk).update(event_id="one", user_id="b")
        Delivery.objects.filter(pk=second.pk).update(event_id="one", user_id="a")
        with transaction.atomic():
            Delivery.objects.select_for_update().get(pk=first.pk)
            thread = self.meanwhile(lambda: cancel_event(tenant=tenant, event_id="one"))
            Delivery.objects.select_for_update(nowait=True).get(pk=second.pk)
        thread.join()
        assert set(Delivery.objects.values_list("status", flat=True)) == {Status.CANCELED}

    def test_what_lost_a_deadlock_is_done_again(self, api, tenant, drain, monkeypatch):
        hold(tenant, api, drain, 1)
        event_id = Delivery.objects.get().event_id
        cancel, calls = services._cancel, []

        def lose_twice(parameters):
            calls.append(1)
            if len(calls) < 3:
                raise OperationalError from DeadlockDetected()
            return cancel(parameters)

        monkeypatch.setattr(services, "_cancel", lose_twice)
        assert api.delete(f"/api/events/{event_id}").json()["canceledDeliveries"] == 1

    def test_but_not_for_ever(self, api, tenant, drain, monkeypatch):
        hold(tenant, api, drain, 1)
        calls = []

        def lose(parameters):
            calls.append(1)
            raise OperationalError from DeadlockDetected()

        monkeypatch.setattr(services, "_cancel", lose)
        event_id = Delivery.objects.get().event_id
        assert api.delete(f"/api/events/{event_id}").status_code == 503
        assert len(calls) == 3
