"""Recipients, preferences, topics and suppressions in the admin."""

import datetime as dt
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from preferences import admin
from preferences.admin import _MOST_COUNTED
from preferences.models import Preference, Recipient, Subscription, Suppression
from tenants.vocabulary import Channel
from tests.factories import (
    DeviceFactory,
    EventTypeFactory,
    PreferenceFactory,
    RecipientFactory,
    SuppressionFactory,
    TopicFactory,
)
from tests.staff import staff_client, superuser_client

LISTS = ["recipient", "preference", "topic", "suppression"]


@pytest.fixture
def staff(db) -> Client:
    return superuser_client()


def url(model, page="changelist", *args):
    return reverse(f"admin:preferences_{model}_{page}", args=args)


def fill(tenant, number):
    """One row of everything."""
    recipient = RecipientFactory(tenant=tenant, user_id=f"user_{number}")
    DeviceFactory(recipient=recipient)
    PreferenceFactory(tenant=tenant, user_id=recipient.user_id)
    Subscription.objects.create(topic=TopicFactory(tenant=tenant), recipient=recipient)
    SuppressionFactory(tenant=tenant, address=recipient.email)


@pytest.mark.parametrize("model", LISTS)
def test_a_list_costs_the_same_however_long_it_is_and_never_counts_its_table(staff, tenant, model):
    costs = []
    for size in (1, 30):
        for number in range(size):
            fill(tenant, f"{size}_{number}")
        with CaptureQueriesContext(connection) as captured:
            assert staff.get(url(model)).status_code == 200
        costs.append(len(captured))
        assert not [query for query in captured if re.match(r"SELECT COUNT\(", query["sql"])]
    assert costs[0] == costs[1]


@pytest.mark.parametrize("model", LISTS)
def test_every_page_opens(staff, tenant, model):
    fill(tenant, 1)
    (row,) = {"recipient": Recipient, "preference": Preference, "suppression": Suppression}.get(
        model, Subscription._meta.get_field("topic").related_model
    ).objects.all()
    for page, args in (("changelist", ()), ("add", ()), ("change", (row.pk,)), ("delete", (row.pk,))):
        assert staff.get(url(model, page, *args)).status_code == 200


@pytest.mark.parametrize("words", ["user_7", "user_7@exam", "+1415555777"])
def test_recipients_are_found_by_how_their_id_address_or_number_begins(staff, tenant, words):
    RecipientFactory(tenant=tenant, user_id="user_7", phone="+14155557777")
    RecipientFactory(tenant=tenant, user_id="a_user_7", phone="+19145557777")
    page = staff.get(url("recipient"), {"q": words})
    assert [recipient.user_id for recipient in page.context["cl"].result_list] == ["user_7"]


def test_a_recipient_is_shown_with_devices_and_preferences(staff, tenant, stranger):
    recipient = RecipientFactory(tenant=tenant, user_id="a")
    DeviceFactory(recipient=recipient, token="the-token", platform="ios")
    PreferenceFactory(
        tenant=tenant, user_id="a", event_type="order.shipped", quiet_hours_start=dt.time(22), quiet_hours_end=dt.time(7)
    )
    PreferenceFactory(tenant=stranger, user_id="a", event_type="not.mine")
    page = staff.get(url("recipient", "change", recipient.pk)).content.decode()
    assert "the-token" in page
    assert "order.shipped" in page
    assert "22:00 – 07:00" in page
    assert "not.mine" not in page


def test_a_recipients_quiet_hours_are_written_a_window_a_line(staff, tenant):
    text = "mon-fri 22:00-7:00\r\n\r\nSaturday, sun 00:00 – 24:00\r\n"
    assert staff.post(url("recipient", "add"), recipient_form(tenant, quiet_hours=text)).status_code == 302
    recipient = Recipient.objects.get()
    assert recipient.quiet_hours == [
        {"start": "22:00", "end": "07:00", "days": ["mon", "tue", "wed", "thu", "fri"]},
        {"start": "00:00", "end": "00:00", "days": ["sat", "sun"]},
    ]
    page = staff.get(url("recipient", "change", recipient.pk))
    assert page.context["adminform"].form["quiet_hours"].value() == "mon-fri 22:00-07:00\nsat,sun 00:00-00:00"
    assert "<div>Mon–Fri 22:00 – 07:00</div><div>Sat, Sun all day</div>" in staff.get(url("recipient")).content.decode()
    form = recipient_form(tenant, email="new@example.com", quiet_hours=page.context["adminform"].form["quiet_hours"].value())
    assert staff.post(url("recipient", "change", recipient.pk), form).status_code == 302
    assert Recipient.objects.get().quiet_hours == recipient.quiet_hours
    assert "uiet hours" not in LogEntry.objects.latest("pk").get_change_message()
    staff.post(url("recipient", "change", recipient.pk), form | {"quiet_hours": ""})
    assert Recipient.objects.get().quiet_hours == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("late", "Line 1 is not written like mon-fri 22:00-07:00."),
        ("mon 22:00-07:00\nmon 22:00", "Line 2 is not written like mon-fri 22:00-07:00."),
        ("mon 25:00-07:00", "Line 1: 25:00 is not a time of day."),
        ("payday 22:00-07:00", "Line 1: payday is not a day of the week; days are mon, tue, wed, thu, fri, sat, sun."),
        ("mon-fri 07:00-22:00\n22:00-07:00\nsat,sun 07:00-22:00", "These quiet hours leave no minute of the week to send"),
        ("mon 12:00-13:00\n" * 15, "There may be at most 14 windows."),
    ],
)
def test_quiet_hours_that_cannot_be_are_refused_and_shown_again(staff, tenant, text, message):
    page = staff.post(url("recipient", "add"), recipient_form(tenant, quiet_hours=text))
    form = page.context["adminform"].form
    assert (page.status_code, list(form.errors)) == (200, ["quiet_hours"])
    assert form.errors["quiet_hours"][0].startswith(message)
    assert form["quiet_hours"].value() == text
    assert not Recipient.objects.exists()


def test_who_may_only_look_reads_quiet_hours_in_words(tenant):
    recipient = RecipientFactory(tenant=tenant, quiet_hours=[{"start": "22:00", "end": "07:00", "days": ["fri"]}])
    weekend = PreferenceFactory(tenant=tenant, quiet_hours_start="20:00", quiet_hours_end="09:00", quiet_hours_days=0b1110000)
    tenant.quiet_hours = [{"start": "21:00", "end": "06:00", "days": ["mon"]}]
    tenant.save()
    clerk = staff_client("preferences.view_recipient", "preferences.view_preference", "tenants.view_tenant")
    for path, words in (
        (url("recipient", "change", recipient.pk), "Fri 22:00 – 07:00"),
        (url("preference", "change", weekend.pk), "Fri–Sun 20:00 – 09:00"),
        (reverse("admin:tenants_tenant_change", args=[tenant.pk]), "Mon 21:00 – 06:00"),
    ):
        page = clerk.get(path)
        assert page.status_code == 200
        assert words in page.content.decode()
        assert "quiet_hours" not in page.content.decode()


def test_an_explanation_says_which_quiet_hours_hold_and_whether_it_is_quiet(staff, tenant, monkeypatch):
    monkeypatch.setattr(admin, "now", lambda: dt.datetime(2026, 7, 1, 21, tzinfo=dt.UTC))
    EventTypeFactory(tenant=tenant, name="security.login", required=True)
    recipient = RecipientFactory(tenant=tenant, user_id="a", timezone="Europe/Vienna")

    def quiet(event_type="note"):
        path = reverse("admin:preferences_recipient_explain", args=[recipient.pk])
        page = staff.get(path, {"event_type": event_type, "channel": "1"}).content.decode()
        return " ".join(re.sub(r"<[^>]+>", " ", page.partition('id="quiet"')[2].partition("<table")[0]).split())

    assert "No quiet hours Neither the user nor the tenant has any." in quiet()
    tenant.quiet_hours = [{"start": "22:00", "end": "06:30", "days": ["wed"]}]
    tenant.save()
    assert "Quiet now until Thu 2 Jul 2026, 06:30, Europe/Vienna Wed 22:00 – 06:30 They are the tenant&#x27;s" in quiet()
    recipient.quiet_hours = [{"start": "01:00", "end": "02:00", "days": ["wed"]}]
    recipient.save()
    assert "Not quiet now Wed 01:00 – 02:00 They are the user&#x27;s as a whole." in quiet()
    PreferenceFactory(tenant=tenant, user_id="a", quiet_hours_days=0, delivery="digest")
    assert "No quiet hours The deciding preference says so (user.any)." in quiet()
    assert "What is required is held back in none." in quiet("security.login")


def test_the_explanation_highlights_the_rung_that_decides(staff, tenant):
    EventTypeFactory(tenant=tenant, name="order.shipped", category="orders")
    recipient = RecipientFactory(tenant=tenant, user_id="a", email="")
    off = PreferenceFactory(tenant=tenant, user_id="a", category="orders", enabled=False)
    PreferenceFactory(tenant=tenant, user_id="", channel=Channel.EMAIL)
    path = reverse("admin:preferences_recipient_explain", args=[recipient.pk])
    empty = staff.get(path).content.decode()
    assert '<option value="order.shipped">' in empty
    assert "data-decides" not in empty
    page = staff.get(path, {"event_type": "order.shipped", "channel": "1"})
    (deciding,) = re.findall(r"<tr[^>]*data-decides.*?</tr>", page.content.decode(), re.DOTALL)
    assert "user.category" in deciding
    assert str(off.pk) in deciding
    assert "The user turned the category orders by any channel off." in page.content.decode()
    assert "There is no address for this channel" in page.content.decode()


@pytest.mark.parametrize(
    "query", [{"event_type": ""}, {"event_type": "x", "channel": "99"}, {"event_type": "\x00", "channel": "1"}]
)
def test_a_question_that_cannot_be_is_shown_as_an_error(staff, tenant, query):
    path = reverse("admin:preferences_recipient_explain", args=[RecipientFactory(tenant=tenant).pk])
    page = staff.get(path, query)
    assert page.status_code == 200
    assert page.context["form"].errors


@pytest.mark.parametrize(("permission", "status"), [("view_recipient", 200), ("view_preference", 403)])
def test_an_explanation_is_for_who_may_see_recipients(tenant, permission, status):
    path = reverse("admin:preferences_recipient_explain", args=[RecipientFactory(tenant=tenant).pk])
    assert staff_client(f"preferences.{permission}").get(path).status_code == status


@pytest.mark.parametrize("recipient_id", ["x", "01a1fc40-8db9-75c4-9965-541c448fb868"])
def test_nobody_is_explained_to_nobody(staff, recipient_id):
    assert staff.get(reverse("admin:preferences_recipient_explain", args=[recipient_id])).status_code == 404


def recipient_form(tenant, **fields):
    devices = {"devices-TOTAL_FORMS": 0, "devices-INITIAL_FORMS": 0}
    return {"tenant": tenant.pk, "user_id": "a", "attributes": "{}", **devices, **fields}


def test_a_recipient_is_stored_in_its_normal_form(staff, tenant):
    saved = staff.post(url("recipient", "add"), recipient_form(tenant, phone="+1 (415) 555-0100", locale="de_at"))
    assert saved.status_code == 302
    assert Recipient.objects.values_list("phone", "locale").get() == ("+14155550100", "de-AT")


@pytest.mark.parametrize(
    ("field", "value"),
    [("phone", "12345"), ("email", "x"), ("timezone", "Mars"), ("locale", "!"), ("webhook_url", "ftp://a.co"), ("user_id", "")],
)
def test_a_recipient_that_cannot_be_is_refused(staff, tenant, field, value):
    page = staff.post(url("recipient", "add"), recipient_form(tenant, **{field: value}))
    assert page.status_code == 200
    assert list(page.context["adminform"].form.errors) == [field]


def test_deleting_a_recipient_erases_its_preferences_too(staff, tenant):
    recipient = RecipientFactory(tenant=tenant, user_id="a")
    PreferenceFactory(tenant=tenant, user_id="a")
    assert staff.post(url("recipient", "delete", recipient.pk), {"post": "yes"}).status_code == 302
    assert not Recipient.objects.exists()
    assert not Preference.objects.exists()


def preference_form(tenant, **fields):
    return {"tenant": tenant.pk, "user_id": "a", "enabled": "on", "delivery": "immediate", **fields}


def test_a_preference_for_any_channel_and_type_is_stored(staff, tenant):
    assert staff.post(url("preference", "add"), preference_form(tenant, channel="", event_type="*")).status_code == 302
    assert Preference.objects.values_list("user_id", "channel", "event_type", "category").get() == ("a", None, "", "")


WEEK = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
NIGHT = {"quiet_hours_start": "22:00", "quiet_hours_end": "07:00"}


@pytest.mark.parametrize(
    ("fields", "stored", "shown"),
    [
        ({"quiet_hours_days": WEEK}, (None, None), "–"),
        ({}, (None, None), "–"),
        (NIGHT | {"quiet_hours_days": WEEK}, ("22:00", None), "22:00 – 07:00"),
        (NIGHT | {"quiet_hours_days": ["mon", "sun"]}, ("22:00", 0b1000001), "Mon, Sun 22:00 – 07:00"),
        ({"no_quiet_hours": "on", "quiet_hours_days": WEEK}, (None, 0), "none"),
        (NIGHT | {"no_quiet_hours": "on"}, (None, 0), "none"),
    ],
)
def test_the_quiet_hours_of_a_preference_are_stored_shown_and_kept(staff, tenant, fields, stored, shown):
    def now_stored():
        preference = Preference.objects.get()
        start = preference.quiet_hours_start
        return start and f"{start:%H:%M}", preference.quiet_hours_days

    assert staff.post(url("preference", "add"), preference_form(tenant, **fields)).status_code == 302
    assert now_stored() == stored
    assert re.findall(r"field-hours[^>]*>\s*(.*?)\s*<", staff.get(url("preference")).content.decode(), re.DOTALL) == [shown]
    page = url("preference", "change", Preference.objects.get().pk)
    form = staff.get(page).context["adminform"].form
    again = {name: form[name].value() for name in form.fields if form[name].value()}
    assert staff.post(page, again).status_code == 302
    assert now_stored() == stored
    assert LogEntry.objects.latest("pk").get_change_message() == "No fields changed."


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({"quiet_hours_start": "22:00"}, "quiet_hours_end"),
        ({"quiet_hours_start": "22:00", "quiet_hours_end": "22:00", "quiet_hours_days": WEEK}, "quiet_hours_end"),
        (NIGHT, "quiet_hours_days"),
        ({"quiet_hours_days": ["mon"]}, "quiet_hours_days"),
        (NIGHT | {"quiet_hours_days": ["payday"]}, "quiet_hours_days"),
        ({"quiet_hours_start": "25:00", "quiet_hours_end": "07:00"}, "quiet_hours_start"),
        ({"event_type": "a.b", "category": "c"}, "category"),
        ({"event_type": "two words"}, "event_type"),
        ({"channel": "99"}, "channel"),
    ],
)
def test_a_preference_that_cannot_be_is_refused(staff, tenant, fields, faulty):
    page = staff.post(url("preference", "add"), preference_form(tenant, **fields))
    assert page.status_code == 200
    assert faulty in page.context["adminform"].form.errors
    assert not Preference.objects.exists()


def test_a_second_preference_on_the_same_rung_is_refused(staff, tenant):
    PreferenceFactory(tenant=tenant, user_id="a")
    page = staff.post(url("preference", "add"), preference_form(tenant))
    assert page.status_code == 200
    assert Preference.objects.count() == 1


def test_a_suppression_is_stored_in_its_normal_form_or_refused(staff, tenant):
    def post(address):
        body = {"tenant": tenant.pk, "channel": "1", "address": address, "reason": "manual"}
        return staff.post(url("suppression", "add"), body).status_code

    assert [post("A@B.co"), post("a@b.CO"), post("nobody")] == [302, 200, 200]
    assert Suppression.objects.get().address == "a@b.co"


def test_subscribers_are_counted_up_to_where_it_matters(staff, tenant):
    small, large = TopicFactory(tenant=tenant), TopicFactory(tenant=tenant)
    recipients = Recipient.objects.bulk_create([Recipient(tenant=tenant, user_id=f"u{n}") for n in range(_MOST_COUNTED + 1)])
    Subscription.objects.bulk_create([Subscription(topic=large, recipient=recipient) for recipient in recipients])
    Subscription.objects.create(topic=small, recipient=recipients[0])
    page = staff.get(url("topic")).content.decode()
    shown = re.findall(r"field-subscribers[^>]*>\s*(.*?)\s*<", page, re.DOTALL)
    assert shown == ["more than 1,000", "1"]
