"""Rows for tests."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from itertools import count
from uuid import UUID, uuid4

import factory
from django.utils.timezone import now
from factory.django import DjangoModelFactory

from deliveries.models import Attempt, AttemptOutcome, Delivery, Receipt, ReceiptKind
from deliveries.states import Status
from notifications.models import Digest, DigestSchedule, Event, EventType, Heartbeat, Limit, Rule
from preferences.models import Device, Preference, Recipient, Suppression, Topic
from templates_app.models import Template, TemplateVersion
from tenants.ids import first_id_at
from tenants.models import Tenant
from tenants.vocabulary import Channel


class TenantFactory(DjangoModelFactory):
    class Meta:
        model = Tenant

    slug = factory.Sequence(lambda n: f"tenant-{n}")
    name = factory.SelfAttribute("slug")


class RecipientFactory(DjangoModelFactory):
    class Meta:
        model = Recipient

    tenant = factory.SubFactory(TenantFactory)
    user_id = factory.Sequence(lambda n: f"user_{n}")
    email = factory.LazyAttribute(lambda r: f"{r.user_id}@example.com")
    phone = "+14155550100"
    locale = "en"


class DeviceFactory(DjangoModelFactory):
    class Meta:
        model = Device

    tenant = factory.SelfAttribute("recipient.tenant")
    recipient = factory.SubFactory(RecipientFactory)
    token = factory.Sequence(lambda n: f"token-{n}")


class PreferenceFactory(DjangoModelFactory):
    class Meta:
        model = Preference

    tenant = factory.SubFactory(TenantFactory)


class TopicFactory(DjangoModelFactory):
    class Meta:
        model = Topic

    tenant = factory.SubFactory(TenantFactory)
    key = factory.Sequence(lambda n: f"topic-{n}")


class SuppressionFactory(DjangoModelFactory):
    class Meta:
        model = Suppression

    tenant = factory.SubFactory(TenantFactory)
    channel = Channel.EMAIL


class EventTypeFactory(DjangoModelFactory):
    class Meta:
        model = EventType

    tenant = factory.SubFactory(TenantFactory)
    name = "account"


class RuleFactory(DjangoModelFactory):
    class Meta:
        model = Rule

    tenant = factory.SubFactory(TenantFactory)
    name = factory.Sequence(lambda n: f"rule {n}")
    event_type = "order.*"
    channels = [Channel.IN_APP.value]


class HeartbeatFactory(DjangoModelFactory):
    """One that watches already, as after the first sweep."""

    class Meta:
        model = Heartbeat

    tenant = factory.SubFactory(TenantFactory)
    name = factory.Sequence(lambda n: f"heartbeat {n}")
    event_type = "backup.*"
    key = "payload.machine"
    every_s = 600
    is_watching = True


class TemplateFactory(DjangoModelFactory):
    """A template with one published version."""

    class Meta:
        model = Template
        skip_postgeneration_save = True

    tenant = factory.SubFactory(TenantFactory)
    channel = Channel.IN_APP
    event_type = "account"
    locale = "en"

    @factory.post_generation
    def version(template, create, extracted, **values):
        version = TemplateVersion.objects.create(
            tenant=template.tenant,
            template=template,
            number=1,
            **{
                "subject": "Hello",
                "body": "Hello {{ userName }}",
                "variables": [{"name": "userName", "required": True}],
                **values,
            },
        )
        template.published_version = version
        template.save()


_serials = count()


def id_at(moment) -> UUID:
    """A fresh id as it would have been made at `moment`; of two in one millisecond the later one is the greater."""
    return UUID(int=first_id_at(moment).int | next(_serials))


class EventFactory(DjangoModelFactory):
    class Meta:
        model = Event

    tenant = factory.SubFactory(TenantFactory)
    created_at = factory.LazyFunction(now)
    id = factory.LazyAttribute(lambda e: id_at(e.created_at))
    event_id = factory.Sequence(lambda n: f"evt_{n}")
    event_type = "account"
    user_id = "user_1"
    due_at = factory.SelfAttribute("created_at")
    content_hash = factory.LazyAttribute(lambda e: hashlib.blake2b(e.event_id.encode(), digest_size=16).digest())


class DeliveryFactory(DjangoModelFactory):
    """A delivery as the pipeline leaves it; its id is of the time it was created."""

    class Meta:
        model = Delivery

    tenant = factory.SubFactory(TenantFactory)
    created_at = factory.LazyFunction(now)
    id = factory.LazyAttribute(lambda d: id_at(d.created_at))
    event_id = factory.Sequence(lambda n: f"evt_{n}")
    event_type = "account"
    user_id = "user_1"
    channel = Channel.EMAIL
    status = Status.SENT
    address = "ada@example.com"
    template_version_id = factory.LazyFunction(uuid4)
    subject = "Hello"
    body = "Hello Ada"
    accepted_at = factory.SelfAttribute("created_at")


class AttemptFactory(DjangoModelFactory):
    class Meta:
        model = Attempt

    delivery = factory.SubFactory(DeliveryFactory)
    number = 1
    outcome = AttemptOutcome.SENT
    provider = "smtp"
    started_at = factory.LazyFunction(now)
    duration_ms = 12


class ReceiptFactory(DjangoModelFactory):
    class Meta:
        model = Receipt

    delivery = factory.SubFactory(DeliveryFactory)
    kind = ReceiptKind.DELIVERED
    at = factory.LazyFunction(now)


class LimitFactory(DjangoModelFactory):
    class Meta:
        model = Limit

    tenant = factory.SubFactory(TenantFactory)
    name = factory.Sequence(lambda n: f"limit {n}")
    per = ["recipient"]
    count = 1
    window_s = 3600


class DigestScheduleFactory(DjangoModelFactory):
    class Meta:
        model = DigestSchedule

    tenant = factory.SubFactory(TenantFactory)
    name = factory.Sequence(lambda n: f"schedule {n}")


class DigestFactory(DjangoModelFactory):
    """An open one."""

    class Meta:
        model = Digest

    tenant = factory.SubFactory(TenantFactory)
    user_id = factory.Sequence(lambda n: f"user_{n}")
    channel = Channel.EMAIL
    due_at = factory.LazyFunction(lambda: now() + timedelta(days=1))
    closes_by = factory.SelfAttribute("due_at")
