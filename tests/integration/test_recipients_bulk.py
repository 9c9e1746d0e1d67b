"""Many recipients in one body, and many writers of one recipient."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from preferences.models import Device, Recipient, Subscription
from preferences.selectors import recipients_by_user
from preferences.services import RecipientData, erase_recipient, subscribe, upsert_recipients
from tests.factories import RecipientFactory


def at_once(*calls):
    """Run the calls in threads that set off together; returns what they return, raises what they raise."""
    ready = threading.Barrier(len(calls))

    def run(call):
        try:
            connection.ensure_connection()
            ready.wait(20)
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(run, call) for call in calls]]


def test_quiet_hours_in_bulk_stay_where_they_are_left_out(api, tenant):
    night = [{"start": "22:00", "end": "07:00", "days": ["fri"]}]
    for user_id in ("kept", "changed", "quit"):
        RecipientFactory(tenant=tenant, user_id=user_id, quiet_hours=[{"start": "20:00", "end": "08:00", "days": ["mon"]}])
    rows = [
        {"userId": "kept", "email": "kept@example.com"},
        {"userId": "changed", "quietHours": night},
        {"userId": "quit", "quietHours": None},
        {"userId": "new", "quietHours": night},
        {"userId": "bare"},
        {"userId": "bad", "quietHours": [{"start": "25:00", "end": "07:00"}]},
    ]
    report = api.post("/api/recipients/bulk", {"recipients": rows}).json()
    assert [(error["userId"], error["field"]) for error in report["errors"]] == [("bad", "quietHours[0].start")]
    assert dict(Recipient.objects.values_list("user_id", "quiet_hours")) == {
        "kept": [{"start": "20:00", "end": "08:00", "days": ["mon"]}],
        "changed": night,
        "quit": [],
        "new": night,
        "bare": None,
    }
    assert recipients_by_user([(tenant.pk, "quit")])[tenant.pk, "quit"].quiet_hours == ""


def test_a_bulk_upsert_takes_the_good_rows_and_names_the_bad(api, tenant, stranger):
    RecipientFactory(tenant=tenant, user_id="old", phone="+14155550100")
    RecipientFactory(tenant=stranger, user_id="new", email="theirs@example.com")
    response = api.post(
        "/api/recipients/bulk",
        {
            "recipients": [
                {"userId": "new", "email": "new@example.com", "pushTokens": ["t"]},
                {"userId": "bad", "email": "nobody", "timezone": "Mars/Olympus"},
                {"userId": "old", "email": "old@example.com"},
                {"userId": "new", "email": "again@example.com"},
                {"email": "nameless@example.com"},
                "text",
            ]
        },
    )
    assert response.status_code == 200
    report = response.json()
    assert (report["success"], report["created"], report["updated"], report["rejected"]) == (False, 1, 1, 4)
    assert [(error["index"], error["userId"], error["field"]) for error in report["errors"]] == [
        (1, "bad", "email"),
        (1, "bad", "timezone"),
        (3, "new", "userId"),
        (4, None, "userId"),
        (5, None, ""),
    ]
    contacts = recipients_by_user([(tenant.pk, user) for user in ("new", "old", "bad")] + [(stranger.pk, "new")])
    assert (contacts[tenant.pk, "new"].email, contacts[tenant.pk, "new"].push_tokens) == ("new@example.com", ["t"])
    assert (contacts[tenant.pk, "old"].email, contacts[tenant.pk, "old"].phone) == ("old@example.com", "")
    assert (tenant.pk, "bad") not in contacts
    assert contacts[stranger.pk, "new"].email == "theirs@example.com"


@pytest.mark.parametrize("size", [2, 1000])
def test_a_bulk_upsert_costs_the_same_whatever_its_size(tenant, size):
    rows = [RecipientData(user_id=f"u{number}", email=f"u{number}@example.com", push_tokens=()) for number in range(size)]
    with CaptureQueriesContext(connection) as captured:
        stored = upsert_recipients(tenant=tenant, recipients=rows)
    assert all(stored.values())
    assert len(stored) == size
    assert len([query for query in captured if "preferences_" in query["sql"]]) == 3
    assert not any(upsert_recipients(tenant=tenant, recipients=rows).values())


@pytest.mark.parametrize("rows", [[], [{"userId": "a"}] * 1001, "a", None, {"userId": "a"}])
def test_a_bulk_upsert_of_none_or_too_many_is_refused(api, rows):
    response = api.post("/api/recipients/bulk", {"recipients": rows})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "recipients")
    assert not Recipient.objects.exists()


def test_of_two_rows_with_one_push_token_the_later_has_it(api, tenant):
    rows = [{"userId": "z", "pushTokens": ["t", "simulator-ok"]}, {"userId": "a", "pushTokens": ["t", "simulator-ok"]}]
    assert api.post("/api/recipients/bulk", {"recipients": rows}).json()["created"] == 2
    assert set(Device.objects.values_list("recipient__user_id", "token")) == {
        ("a", "t"),
        ("a", "simulator-ok"),
        ("z", "simulator-ok"),
    }


@pytest.mark.django_db(transaction=True)
def test_upserts_of_one_recipient_at_once_make_one_recipient(tenant):
    emails = [f"{number}@example.com" for number in range(6)]
    stored = at_once(
        *[
            lambda email=email: upsert_recipients(
                tenant=tenant, recipients=[RecipientData(user_id="a", email=email, push_tokens=())]
            )
            for email in emails
        ]
    )
    assert sorted(one["a"] for one in stored) == [False] * 5 + [True]
    assert Recipient.objects.get().email in emails


@pytest.mark.django_db(transaction=True)
def test_many_upserts_in_opposite_order_do_not_deadlock(tenant):
    rows = [RecipientData(user_id=f"u{number}", push_tokens=()) for number in range(200)]
    stored = at_once(
        *[lambda order=order: upsert_recipients(tenant=tenant, recipients=order) for order in (rows, rows[::-1]) * 2]
    )
    assert sum(sum(one.values()) for one in stored) == 200
    assert Recipient.objects.count() == 200


@pytest.mark.django_db(transaction=True)
def test_who_is_erased_while_being_subscribed_is_gone_or_whole(tenant):
    for _ in range(10):
        RecipientFactory(tenant=tenant, user_id="a")
        at_once(
            lambda: erase_recipient(tenant=tenant, user_id="a"),
            lambda: subscribe(tenant=tenant, topic_key="news", user_id="a"),
            lambda: upsert_recipients(tenant=tenant, recipients=[RecipientData(user_id="a", push_tokens=())]),
        )
        assert Subscription.objects.count() <= Recipient.objects.count() <= 1
        Recipient.objects.all().delete()
