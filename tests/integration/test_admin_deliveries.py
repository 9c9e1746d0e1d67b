"""The delivery history in the admin."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from deliveries import bells
from deliveries.models import AttemptOutcome, Delivery, ReceiptKind
from deliveries.states import Status
from tenants import redis
from tenants.models import ProviderAccount
from tenants.vocabulary import Channel
from tests.factories import AttemptFactory, DeliveryFactory, ReceiptFactory
from tests.staff import staff_client, superuser_client

LIST = "/admin/deliveries/delivery/"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def root(db):
    return superuser_client()


def listed(client, query: str = "") -> list[str]:
    response = client.get(f"{LIST}?{query}")
    assert response.status_code == 200, response
    return [str(row.pk) for row in response.context["cl"].result_list]


def page_of(delivery) -> str:
    return reverse("admin:deliveries_delivery_change", args=[delivery.pk])


def test_the_list_is_newest_first_whatever_the_tenant(root, tenant, stranger):
    made = [DeliveryFactory(tenant=one, created_at=NOON + timedelta(hours=n)) for n, one in enumerate((tenant, stranger))]
    assert listed(root) == [str(one.pk) for one in reversed(made)]


def test_pages_by_id_list_every_row_once_in_both_directions(root, tenant, monkeypatch):
    monkeypatch.setattr("tenants.keyset.KeysetModelAdmin.list_per_page", 5)
    made = {str(DeliveryFactory(tenant=tenant, created_at=NOON).pk) for _ in range(12)}
    pages, link = [], f"{LIST}?status__exact=2"
    while link:
        cl = root.get(link).context["cl"]
        pages.append([str(row.pk) for row in cl.result_list])
        link = cl.older_link and LIST + cl.older_link
    assert [len(page) for page in pages] == [5, 5, 2]
    assert set().union(*pages) == made
    back, link = [pages[-1]], LIST + cl.newer_link
    while link:
        cl = root.get(link).context["cl"]
        back.append([str(row.pk) for row in cl.result_list])
        link = cl.newer_link and LIST + cl.newer_link
    assert back == pages[::-1]
    assert "status__exact=2" in cl.older_link


def test_a_filter_chosen_on_a_later_page_starts_at_its_newest_row(root, tenant):
    rows = [DeliveryFactory(tenant=tenant, created_at=NOON + timedelta(hours=n)) for n in range(3)]
    cl = root.get(f"{LIST}?older={rows[1].pk}").context["cl"]
    assert [row.pk for row in cl.result_list] == [rows[0].pk]
    assert "older" not in cl.get_query_string({"status__exact": 2})


@pytest.mark.parametrize(
    ("query", "wanted", "unwanted"),
    [
        ("status__exact=5", {"status": Status.FAILED}, {"status": Status.SENT}),
        ("channel__exact=2", {"channel": Channel.SMS}, {"channel": Channel.EMAIL}),
        ("event_type=order.paid", {"event_type": "order.paid"}, {"event_type": "order.paid.late"}),
        ("sandbox__exact=1", {"sandbox": True}, {"sandbox": False}),
        ("created_at_from_0=2026-03-01", {"created_at": NOON}, {"created_at": NOON - timedelta(days=1)}),
        (
            "created_at_from_0=2026-03-01&created_at_from_1=12:00:00",
            {"created_at": NOON},
            {"created_at": NOON - timedelta(seconds=1)},
        ),
        ("created_at_to_0=2026-03-01", {"created_at": NOON}, {"created_at": NOON + timedelta(hours=12)}),
        (
            "created_at_to_0=2026-03-01&created_at_to_1=12:00:00",
            {"created_at": NOON + timedelta(milliseconds=999)},
            {"created_at": NOON + timedelta(seconds=1)},
        ),
        ("q=user_7", {"user_id": "user_7"}, {"user_id": "user_70"}),
        ("q=user_70", {"user_id": "user_70"}, {"user_id": "user_7"}),
        ("q=%20user_7%20", {"user_id": "user_7"}, {"user_id": "user_70"}),
        ("q=use", {"user_id": "user_7"}, {"user_id": "abuse"}),
        ("q=evt_a", {"event_id": "evt_a"}, {"event_id": "evt_ab"}),
        ("q=ada%40example.com", {"address": "ada@example.com"}, {"address": "ada@example.com.au"}),
        ("q=bob%40", {"address": "bob@example.com"}, {"address": "not-bob@example.com"}),
        ("q=100%25", {"user_id": "100%"}, {"user_id": "1000"}),
        (
            f"q={'x' * 80}",
            {"address": "x" * 80},
            {"address": "x" * 79 + "y"},
        ),
        ("q=user_7&status__exact=5", {"user_id": "user_7", "status": Status.FAILED}, {"user_id": "user_7"}),
    ],
)
def test_filters_and_search(root, tenant, query, wanted, unwanted):
    kept = DeliveryFactory(tenant=tenant, **wanted)
    DeliveryFactory(tenant=tenant, **unwanted)
    assert listed(root, query) == [str(kept.pk)]


def test_a_tenant_is_filtered_by(root, tenant, stranger):
    kept = DeliveryFactory(tenant=tenant)
    DeliveryFactory(tenant=stranger)
    assert listed(root, f"tenant__id__exact={tenant.pk}") == [str(kept.pk)]


def test_what_may_have_gone_out_twice_is_filtered_by(root, tenant, stranger):
    doubtful = [
        AttemptFactory(delivery__tenant=one, delivery__created_at=NOON, outcome=AttemptOutcome.AMBIGUOUS).delivery
        for one in (tenant, stranger)
    ]
    certain = [DeliveryFactory(tenant=tenant), AttemptFactory(delivery__tenant=tenant, delivery__created_at=NOON).delivery]
    assert listed(root, "ambiguous=true") == [str(one.pk) for one in reversed(doubtful)]
    assert listed(root, "ambiguous=false") == [str(one.pk) for one in certain]
    assert listed(root, f"ambiguous=true&older={doubtful[1].pk}") == [str(doubtful[0].pk)]
    assert listed(root, f"ambiguous=true&tenant__id__exact={stranger.pk}") == [str(doubtful[1].pk)]
    assert "May have gone out twice" in root.get(LIST).content.decode().replace("may have", "May have")


def test_an_id_finds_its_delivery_and_a_stranger_to_all_finds_nothing(root, tenant):
    delivery = DeliveryFactory(tenant=tenant)
    assert listed(root, f"q={delivery.pk}") == [str(delivery.pk)]
    assert listed(root, "q=nobody") == []


def test_a_name_that_means_two_things_finds_both(root, tenant):
    by_user = DeliveryFactory(tenant=tenant, user_id="4711")
    by_event = DeliveryFactory(tenant=tenant, event_id="4711")
    DeliveryFactory(tenant=tenant, user_id="47110")
    assert listed(root, "q=4711") == [str(by_event.pk), str(by_user.pk)]


@pytest.mark.parametrize(
    "query",
    [
        "older=abc",
        "newer=%00",
        "status__exact=x",
        "status__exact=%00",
        "status__exact=99999999999999999999",
        "tenant__id__exact=%00",
        "event_type=%00",
        "q=%00",
        "created_at_from_0=yesterday",
        "created_at_from_0=2026-03-01&created_at_from_1=%00",
        "created_at_to_0=9999-12-31",
        "sandbox__exact=maybe",
        "ambiguous=maybe",
        "ambiguous=%00",
        "body__contains=secret",
        "p=-1",
        "o=1.2.-3",
        "all=",
    ],
)
def test_no_parameter_is_too_odd(root, tenant, query):
    DeliveryFactory(tenant=tenant)
    assert root.get(f"{LIST}?{query}").status_code in {200, 302, 400}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "older={id}",
        "newer={id}",
        "status__exact=5",
        "tenant__id__exact={tenant}&channel__exact=1",
        "event_type=account",
        "created_at_from_0=2026-01-01&created_at_to_0=2026-12-31",
        "ambiguous=true",
        "ambiguous=false&older={id}",
        "q=user_1",
        "q=nothing-of-the-kind",
    ],
)
def test_no_list_counts_skips_or_reads_the_whole_table(root, tenant, query):
    """By the statements themselves: what a plan would be over three rows says nothing about a million."""
    rows = [DeliveryFactory(tenant=tenant, status=Status.FAILED) for _ in range(3)]
    with CaptureQueriesContext(connection) as captured:
        listed(root, query.format(id=rows[1].pk, tenant=tenant.pk))
    statements = [one["sql"] for one in captured if "deliveries_delivery" in one["sql"]]
    assert statements
    for sql in statements:
        if "pg_class" in sql:
            continue
        assert "LIMIT" in sql, sql
        assert not re.search(r"\b(OFFSET|COUNT|DISTINCT)\b", sql.upper()), sql
        assert "UPPER(" not in sql, sql  # a case-insensitive match has no index
    (page,) = [sql for sql in statements if "ORDER BY" in sql] or [""]
    assert '"html"' not in page
    assert len(captured) <= 14


def test_the_number_of_statements_does_not_grow_with_the_page(root, tenant, stranger):
    DeliveryFactory(tenant=tenant)
    listed(root)
    with CaptureQueriesContext(connection) as few:
        listed(root)
    for one in (tenant, stranger):
        DeliveryFactory.create_batch(10, tenant=one)
    with CaptureQueriesContext(connection) as many:
        assert len(listed(root)) == 21
    assert len(many) == len(few)


def test_every_index_that_the_searches_rely_on_is_there_and_fits(tenant):
    """Each search, asked of the planner with sequential scans made costly, is answered by the index meant for it."""
    DeliveryFactory(tenant=tenant, status=Status.FAILED)
    for number in range(300):  # enough of them, and known to the planner, that one user's are few
        DeliveryFactory(tenant=tenant, user_id=f"user {number}", event_id=f"event {number}", status=Status.SENT)
    wanted = {
        "delivery_by_user": Delivery.objects.for_tenant(tenant).filter(user_id="u").order_by("-id"),
        "delivery_once": Delivery.objects.for_tenant(tenant).filter(event_id="e"),
        "delivery_unhappy": Delivery.objects.for_tenant(tenant).filter(status=Status.FAILED).order_by("-id"),
    }
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE deliveries_delivery")
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        for index, queryset in wanted.items():
            assert index in queryset[:51].explain(), index
        cursor.execute(
            "EXPLAIN SELECT id FROM deliveries_delivery WHERE NOT (address = '') AND left(address, 64) = 'a@b.example'"
        )
        assert "delivery_by_address" in str(cursor.fetchall())
        cursor.execute("EXPLAIN SELECT id FROM deliveries_delivery WHERE NOT (address = '') AND left(address, 64) LIKE 'a@b%'")
        assert "delivery_by_address" in str(cursor.fetchall())


def test_a_delivery_is_shown_with_its_reason_in_words_its_attempts_and_its_event(root, tenant):
    delivery = DeliveryFactory(
        tenant=tenant,
        event_id="evt 1/2",
        status=Status.FAILED,
        reason="retries_exhausted",
        error="451 Greylisted",
        attempt_count=2,
        data={"order_id": 4711},
    )
    AttemptFactory(delivery=delivery, outcome=AttemptOutcome.AMBIGUOUS, code="reset", response="broke after DATA")
    AttemptFactory(delivery=delivery, number=2, outcome=AttemptOutcome.TRANSIENT, detail={"token-1": "slow"})
    text = html.unescape(root.get(page_of(delivery)).content.decode())
    assert "Failed because every attempt failed: 451 Greylisted." in text
    for shown in ("ambiguous", "broke after DATA", "transient", '"token-1": "slow"', '"order_id": 4711', "ada@example.com"):
        assert shown in text
    assert f"{reverse('admin:notifications_event_changelist')}?q={quote('evt 1/2', safe='')}".replace("%20", "+") in text


def test_attempts_name_the_account_beside_its_kind_and_another_tenants_never(root, tenant, stranger):
    own, other = (
        ProviderAccount.objects.create(tenant=one, channel=Channel.EMAIL, kind="smtp", name=name)
        for one, name in ((tenant, "<Main>"), (stranger, "Theirs"))
    )
    delivery = DeliveryFactory(tenant=tenant)
    for number, account in enumerate((own.pk, other.pk, None), start=1):
        AttemptFactory(delivery=delivery, number=number, provider_account_id=account)
    text = root.get(page_of(delivery)).content.decode()
    assert "smtp (&lt;Main&gt;)" in text
    assert f"smtp ({other.pk})" in text
    assert "Theirs" not in text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"status": Status.SUPPRESSED, "reason": "opted_out", "explanation": {"why": "The user turned sms off."}},
            "Suppressed because the user turned sms off.",
        ),
        (
            {"status": Status.SUPPRESSED, "reason": "no_address"},
            "Suppressed because the recipient has no address for this channel.",
        ),
        ({"status": Status.EXPIRED, "reason": "expired"}, "Expired because it was too late to be of use."),
        ({"status": Status.CANCELED}, "Canceled before it was sent."),
        ({"status": Status.FAILED, "reason": "some_new_code"}, "Failed because some new code."),
        ({"status": Status.FAILED, "explanation": ["odd"]}, "Failed."),
        ({"status": Status.BOUNCED, "reason": "bounced"}, "Bounced because the provider reported that it did not arrive."),
        (
            {"status": Status.BOUNCED, "reason": "30003", "error": "unreachable"},
            "Bounced because the provider reported that it did not arrive (30003): unreachable.",
        ),
        (
            {"status": Status.PENDING, "attempt_count": 2, "reason": "throttled", "error": "429"},
            "Waits for another attempt; the last of 2 failed: throttled: 429.",
        ),
        ({"status": Status.PENDING}, "Waits to be sent."),
        ({"status": Status.DELIVERED}, "The provider reported that it arrived."),
    ],
)
def test_every_state_is_put_in_words(root, tenant, values, words):
    delivery = DeliveryFactory(tenant=tenant, **values)
    assert words in html.unescape(root.get(page_of(delivery)).content.decode())


def test_receipts_are_shown_and_cannot_be_changed(root, tenant):
    delivery = DeliveryFactory(tenant=tenant, status=Status.BOUNCED)
    ReceiptFactory(delivery=delivery, kind=ReceiptKind.BOUNCED, code="5.1.1", response="<b>no such user</b>")
    text = root.get(page_of(delivery)).content.decode()
    assert "5.1.1" in text
    assert "&lt;b&gt;no such user" in text
    assert 'name="receipts-0-code"' not in text


def test_an_html_body_is_framed_so_that_it_runs_and_loads_nothing(root, tenant):
    delivery = DeliveryFactory(tenant=tenant, html='<p onclick="x">Hi "you"</p><script>alert(1)</script><img src=//t.example>')
    text = root.get(page_of(delivery)).content.decode()
    assert "<script>alert(1)" not in text
    (frame,) = re.findall(r"<iframe sandbox srcdoc=\"([^\"]*)\"", text)
    assert html.unescape(frame).startswith('<meta http-equiv="Content-Security-Policy" content="default-src \'none\'')
    assert html.unescape(frame).endswith(delivery.html)


def test_words_of_the_message_are_text_on_the_page(root, tenant):
    delivery = DeliveryFactory(tenant=tenant, subject="<script>1</script>", body="<b>x</b>", data={"a": "</pre><script>2"})
    text = root.get(page_of(delivery)).content.decode()
    assert "<script>1" not in text
    assert "<script>2" not in text
    assert "<b>x</b>" not in text


def test_nothing_of_a_delivery_can_be_added_changed_or_deleted(root, tenant):
    delivery = DeliveryFactory(tenant=tenant, subject="as sent")
    assert root.get(f"{LIST}add/").status_code == 403
    assert root.post(page_of(delivery), {"subject": "forged"}).status_code == 403
    assert root.post(reverse("admin:deliveries_delivery_delete", args=[delivery.pk]), {"post": "yes"}).status_code == 403
    root.post(LIST, {"action": "delete_selected", "_selected_action": [delivery.pk], "post": "yes", "index": 0})
    delivery.refresh_from_db()
    assert delivery.subject == "as sent"


def send_again(client, delivery):
    return client.post(reverse("admin:deliveries_delivery_send_again", args=[delivery.pk]), {"_form_submitted": "on"})


def test_a_failed_delivery_is_sent_again_from_its_page(root, tenant):
    delivery = DeliveryFactory(tenant=tenant, status=Status.FAILED, reason="permanent", next_attempt_at=NOON)
    assert "Send again" in root.get(page_of(delivery)).content.decode()
    bells.answer_send(Channel.EMAIL)
    response = send_again(root, delivery)
    assert response["Location"] == page_of(delivery)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.reason) == (Status.PENDING, "")
    assert delivery.next_attempt_at > NOON
    assert redis.client().exists("bell:send:email")
    assert "Send again" not in root.get(page_of(delivery)).content.decode()


def test_looking_at_the_question_sends_nothing(root, tenant):
    delivery = DeliveryFactory(tenant=tenant, status=Status.FAILED)
    question = root.get(reverse("admin:deliveries_delivery_send_again", args=[delivery.pk]))
    assert "Send this message again?" in question.content.decode()
    delivery.refresh_from_db()
    assert delivery.status == Status.FAILED


def test_the_selected_are_sent_again_where_they_failed(root, tenant, stranger):
    failed = [DeliveryFactory(tenant=one, status=Status.FAILED) for one in (tenant, stranger)]
    sent = DeliveryFactory(tenant=tenant, status=Status.SENT)
    left = DeliveryFactory(tenant=tenant, status=Status.FAILED)
    selected = [one.pk for one in (*failed, sent)]
    root.post(LIST, {"action": "send_again_selected", "_selected_action": selected, "index": 0})
    statuses = dict(Delivery.objects.values_list("pk", "status"))
    assert [statuses[one.pk] for one in (*failed, sent, left)] == [
        Status.PENDING,
        Status.PENDING,
        Status.SENT,
        Status.FAILED,
    ]


def test_only_staff_who_may_change_deliveries_send_again(tenant):
    delivery = DeliveryFactory(tenant=tenant, status=Status.FAILED)
    viewer = staff_client("deliveries.view_delivery")
    assert "Send again" not in viewer.get(page_of(delivery)).content.decode()
    assert send_again(viewer, delivery).status_code == 403
    viewer.post(LIST, {"action": "send_again_selected", "_selected_action": [delivery.pk], "index": 0})
    delivery.refresh_from_db()
    assert delivery.status == Status.FAILED


def test_staff_with_the_right_send_again(tenant):
    delivery = DeliveryFactory(tenant=tenant, status=Status.FAILED, created_at=now())
    send_again(staff_client("deliveries.view_delivery", "deliveries.change_delivery"), delivery)
    delivery.refresh_from_db()
    assert delivery.status == Status.PENDING


def test_times_are_shown_to_the_second(root, tenant):
    delivery = DeliveryFactory(tenant=tenant, created_at=NOON + timedelta(seconds=7), sent_at=NOON + timedelta(seconds=9))
    text = root.get(page_of(delivery)).content.decode()
    assert "2026-03-01 12:00:07" in text
    assert "2026-03-01 12:00:09" in text
    assert "2026-03-01 12:00:07" in root.get(LIST).content.decode()
