"""After an erasure no table of the database says anything of the user, whatever tables there will be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.apps import apps
from django.db import connection
from django.urls import reverse
from django.utils.timezone import now

from deliveries.models import AttemptOutcome, Delivery, ReceiptKind, StatusEndpoint, StatusMessage
from deliveries.receipts.services import NewReceipt, apply_receipts
from deliveries.states import Status
from notifications.models import Digest, Event, Hold
from preferences.models import Preference, Recipient, Suppression, TelegramLink
from preferences.services import erase_user, subscribe
from preferences.telegram_links import create_link
from tenants.vocabulary import Channel
from tests.factories import (
    AttemptFactory,
    DeviceFactory,
    DigestScheduleFactory,
    EventFactory,
    PreferenceFactory,
    RecipientFactory,
    RuleFactory,
    SuppressionFactory,
    TemplateFactory,
)
from tests.staff import superuser_client

USER = "zoe-4711"
PERSON = {
    "email": "zoe@hers.example",
    "phone": "+4915112345678",
    "telegram_chat_id": "778899001",
    "webhook_url": "https://hers.example/hook",
}
TOKEN = "token-of-zoes-phone"
NAME = "Lovelace"
SECRETS = (USER, *PERSON.values(), TOKEN, NAME, "hers.example")
STAYS = {"preferences.Suppression"}
"""So that an address that must not be written to is not written to again."""


def tables_that_tell() -> dict[str, list[str]]:
    """Model → what its table still says of the user, in whatever column."""
    told = {}
    for model in apps.get_models(include_auto_created=True):
        table = connection.ops.quote_name(model._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} t")
            rows = "\n".join(row[0] for row in cursor.fetchall())
        found = [secret for secret in SECRETS if secret in rows]
        if found:
            told[model._meta.label] = found
    return told


def a_person(tenant) -> Recipient:
    recipient = RecipientFactory(tenant=tenant, user_id=USER, attributes={"lastName": NAME}, **PERSON)
    DeviceFactory(recipient=recipient, token=TOKEN)
    DeviceFactory(recipient=recipient, token=f"{TOKEN}-before", retired_at=now())
    PreferenceFactory(tenant=tenant, user_id=USER, channel=Channel.SMS, event_type="other")
    subscribe(tenant=tenant, topic_key="news", user_id=USER)
    create_link(tenant=tenant, user_id=USER, bot="installation", make_known=False)
    return recipient


@pytest.fixture
def life(api, tenant, drain):
    """Everything that may be known of somebody: by every kind of event, on every channel, with every kind of outcome."""
    tenant.sandbox, tenant.default_channels = True, []
    tenant.save()
    for channel in Channel:
        TemplateFactory(tenant=tenant, channel=channel, version__body="Dear {{ name }}", version__variables=[])
    RuleFactory(tenant=tenant, event_type="order", recipients={"path": "payload.userId"}, channels=[Channel.EMAIL])
    StatusEndpoint.objects.create(
        tenant=tenant, url="https://127.0.0.1:9/", statuses=[status.value for status in Status], is_active=True
    )
    recipient = a_person(tenant)
    every = [str(channel.label) for channel in Channel]
    to = {"userId": USER, "email": PERSON["email"], "phone": PERSON["phone"]}
    common = {"eventType": "account", "channels": every, "data": {"name": NAME}, "metadata": {"who": NAME}}
    for more in (
        {"userId": USER},
        {"to": to},
        {"to": [{"userId": "bob"}, to], "data": {}, "metadata": {}},
        {"to": {"topic": "news"}, "data": {}, "metadata": {}},
        {"userId": USER, "channels": None},
        {"userId": USER, "scheduledAt": (now() + timedelta(days=1)).isoformat()},
        {"eventType": "order", "channels": None, "data": {"userId": USER}},
    ):
        body = {name: value for name, value in {**common, **more}.items() if value is not None}
        assert api.post("/api/events", body).status_code == 202, more
    drain()
    for user_id in (USER, "bob"):
        EventFactory(tenant=tenant, user_id=user_id, status=4, error=f"cannot digest {user_id}", data={"for": user_id})
    mail = Delivery.objects.filter(user_id=USER, channel=Channel.EMAIL).order_by("id")[0]
    AttemptFactory(
        delivery=mail, number=7, outcome=AttemptOutcome.PERMANENT, response=f"550 {PERSON['email']}", detail={TOKEN: 1}
    )
    apply_receipts(
        receipts=[
            NewReceipt(
                tenant_id=tenant.pk,
                channel=Channel.EMAIL,
                delivery_id=mail.pk,
                kind=ReceiptKind.BOUNCED,
                code="5.1.1",
                text=f"{NAME} left",
            )
        ]
    )
    SuppressionFactory(tenant=tenant, address=PERSON["email"], reason="bounce")
    staff = superuser_client()
    page = reverse("admin:preferences_preference_change", args=[Preference.objects.get().pk])
    assert staff.post(page, {"channel": Channel.SMS.value, "enabled": "on", "delivery": "immediate"}).status_code == 302
    return recipient, staff


EVERYWHERE = {
    "admin.LogEntry",
    "deliveries.Attempt",
    "deliveries.Delivery",
    "deliveries.Receipt",
    "deliveries.StatusMessage",
    "notifications.Event",
    "preferences.Device",
    "preferences.Preference",
    "preferences.Recipient",
    "preferences.Suppression",
}


def survivors(api):
    return (
        api.get("/api/deliveries/stats").json(),
        list(Suppression.objects.values()),
        list(Delivery.objects.filter(user_id="bob").order_by("id").values()),
        list(Event.objects.filter(user_id="bob").values()),
        StatusMessage.objects.count(),
        Event.objects.count(),
    )


def test_nothing_is_left_but_what_must_survive(api, tenant, life):
    assert tables_that_tell().keys() == EVERYWHERE
    # What waits is canceled by the erasure, and counted so; here nothing waits.
    assert not Delivery.objects.filter(status__in=[Status.PENDING, Status.SENDING]).exists()
    before = survivors(api)
    assert erase_user(tenant=tenant, user_id=USER)
    assert tables_that_tell().keys() == STAYS
    assert not TelegramLink.objects.exists()
    assert survivors(api) == before
    assert not erase_user(tenant=tenant, user_id=USER)


@pytest.mark.django_db(transaction=True)
def test_nothing_is_left_when_staff_delete_the_recipient(tenant, life):
    recipient, staff = life
    page = reverse("admin:preferences_recipient_delete", args=[recipient.pk])
    assert staff.post(page, {"post": "yes"}).status_code == 302
    assert tables_that_tell().keys() == STAYS


def test_nothing_is_left_of_what_waits_or_was_collected(api, tenant, drain):
    """Held back with an address of its own, collected in an open digest, sent in one that is closed."""
    tenant.sandbox = True
    tenant.quiet_hours = [{"start": "22:00", "end": "07:00"}]
    tenant.save()
    for event_type in ("account", "digest", "order"):
        TemplateFactory(tenant=tenant, channel=Channel.EMAIL, event_type=event_type, version__body="x", version__variables=[])
    a_person(tenant)
    PreferenceFactory(tenant=tenant, user_id=USER, event_type="order", delivery="digest")
    DigestScheduleFactory(tenant=tenant, cadence="window", window_s=600)
    common = {"channels": ["email"], "data": {"name": NAME}, "digestKey": NAME}
    to = {"userId": USER, "email": "other@hers.example"}
    noon = datetime(2031, 7, 1, 12, tzinfo=UTC)
    midnight = noon + timedelta(hours=12)
    for at, event in (
        (noon, {"eventType": "order", "to": to}),
        (noon + timedelta(hours=1), {"eventType": "order", "userId": USER}),
        (midnight, {"eventType": "account", "to": to}),
        (midnight, {"eventType": "order", "userId": USER}),
    ):
        assert api.post("/api/events", {**common, **event}, format="json").status_code == 202
        drain(at)
    assert Hold.objects.exists()
    assert {digest.finished_at is None for digest in Digest.objects.all()} == {True, False}
    assert tables_that_tell().keys() >= {"notifications.Hold", "notifications.Digest", "notifications.Event"}
    assert api.get(f"/api/recipients/{USER}/export").status_code == 200
    assert erase_user(tenant=tenant, user_id=USER)
    assert tables_that_tell() == {}
    assert not Hold.objects.exists()
    drain(midnight + timedelta(days=1))
    assert not Delivery.objects.filter(status__in=[Status.PENDING, Status.SENDING]).exists()
    assert tables_that_tell() == {}
