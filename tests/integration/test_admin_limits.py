"""Limits, digest schedules and digests in the admin; held deliveries on their pages."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from deliveries import bells
from deliveries.models import Delivery
from deliveries.states import Status
from notifications import services
from notifications.models import Digest, DigestSchedule, Hold, Limit
from tenants.vocabulary import Channel
from tests.factories import DeliveryFactory, DigestFactory, DigestScheduleFactory, LimitFactory
from tests.staff import staff_client, superuser_client

DIGESTS = "/admin/notifications/digest/"
LIMIT = {"name": "Marketing", "event_type": "news.*", "category": "", "channel": "", "per": ["recipient"]} | {
    "count": 3,
    "window_s": 86_400,
    "excess": "defer",
    "is_active": "on",
}
SCHEDULE = {"name": "Fridays", "event_type": "*", "category": "", "channel": "1", "cadence": "weekly", "at": "17:00"} | {
    "weekday": 4,
    "window_s": 600,
    "longest_s": 3600,
    "template": "digest",
    "most_items": 20,
    "position": 0,
    "is_active": "on",
}


@pytest.fixture
def root(db):
    return superuser_client()


def errors_of(response) -> dict[str, list[str]]:
    assert response.status_code == 200
    return dict(response.context["adminform"].form.errors)


def test_a_limit_is_added_and_changed(root, tenant):
    add = reverse("admin:notifications_limit_add")
    assert root.post(add, LIMIT | {"tenant": tenant.pk}).status_code == 302
    limit = Limit.objects.get()
    assert (limit.tenant, limit.per, limit.channel, limit.window_s) == (tenant, ["recipient"], None, 86_400)
    change = reverse("admin:notifications_limit_change", args=[limit.pk])
    assert root.post(change, LIMIT | {"per": [], "channel": "2"}).status_code == 302
    limit.refresh_from_db()
    assert (limit.per, limit.channel) == ([], Channel.SMS)
    assert "3 in 1 d" in root.get(reverse("admin:notifications_limit_changelist")).content.decode()
    assert root.post(reverse("admin:notifications_limit_delete", args=[limit.pk]), {"post": "yes"}).status_code == 302


@pytest.mark.parametrize(
    ("field", "value"),
    [("event_type", "a b"), ("count", 0), ("count", 100_001), ("window_s", 0), ("per", ["tenant"]), ("excess", "drop")],
)
def test_a_bad_limit_is_refused(root, tenant, field, value):
    response = root.post(reverse("admin:notifications_limit_add"), LIMIT | {"tenant": tenant.pk, field: value})
    assert list(errors_of(response)) == [field]


def test_a_schedule_is_added_and_changed(root, tenant):
    assert root.post(reverse("admin:notifications_digestschedule_add"), SCHEDULE | {"tenant": tenant.pk}).status_code == 302
    schedule = DigestSchedule.objects.get()
    assert (schedule.tenant, schedule.weekday, schedule.at.hour) == (tenant, 4, 17)
    assert "Friday at 17:00" in root.get(reverse("admin:notifications_digestschedule_changelist")).content.decode()
    change = reverse("admin:notifications_digestschedule_change", args=[schedule.pk])
    window = SCHEDULE | {"cadence": "window", "slides": "on"}
    assert list(errors_of(root.post(change, window | {"longest_s": 599}))) == ["longest_s"]
    assert root.post(change, window).status_code == 302
    page = root.get(reverse("admin:notifications_digestschedule_changelist")).content.decode()
    assert "10 min after the last item, 1 h at most" in page


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_type", "?"),
        ("template", "*"),
        ("weekday", 7),
        ("window_s", 9),
        ("most_items", 101),
        ("at", "25:00"),
        ("at", "09:00:30"),
    ],
)
def test_a_bad_schedule_is_refused(root, tenant, field, value):
    response = root.post(reverse("admin:notifications_digestschedule_add"), SCHEDULE | {"tenant": tenant.pk, field: value})
    assert list(errors_of(response)) == [field]


def test_one_too_many_is_refused_and_those_that_are_there_can_be_changed(root, tenant, stranger, monkeypatch):
    monkeypatch.setattr(services, "MOST_LIMITS", 1)
    monkeypatch.setattr(services, "MOST_SCHEDULES", 1)
    for name, form, factory in (("limit", LIMIT, LimitFactory), ("digestschedule", SCHEDULE, DigestScheduleFactory)):
        row = factory(tenant=tenant)
        add = reverse(f"admin:notifications_{name}_add")
        assert "at most 1" in str(errors_of(root.post(add, form | {"tenant": tenant.pk})))
        assert root.post(add, form | {"tenant": stranger.pk}).status_code == 302
        assert root.post(reverse(f"admin:notifications_{name}_change", args=[row.pk]), form).status_code == 302


def digest_with(tenant, wanted: int, **values) -> Digest:
    digest = DigestFactory(tenant=tenant, **values)
    for delivery in DeliveryFactory.create_batch(
        wanted, tenant=tenant, status=Status.PENDING, is_held=True, reason="digest", user_id=digest.user_id
    ):
        Hold.objects.create(
            delivery_id=delivery.pk, tenant=tenant, event=delivery.pk, channel=delivery.channel, digest_id=digest.pk, target={}
        )
    return digest


def listed(client, query: str = "") -> list[str]:
    return [row.user_id for row in client.get(f"{DIGESTS}?{query}").context["cl"].result_list]


@pytest.mark.parametrize("query", ["open=true", "channel__exact=2", "q=ada", "sandbox__exact=1"])
def test_digests_are_filtered_and_found(root, tenant, query):
    DigestFactory(tenant=tenant, user_id="ada", channel=Channel.SMS, sandbox=True)
    DigestFactory(tenant=tenant, user_id="bob", closed_at=now(), finished_at=now())
    assert listed(root, query) == ["ada"]
    assert listed(root) == ["bob", "ada"]


def test_the_list_of_digests_counts_nothing_and_skips_nothing(root, tenant):
    digest = DigestFactory(tenant=tenant)
    for query in ("", f"older={digest.pk}", "open=true", "q=ada"):
        with CaptureQueriesContext(connection) as captured:
            listed(root, query)
        for sql in (one["sql"] for one in captured if '"notifications_digest"' in one["sql"]):
            assert "LIMIT" in sql, sql
            assert not {"OFFSET", "COUNT", "DISTINCT"} & set(sql.upper().replace("(", " ").split()), sql


def test_a_digest_shows_what_it_holds_up_to_a_limit(root, tenant, monkeypatch):
    monkeypatch.setattr("notifications.digests.selectors.MOST_SHOWN", 2)
    monkeypatch.setattr("notifications.digests.admin.MOST_SHOWN", 2)
    digest = digest_with(tenant, 3)
    page = root.get(reverse("admin:notifications_digest_change", args=[digest.pk])).content.decode()
    shown = [str(pk) for pk in Delivery.objects.order_by("id").values_list("pk", flat=True)]
    assert [pk in page for pk in shown] == [True, True, False]
    assert "And 1 more." in page
    assert "3 so far" in page


def send_now(client, digest):
    return client.post(reverse("admin:notifications_digest_send_now", args=[digest.pk]), {"_form_submitted": "on"})


def test_a_digest_is_sent_now(root, tenant, monkeypatch):
    rung = []
    monkeypatch.setattr(bells, "ring_digests", lambda: rung.append(1))
    digest = DigestFactory(tenant=tenant)
    page = reverse("admin:notifications_digest_change", args=[digest.pk])
    offered = reverse("admin:notifications_digest_send_now", args=[digest.pk])
    assert offered in root.get(page).content.decode()
    assert send_now(root, digest)["Location"] == page
    digest.refresh_from_db()
    assert digest.due_at <= now()
    assert digest.closes_by == digest.due_at
    assert rung == [1]
    Digest.objects.update(closed_at=now())
    assert offered not in root.get(page).content.decode()
    assert send_now(root, digest).status_code == 302
    assert rung == [1]


def test_only_staff_who_may_change_digests_send_them(tenant):
    digest = DigestFactory(tenant=tenant)
    assert send_now(staff_client("notifications.view_digest"), digest).status_code == 403
    assert Digest.objects.get().due_at == digest.due_at


def test_a_digest_is_never_edited(root, tenant):
    digest = DigestFactory(tenant=tenant)
    page = reverse("admin:notifications_digest_change", args=[digest.pk])
    assert root.post(page, {"user_id": "forged"}).status_code == 403
    assert root.post(reverse("admin:notifications_digest_delete", args=[digest.pk]), {"post": "yes"}).status_code == 403


def test_held_deliveries_are_found_and_say_why_and_until_when(root, tenant):
    until = now() + timedelta(hours=3)
    past = [{"reason": "quiet_hours", "since": "2031-07-01T20:00:00Z", "until": "2031-07-02T05:00:00Z"}]
    held = DeliveryFactory(
        tenant=tenant,
        user_id="held",
        status=Status.PENDING,
        is_held=True,
        reason="rate_limited",
        explanation={"why": "The limit “marketing” is reached: it waits for its turn.", "heldFor": past},
        next_attempt_at=until,
    )
    DeliveryFactory(tenant=tenant, user_id="other")
    for query, wanted in (("held=true", ["held"]), ("held=false", ["other"])):
        rows = root.get(f"/admin/deliveries/delivery/?{query}").context["cl"].result_list
        assert [row.user_id for row in rows] == wanted
    assert root.get("/admin/deliveries/delivery/?held=perhaps").status_code == 302
    page = root.get(reverse("admin:deliveries_delivery_change", args=[held.pk])).content.decode()
    assert "Held back: the limit “marketing” is reached: it waits for its turn." in page
    assert "2031-07-02T05:00:00Z" in page
    assert f"{until:%Y-%m-%d %H:%M:%S}" in page
