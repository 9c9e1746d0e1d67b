"""Receipts applied: what they change, what they leave, what they are kept from."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deliveries.claims import claim_deliveries
from deliveries.models import Delivery, Receipt, ReceiptKind, StatusEndpoint, StatusMessage
from deliveries.receipts.services import NewReceipt, Result, apply_receipts
from deliveries.services import Recorded, record_outcomes
from deliveries.states import TRANSITIONS, Status, may_become
from preferences.models import Suppression
from tenants.vocabulary import Channel
from tests.factories import DeliveryFactory

DELIVERED, BOUNCED, COMPLAINED, DEFERRED = ReceiptKind
pytestmark = pytest.mark.django_db


def receipt(delivery, kind=DELIVERED, **values):
    defaults = {"tenant_id": delivery.tenant_id, "channel": delivery.channel, "delivery_id": delivery.pk, "kind": kind.value}
    return NewReceipt(**{**defaults, **values})


def apply(*receipts):
    return apply_receipts(receipts=receipts)


def state_of(delivery) -> Status:
    return Status(Delivery.objects.values_list("status", flat=True).get(pk=delivery.pk))


def kinds_of(delivery) -> list[ReceiptKind]:
    return sorted(ReceiptKind(one.kind) for one in delivery.receipts.all())


def test_sent_becomes_delivered(tenant):
    delivery = DeliveryFactory(tenant=tenant, reason="", sent_at=now())
    at = now() - timedelta(seconds=3)
    assert apply(receipt(delivery, at=at)) == {(DELIVERED, Result.RECORDED): 1}
    delivery.refresh_from_db()
    assert (delivery.status, delivery.delivered_at, delivery.reason) == (Status.DELIVERED, at, "")
    (written,) = Receipt.objects.all()
    assert (written.delivery_id, written.kind, written.at) == (delivery.pk, DELIVERED, at)
    assert written.received_at >= at


def test_a_bounce_says_why(tenant):
    delivery = DeliveryFactory(tenant=tenant)
    apply(receipt(delivery, BOUNCED, code="5.1.1", text="no such user"))
    delivery.refresh_from_db()
    assert (delivery.status, delivery.reason, delivery.error) == (Status.BOUNCED, "5.1.1", "no such user")
    assert delivery.delivered_at is None


def test_a_bounce_without_a_code_is_called_one(tenant):
    delivery = DeliveryFactory(tenant=tenant)
    apply(receipt(delivery, BOUNCED))
    delivery.refresh_from_db()
    assert delivery.reason == "bounced"


def test_who_complains_has_the_message(tenant):
    delivery = DeliveryFactory(tenant=tenant)
    apply(receipt(delivery, COMPLAINED))
    assert state_of(delivery) is Status.DELIVERED


def test_a_deferral_is_written_down_and_changes_nothing(tenant):
    delivery = DeliveryFactory(tenant=tenant)
    apply(receipt(delivery, DEFERRED, code="450"))
    assert state_of(delivery) is Status.SENT
    assert kinds_of(delivery) == [DEFERRED]


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("kind", [DELIVERED, BOUNCED])
def test_the_table_decides(tenant, status, kind):
    target = {DELIVERED: Status.DELIVERED, BOUNCED: Status.BOUNCED}[kind]
    delivery = DeliveryFactory(tenant=tenant, status=status)
    apply(receipt(delivery, kind))
    assert state_of(delivery) is (target if may_become(status, target) else status)
    assert kinds_of(delivery) == [kind], "what was reported is kept, whatever it changed"


def reachable(status: Status) -> set[Status]:
    seen, more = set(), {status}
    while more:
        seen |= more
        more = {target for one in more for target in TRANSITIONS[one]} - seen
    return seen


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    status=st.sampled_from(
        [Status.PENDING, Status.SENDING, Status.SENT, Status.DELIVERED, Status.BOUNCED, Status.FAILED, Status.CANCELED]
    ),
    kinds=st.lists(st.sampled_from(list(ReceiptKind)), min_size=1, max_size=6),
    data=st.data(),
)
def test_any_order_and_repetition_ends_in_one_state_that_the_table_allows(tenant, status, kinds, data):
    """From each state, the same receipts in another order, repeated, and cut into other batches."""
    one, other = (DeliveryFactory(tenant=tenant, status=status, event_id=uuid4().hex) for _ in range(2))
    for kind in kinds:
        before = state_of(one)
        apply(receipt(one, kind))
        assert state_of(one) is before or may_become(before, state_of(one))
    shuffled = data.draw(st.permutations(kinds + data.draw(st.lists(st.sampled_from(kinds), max_size=3))))
    cut = data.draw(st.integers(0, len(shuffled)))
    for batch in (shuffled[:cut], shuffled[cut:]):
        apply(*[receipt(other, kind) for kind in batch])
    assert state_of(one) is state_of(other)
    assert state_of(one) in reachable(status)
    for delivery in (one, other):
        assert kinds_of(delivery) == sorted(set(kinds)), "each once"
        delivery.refresh_from_db()
        assert (delivery.delivered_at is not None) == (status is not Status.DELIVERED and delivery.status == Status.DELIVERED)


def test_in_every_order_a_bounce_has_the_last_word(tenant):
    for order in permutations([DELIVERED, BOUNCED, DEFERRED]):
        delivery = DeliveryFactory(tenant=tenant)
        for kind in order:
            apply(receipt(delivery, kind))
        assert state_of(delivery) is Status.BOUNCED, order


def test_a_receipt_may_name_the_vendors_message(tenant, stranger):
    mine, other = (DeliveryFactory(tenant=one, provider_message_id="<m1@vendor>") for one in (tenant, stranger))
    result = apply(receipt(mine, delivery_id=None, provider_message_id="<m1@vendor>"))
    assert result == {(DELIVERED, Result.RECORDED): 1}
    assert (state_of(mine), state_of(other)) == (Status.DELIVERED, Status.SENT)


@pytest.mark.parametrize(
    "values",
    [
        {"delivery_id": UUID(int=1)},
        {"delivery_id": None, "provider_message_id": "unknown"},
        {"delivery_id": None},
        {"channel": Channel.SMS.value},
    ],
)
def test_what_speaks_of_no_delivery_is_only_counted(tenant, values):
    delivery = DeliveryFactory(tenant=tenant)
    assert apply(receipt(delivery, BOUNCED, is_lasting=True, **values)) == {(BOUNCED, Result.UNKNOWN): 1}
    assert state_of(delivery) is Status.SENT
    assert not Receipt.objects.exists()
    assert not Suppression.objects.exists()


def test_another_tenants_delivery_is_not_there(tenant, stranger):
    delivery = DeliveryFactory(tenant=tenant)
    forged = receipt(delivery, BOUNCED, tenant_id=stranger.pk, is_lasting=True)
    assert apply(forged) == {(BOUNCED, Result.UNKNOWN): 1}
    assert state_of(delivery) is Status.SENT
    assert not Receipt.objects.exists()
    assert not Suppression.objects.exists()


def test_a_repeated_receipt_is_one_row(tenant):
    delivery = DeliveryFactory(tenant=tenant)
    assert apply(receipt(delivery), receipt(delivery)) == {(DELIVERED, Result.RECORDED): 1, (DELIVERED, Result.REPEATED): 1}
    assert apply(receipt(delivery)) == {(DELIVERED, Result.REPEATED): 1}
    assert Receipt.objects.count() == 1


def test_what_cannot_be_stored_or_believed_is_mended(tenant):
    delivery = DeliveryFactory(tenant=tenant)
    apply(receipt(delivery, BOUNCED, code="\x00" + "x" * 100, text="a\x00\ud800" + "b" * 5000, at=now() + timedelta(days=9)))
    (written,) = Receipt.objects.all()
    assert written.code == "x" * 60 or written.code == "x" * 59
    assert written.response.startswith("a?b")
    assert len(written.response) == 1000
    assert written.at <= now()


def test_a_batch_costs_the_same_statements_for_one_as_for_many(tenant, stranger):
    def statements(count):
        deliveries = [DeliveryFactory(tenant=(tenant, stranger)[n % 2], event_id=uuid4().hex) for n in range(count)]
        kinds = [DELIVERED, BOUNCED, COMPLAINED, DEFERRED]
        receipts = [receipt(one, kind, is_lasting=True) for one in deliveries for kind in kinds]
        with CaptureQueriesContext(connection) as queries:
            apply(*receipts)
        return len([query for query in queries if "SAVEPOINT" not in query["sql"]])

    assert statements(1) == statements(60) == 5


# Overtaking: the receipt comes before the record that the message was sent.


def claimed(tenant):
    delivery = DeliveryFactory(tenant=tenant, status=Status.PENDING, channel=Channel.SMS, reason="http_503", error="later")
    (claim,) = claim_deliveries(channel=Channel.SMS, limit=1, now=now())
    return delivery, claim


def record(claim, **values):
    defaults = {"status": Status.SENT, "provider": "twilio", "provider_message_id": "SM1", "sent_at": now()}
    return record_outcomes(rows=[Recorded(id=claim.id, lease_until=claim.lease_until, **{**defaults, **values})])


@pytest.mark.parametrize(("kind", "target"), [(DELIVERED, Status.DELIVERED), (BOUNCED, Status.BOUNCED)])
def test_a_receipt_that_overtakes_the_record_is_neither_lost_nor_undone(tenant, kind, target):
    delivery, claim = claimed(tenant)
    apply(receipt(delivery, kind, code="30003" if kind is BOUNCED else ""))
    assert record(claim).ids == set(), "no state was entered by the record"
    delivery.refresh_from_db()
    assert delivery.status == target
    assert (delivery.provider, delivery.provider_message_id, delivery.attempt_count) == ("twilio", "SM1", 1)
    assert delivery.reason == ("30003" if kind is BOUNCED else "")
    assert delivery.error == ""
    assert delivery.sent_at is not None
    assert delivery.lease_until is None


def test_what_a_receipt_says_arrived_is_not_sent_again(tenant):
    delivery, claim = claimed(tenant)
    apply(receipt(delivery))
    record(claim, status=Status.PENDING, reason="read_timeout", sent_at=None, next_attempt_at=now())
    delivery.refresh_from_db()
    assert (delivery.status, delivery.reason) == (Status.DELIVERED, "")
    assert claim_deliveries(channel=Channel.SMS, limit=1, now=now()) == []


def test_who_lost_the_lease_still_changes_nothing(tenant):
    delivery, claim = claimed(tenant)
    apply(receipt(delivery))
    late = Recorded(id=claim.id, lease_until=claim.lease_until - timedelta(seconds=1), status=Status.SENT, provider="late")
    assert record_outcomes(rows=[late]).ids == set()
    delivery.refresh_from_db()
    assert delivery.provider == ""


# Suppression


def listed():
    fields = ("tenant__slug", "channel", "address", "reason", "expires_at")
    return set(Suppression.objects.values_list(*fields))


def test_a_hard_bounce_suppresses_the_address_for_good_in_its_tenant(tenant, stranger):
    DeliveryFactory(tenant=stranger, address="Ada@Example.com")
    delivery = DeliveryFactory(tenant=tenant, address="Ada@Example.com")
    apply(receipt(delivery, BOUNCED, code="5.1.1", text="no such user", is_lasting=True))
    assert listed() == {("acme", Channel.EMAIL, "ada@example.com", "bounce", None)}
    assert Suppression.objects.get().detail == "5.1.1: no such user"


def test_a_soft_bounce_suppresses_nothing(tenant):
    apply(receipt(DeliveryFactory(tenant=tenant), BOUNCED, code="4.2.2"))
    assert listed() == set()


def test_a_complaint_suppresses_the_address(tenant):
    apply(receipt(DeliveryFactory(tenant=tenant, address="ada@example.com"), COMPLAINED))
    assert listed() == {("acme", Channel.EMAIL, "ada@example.com", "complaint", None)}


def test_an_address_taken_off_the_list_is_not_put_back_by_a_repetition(tenant):
    bounce = receipt(DeliveryFactory(tenant=tenant), BOUNCED, is_lasting=True)
    apply(bounce)
    Suppression.objects.all().delete()
    apply(bounce)
    assert listed() == set()


def test_a_batch_for_two_tenants_suppresses_in_each_its_own(tenant, stranger):
    deliveries = [DeliveryFactory(tenant=one, address=f"{one.slug}@example.com") for one in (tenant, stranger)]
    apply(*[receipt(one, BOUNCED, tenant_id=None, is_lasting=True) for one in deliveries])
    assert {(slug, address) for slug, _, address, *_ in listed()} == {
        ("acme", "acme@example.com"),
        ("stranger", "stranger@example.com"),
    }


# Shown


def test_receipts_show_with_their_delivery_and_in_the_events_timeline(tenant, api, stranger_api):
    api.post("/api/events", {"eventId": "evt_r", "eventType": "account", "userId": "user_1"})
    delivery = DeliveryFactory(tenant=tenant, event_id="evt_r", sent_at=now())
    apply(receipt(delivery, DEFERRED, code="450", text="busy"), receipt(delivery))
    shown = api.get(f"/api/deliveries/{delivery.pk}").json()
    assert [(one["kind"], one["code"], one["response"]) for one in shown["receipts"]] == [
        ("deferred", "450", "busy"),
        ("delivered", None, None),
    ]
    event = api.get("/api/events/evt_r").json()
    about = [entry for entry in event["timeline"] if entry.get("deliveryId") == str(delivery.pk)]
    assert [entry["type"] for entry in about].count("delivery.delivered") == 1
    assert {"type": "delivery.deferred", "detail": "450: busy"}.items() <= about[-2].items() | about[-1].items()
    assert stranger_api.get(f"/api/deliveries/{delivery.pk}").status_code == 404


def test_each_change_is_announced_once_also_when_a_receipt_comes_first(tenant):
    endpoint = StatusEndpoint.objects.create(tenant=tenant, url="https://example.com/hook")
    delivery, claim = claimed(tenant)
    apply(receipt(delivery))
    record(claim)
    apply(receipt(delivery))
    apply(receipt(delivery, BOUNCED, code="550"))
    statuses = StatusMessage.objects.filter(endpoint=endpoint).order_by("id").values_list("status", flat=True)
    assert sorted(statuses) == [Status.DELIVERED, Status.BOUNCED]
