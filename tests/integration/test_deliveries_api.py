"""Deliveries over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.utils.timezone import now

from deliveries import bells
from deliveries.models import AttemptOutcome, Delivery
from deliveries.selectors import DeliveryFilter, deliveries_matching
from deliveries.states import Status
from tenants import redis
from tenants.models import ProviderAccount
from tenants.vocabulary import Channel, Scope
from tests.conftest import client_for, user_client
from tests.factories import AttemptFactory, DeliveryFactory

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ids(response) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()["results"]]


def faulty(response) -> list[str]:
    assert response.status_code == 400, response.content
    assert response["Content-Type"] == "application/problem+json"
    return [error["field"] for error in response.json()["errors"]]


def test_the_list_is_newest_first_and_shows_what_was_sent_where_and_why(api, tenant):
    DeliveryFactory(tenant=tenant, created_at=NOON)
    newest = DeliveryFactory(
        tenant=tenant,
        event_id="evt_new",
        event_type="order.shipped",
        status=Status.SUPPRESSED,
        reason="opted_out",
        explanation={"level": "user.channel", "value": False},
        data={"orderId": 7, "inner_key": 1},
        user_id="",
    )
    (first, _) = api.get("/api/deliveries").json()["results"]
    assert first == {
        "id": str(newest.id),
        "eventId": "evt_new",
        "eventType": "order.shipped",
        "userId": None,
        "channel": "email",
        "priority": "normal",
        "status": "suppressed",
        "reason": "opted_out",
        "explanation": {"level": "user.channel", "value": False},
        "sandbox": False,
        "address": "ada@example.com",
        "locale": None,
        "subject": "Hello",
        "body": "Hello Ada",
        "html": "",
        "data": {"orderId": 7, "inner_key": 1},
        "provider": None,
        "providerMessageId": None,
        "attemptCount": 0,
        "nextAttemptAt": None,
        "held": False,
        "error": None,
        "acceptedAt": first["acceptedAt"],
        "createdAt": first["createdAt"],
        "sentAt": None,
        "deliveredAt": None,
        "expiresAt": None,
    }
    assert datetime.fromisoformat(first["createdAt"]) == newest.created_at


@pytest.mark.parametrize(
    ("parameters", "wanted", "unwanted"),
    [
        ({"userId": "user_7"}, {"user_id": "user_7"}, {"user_id": "user_70"}),
        ({"eventId": "evt_a"}, {"event_id": "evt_a"}, {"event_id": "evt_ab"}),
        ({"eventType": "order.paid"}, {"event_type": "order.paid"}, {"event_type": "order"}),
        ({"channel": "sms"}, {"channel": Channel.SMS}, {"channel": Channel.EMAIL}),
        ({"status": "pending"}, {"status": Status.PENDING}, {"status": Status.SENT}),
        ({"status": "failed"}, {"status": Status.FAILED}, {"status": Status.SENT}),
        ({"from": "2026-03-01T12:00:00Z"}, {"created_at": NOON}, {"created_at": NOON - timedelta(microseconds=1)}),
        ({"to": "2026-03-01T13:00:00+01:00"}, {"created_at": NOON - timedelta(microseconds=1)}, {"created_at": NOON}),
    ],
)
def test_every_filter_keeps_what_fits_and_drops_what_does_not(api, tenant, parameters, wanted, unwanted):
    kept = DeliveryFactory(tenant=tenant, **wanted)
    DeliveryFactory(tenant=tenant, **unwanted)
    assert ids(api.get("/api/deliveries", parameters)) == [str(kept.id)]


def test_filters_are_combined(api, tenant):
    fitting = {"user_id": "u", "event_type": "t", "channel": Channel.SMS, "status": Status.FAILED, "created_at": NOON}
    kept = DeliveryFactory(tenant=tenant, event_id="e", **fitting)
    misfits = {"user_id": "v", "event_type": "s", "channel": Channel.PUSH, "status": Status.SENT, "created_at": now()}
    for name, value in misfits.items():
        DeliveryFactory(tenant=tenant, **fitting | {name: value})
    parameters = {
        "userId": "u",
        "eventType": "t",
        "channel": "sms",
        "status": "failed",
        "from": "2026-03-01T11:00:00Z",
        "to": "2026-03-01T13:00:00Z",
    }
    assert len(ids(api.get("/api/deliveries", parameters | {"limit": 1}))) == 1
    assert ids(api.get("/api/deliveries", parameters)) == [str(kept.id)]


def test_a_row_whose_clock_was_a_little_ahead_of_its_id_is_still_found(api, tenant):
    late = DeliveryFactory(tenant=tenant, created_at=NOON)
    Delivery.objects.filter(pk=late.pk).update(created_at=NOON + timedelta(seconds=20))
    found = {"from": "2026-03-01T12:00:10Z", "to": "2026-03-01T12:00:30Z"}
    assert ids(api.get("/api/deliveries", found)) == [str(late.id)]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("channel=pigeon", "channel"),
        ("channel=1", "channel"),
        ("status=SENT", "status"),
        ("status=", "status"),
        ("ambiguous=", "ambiguous"),
        ("ambiguous=1", "ambiguous"),
        ("ambiguous=True", "ambiguous"),
        ("ambiguous=null", "ambiguous"),
        ("ambiguous=true&ambiguous=true", "ambiguous"),
        ("userId=", "userId"),
        ("userId=a%00b", "userId"),
        ("userId=" + "x" * 256, "userId"),
        ("eventId=%00", "eventId"),
        ("eventType=" + "x" * 201, "eventType"),
        ("from=yesterday", "from"),
        ("from=2026-03-01", "from"),
        ("from=2026-03-01T12:00:00", "from"),
        ("to=2026-13-01T12:00:00Z", "to"),
        ("to=%00", "to"),
        ("user_id=u", "user_id"),
        ("sort=id", "sort"),
        ("%00=1", "\x00"),
        ("status=sent&status=failed", "status"),
        ("limit=0", "limit"),
        ("limit=1e3", "limit"),
        ("cursor=%FF", "cursor"),
        ("cursor=abc", "cursor"),
    ],
)
def test_a_bad_parameter_is_named(api, query, field):
    assert faulty(api.get(f"/api/deliveries?{query}")) == [field]


def test_every_bad_parameter_is_named_at_once(api):
    assert faulty(api.get("/api/deliveries?channel=x&status=y&from=z")) == ["channel", "status", "from"]


@pytest.mark.parametrize(
    "extreme",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00", "0395-04-28T16:36:21+17:23", "1960-01-01t00:00:00z"],
)
def test_times_at_the_ends_of_the_calendar_are_times(api, tenant, extreme):
    delivery = DeliveryFactory(tenant=tenant)
    found = [bool(ids(api.get("/api/deliveries", {name: extreme}))) for name in ("from", "to")]
    assert found == ([False, True] if extreme > "2026" else [True, False])
    assert delivery.pk


def test_pages_over_equal_times_list_every_row_once_in_both_directions(api, tenant):
    made = {str(DeliveryFactory(tenant=tenant, created_at=NOON).id) for _ in range(23)}
    pages, url = [], "/api/deliveries?limit=5&" + urlencode({"from": "2026-03-01T00:00:00Z"})
    while url:
        page = api.get(url).json()
        pages.append([row["id"] for row in page["results"]])
        url, last = page["next"], page
    assert [len(page) for page in pages] == [5, 5, 5, 5, 3]
    assert set().union(*pages) == made
    back, url = [pages[-1]], last["previous"]
    while url:
        page = api.get(url).json()
        back.append([row["id"] for row in page["results"]])
        url = page["previous"]
    assert back == pages[::-1]


def test_a_row_that_arrives_between_pages_moves_none(api, tenant):
    old = [str(DeliveryFactory(tenant=tenant, created_at=NOON + timedelta(seconds=n)).id) for n in range(4)]
    first = api.get("/api/deliveries?limit=2").json()
    DeliveryFactory(tenant=tenant, created_at=NOON + timedelta(hours=1))
    second = api.get(first["next"]).json()
    assert [row["id"] for row in first["results"] + second["results"]] == old[::-1]


def test_one_delivery_comes_with_its_attempts_in_order(api, tenant):
    delivery = DeliveryFactory(tenant=tenant, status=Status.FAILED, reason="retries_exhausted", attempt_count=2)
    AttemptFactory(delivery=delivery, number=2, outcome=AttemptOutcome.THROTTLED, detail={"token": "gone"})
    AttemptFactory(delivery=delivery, outcome=AttemptOutcome.TRANSIENT, code="421", response="try later")
    shown = api.get(f"/api/deliveries/{delivery.id}").json()
    assert shown["reason"] == "retries_exhausted"
    started_at = shown["attempts"][0].pop("startedAt")
    assert started_at.endswith("Z")
    assert shown["attempts"][0] == {
        "number": 1,
        "outcome": "transient",
        "provider": "smtp",
        "providerAccount": None,
        "sandbox": False,
        "code": "421",
        "response": "try later",
        "detail": None,
        "durationMs": 12,
    }
    assert [(one["number"], one["outcome"], one["detail"]) for one in shown["attempts"]][1:] == [
        (2, "throttled", {"token": "gone"})
    ]


def test_what_may_have_gone_out_twice_is_told_from_the_rest(api, stranger_api, tenant, stranger):
    doubtful = [DeliveryFactory(tenant=tenant, created_at=NOON + timedelta(hours=n)) for n in range(3)]
    for delivery in doubtful:
        AttemptFactory(delivery=delivery, outcome=AttemptOutcome.AMBIGUOUS, code="interrupted")
        AttemptFactory(delivery=delivery, number=2, outcome=AttemptOutcome.AMBIGUOUS, code="interrupted")
        AttemptFactory(delivery=delivery, number=3)
    certain = [DeliveryFactory(tenant=tenant, created_at=NOON), AttemptFactory(delivery__tenant=tenant).delivery]
    other = AttemptFactory(delivery__tenant=stranger, outcome=AttemptOutcome.AMBIGUOUS).delivery
    pages, url = [], "/api/deliveries?ambiguous=true&limit=2"
    while url:
        page = api.get(url)
        pages += [ids(page)]
        url = page.json()["next"]
    assert pages == [[str(doubtful[2].id), str(doubtful[1].id)], [str(doubtful[0].id)]]
    assert set(ids(api.get("/api/deliveries?ambiguous=false"))) == {str(one.id) for one in certain}
    assert len(ids(api.get("/api/deliveries"))) == 5
    assert ids(stranger_api.get("/api/deliveries?ambiguous=true")) == [str(other.id)]
    assert ids(api.get("/api/deliveries?ambiguous=true&status=failed")) == []


def test_ambiguous_attempts_are_found_through_their_own_index(tenant):
    """By the planner, with sequential scans made costly; over a big table it chooses so by itself."""
    for number in range(100):
        AttemptFactory(delivery__tenant=tenant, outcome=AttemptOutcome.AMBIGUOUS if number == 7 else AttemptOutcome.SENT)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE deliveries_delivery; ANALYZE deliveries_attempt; SET LOCAL enable_seqscan = off")
    for ambiguous in (True, False):
        found = deliveries_matching(tenant, DeliveryFilter(ambiguous=ambiguous)).order_by("-id")[:51]
        assert "attempt_ambiguous" in found.explain(), ambiguous


@pytest.fixture
def accounts(tenant, stranger):
    """An account of the tenant's, one that it has deleted, and one of another tenant's."""
    own, deleted, other = (
        ProviderAccount.objects.create(tenant=one, channel=Channel.EMAIL, kind="smtp", name=name)
        for one, name in ((tenant, "Main"), (tenant, "Old"), (stranger, "Theirs"))
    )
    gone = deleted.pk
    deleted.delete()
    return own.pk, gone, other.pk


def test_the_account_that_acted_is_named(api, tenant, accounts):
    own, gone, other = accounts
    delivery = DeliveryFactory(tenant=tenant, provider="smtp", provider_account_id=own, attempt_count=4)
    for number, account in enumerate((None, gone, other, own), start=1):
        AttemptFactory(delivery=delivery, number=number, provider_account_id=account)
    shown = api.get(f"/api/deliveries/{delivery.id}").json()
    main = {"id": str(own), "name": "Main"}
    assert shown["providerAccount"] == main
    assert [one["providerAccount"] for one in shown["attempts"]] == [
        None,
        {"id": str(gone), "name": None},
        {"id": str(other), "name": None},  # not the other tenant's word for it
        main,
    ]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_delivery_names_its_account_only_if_it_is_the_tenants(api, tenant, accounts, which):
    delivery = DeliveryFactory(tenant=tenant, provider_account_id=accounts[which], status=Status.FAILED)
    named = {"id": str(accounts[which]), "name": "Main" if which == 0 else None}
    assert api.get(f"/api/deliveries/{delivery.id}").json()["providerAccount"] == named
    assert api.post(f"/api/deliveries/{delivery.id}/retry").json()["providerAccount"] == named


def test_the_installations_account_is_none_of_the_tenants(api, tenant):
    assert api.get(f"/api/deliveries/{DeliveryFactory(tenant=tenant).id}").json()["providerAccount"] is None


def test_naming_the_accounts_costs_no_further_statement(api, tenant, accounts, django_assert_num_queries):
    delivery = DeliveryFactory(tenant=tenant, provider_account_id=accounts[0])
    api.get("/api/deliveries")  # records the key's use
    for number in range(1, 9):
        AttemptFactory(delivery=delivery, number=number, provider_account_id=accounts[number % 3])
    with django_assert_num_queries(4):  # the key, the delivery, its attempts, its receipts
        assert len(api.get(f"/api/deliveries/{delivery.id}").json()["attempts"]) == 8


def test_the_next_attempt_is_shown_only_where_there_will_be_one(api, tenant):
    waiting = DeliveryFactory(tenant=tenant, status=Status.PENDING, next_attempt_at=NOON)
    done = DeliveryFactory(tenant=tenant, status=Status.SENT, next_attempt_at=NOON)
    assert api.get(f"/api/deliveries/{waiting.id}").json()["nextAttemptAt"] == "2026-03-01T12:00:00Z"
    assert api.get(f"/api/deliveries/{done.id}").json()["nextAttemptAt"] is None


@pytest.mark.parametrize("name", ["nonsense", "1", "%00", "..", "0" * 5000, "01a1fc51-f2fc-7000-ae99-c4813462ab23"])
def test_what_is_not_there_is_404(api, name):
    assert api.get(f"/api/deliveries/{name}").status_code == 404
    assert api.post(f"/api/deliveries/{name}/retry").status_code == 404


def test_a_stranger_sees_and_moves_nothing(api, stranger_api, tenant):
    delivery = DeliveryFactory(tenant=tenant, event_id="evt_1", user_id="user_1", status=Status.FAILED)
    for parameters in ({}, {"userId": "user_1"}, {"eventId": "evt_1"}, {"status": "failed"}):
        assert ids(stranger_api.get("/api/deliveries", parameters)) == []
    assert stranger_api.get(f"/api/deliveries/{delivery.id}").status_code == 404
    assert stranger_api.post(f"/api/deliveries/{delivery.id}/retry").status_code == 404
    assert stranger_api.get("/api/deliveries/stats").json()["stats"]["totalDeliveries"] == 0
    cursor = api.get("/api/deliveries?limit=1").json()["next"]
    assert cursor is None
    delivery.refresh_from_db()
    assert delivery.status == Status.FAILED


def test_a_cursor_of_one_tenant_leads_another_to_its_own_rows_only(api, stranger_api, tenant, stranger):
    for moment in (NOON, NOON + timedelta(hours=2)):
        DeliveryFactory(tenant=tenant, created_at=moment)
    own = DeliveryFactory(tenant=stranger, created_at=NOON + timedelta(hours=1))
    cursor = api.get("/api/deliveries?limit=1").json()["next"]
    assert ids(stranger_api.get(cursor)) == [str(own.id)]


def test_a_failed_delivery_is_put_back_to_be_sent_now(api, tenant):
    delivery = DeliveryFactory(
        tenant=tenant, status=Status.FAILED, reason="permanent", error="550", next_attempt_at=NOON, attempt_count=6
    )
    bells.answer_send(Channel.EMAIL)
    before = now()
    response = api.post(f"/api/deliveries/{delivery.id}/retry")
    assert response.status_code == 202
    assert redis.client().exists("bell:send:email")
    assert (response.json()["status"], response.json()["reason"]) == ("pending", None)
    delivery.refresh_from_db()
    assert delivery.status == Status.PENDING
    assert before <= delivery.next_attempt_at <= now()


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.FAILED}))
def test_what_has_not_failed_is_not_sent_again(api, tenant, status):
    delivery = DeliveryFactory(tenant=tenant, status=status, next_attempt_at=NOON)
    response = api.post(f"/api/deliveries/{delivery.id}/retry")
    assert response.status_code == 409
    assert str(status.label) in response.json()["detail"]
    delivery.refresh_from_db()
    assert (delivery.status, delivery.next_attempt_at) == (status, NOON)


def test_a_delivery_whose_message_was_never_rendered_is_not_sent_blank(api, tenant):
    delivery = DeliveryFactory(tenant=tenant, status=Status.FAILED, reason="no_template", template_version_id=None, body="")
    response = api.post(f"/api/deliveries/{delivery.id}/retry")
    assert response.status_code == 409
    assert "never rendered" in response.json()["detail"]
    delivery.refresh_from_db()
    assert delivery.status == Status.FAILED


@pytest.mark.parametrize(
    ("scope", "reads", "writes"),
    [(Scope.DELIVERIES_READ, 200, 403), (Scope.DELIVERIES_WRITE, 403, 202), (Scope.EVENTS_WRITE, 403, 403)],
)
def test_scopes(tenant, scope, reads, writes):
    delivery = DeliveryFactory(tenant=tenant, status=Status.FAILED)
    client = client_for(tenant, scope)
    for path in ("", "/stats", f"/{delivery.id}"):
        assert client.get(f"/api/deliveries{path}").status_code == reads
    assert client.post(f"/api/deliveries/{delivery.id}/retry").status_code == writes


def test_a_user_token_does_not_reach_deliveries(tenant, client):
    delivery = DeliveryFactory(tenant=tenant, user_id="user_1", status=Status.FAILED)
    user = user_client(tenant, "user_1")
    for path in ("", "/stats", f"/{delivery.id}"):
        assert user.get(f"/api/deliveries{path}").status_code == 403
        assert client.get(f"/api/deliveries{path}").status_code == 401
    assert user.post(f"/api/deliveries/{delivery.id}/retry").status_code == 403


def test_a_page_costs_the_same_statements_whatever_its_length(api, tenant, django_assert_num_queries):
    DeliveryFactory.create_batch(3, tenant=tenant)
    api.get("/api/deliveries")  # records the key's use
    with django_assert_num_queries(2):  # the key, the page
        assert len(ids(api.get("/api/deliveries?limit=2"))) == 2
    DeliveryFactory.create_batch(30, tenant=tenant)
    with django_assert_num_queries(2):
        assert len(ids(api.get("/api/deliveries?limit=33"))) == 33
