"""Events, their types, and the rules that route them."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.core.validators import MaxValueValidator
from django.db import models
from django.utils.timezone import now
from uuid_utils.compat import uuid7

from notifications.digests.models import Digest, DigestSchedule
from notifications.heartbeats.models import Heartbeat, HeartbeatKey
from notifications.holds.models import Hold
from notifications.limits.models import Limit
from notifications.options import LONGEST_DELAY_S
from preferences.models import DeliveryMode
from tenants.models import Tenant, TenantQuerySet, TenantScopedModel
from tenants.vocabulary import Channel, Coded, Priority

__all__ = [
    "Digest",
    "DigestSchedule",
    "Event",
    "EventStatus",
    "EventType",
    "Heartbeat",
    "HeartbeatKey",
    "Hold",
    "Limit",
    "Rule",
]


class EventType(TenantScopedModel):
    """What a tenant says about one type of event. Events of an undeclared type are taken all the same."""

    name = models.CharField(max_length=200)
    category = models.CharField(max_length=100, blank=True)
    description = models.TextField(blank=True)
    default_channels = ArrayField(models.SmallIntegerField(choices=Channel.choices), default=list, blank=True)
    default_priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    default_enabled = models.BooleanField(default=True, help_text="Whether it is sent to users who said nothing.")
    required = models.BooleanField(default=False, help_text="Ignores opt-outs and quiet hours (security notices).")
    created_at = models.DateTimeField(default=now, editable=False)

    objects = TenantQuerySet["EventType"].as_manager()

    class Meta:
        constraints = [models.UniqueConstraint("tenant", "name", name="event_type_name")]

    def __str__(self) -> str:
        return self.name


class EventStatus(Coded):
    ACCEPTED = 0, "accepted"
    PROCESSED = 1, "processed"
    CANCELED = 2, "canceled"
    EXPIRED = 3, "expired"
    FAILED = 4, "failed"


CAME_TO_AN_END = models.Q(status__in=[EventStatus.CANCELED, EventStatus.EXPIRED, EventStatus.FAILED])
"""Events that will not be processed."""
CAME_TO_NOTHING = models.Q(status=EventStatus.PROCESSED) & ~models.Q(reason="")
"""Events that were processed and have no deliveries: nobody to send to, or no channel."""

AUDIENCE = models.Func(
    models.F("to"),
    function="jsonb_path_query_array",
    template="%(function)s(%(expressions)s, '$.userId')",
    output_field=models.JSONField(),
)
"""The user ids that an event's `to` names, as a JSON list."""


class Event(models.Model):
    """Something that happened, as the client posted it, and how far the pipeline has come with it.

    `id` is ours and time-ordered; `event_id` is the client's, unique within the tenant: the idempotency key. As on
    deliveries, `tenant` is not constrained in the database.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, db_constraint=False, db_index=False)
    event_id = models.CharField(max_length=255)
    event_type = models.CharField(max_length=200)
    user_id = models.CharField(max_length=255, blank=True)
    to = models.JSONField(null=True, blank=True, help_text="Inline recipients, or a topic.")
    channels = ArrayField(models.SmallIntegerField(choices=Channel.choices), null=True, blank=True)
    priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    data = models.JSONField(default=dict, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    sandbox = models.BooleanField(default=False)
    options = models.JSONField(null=True, blank=True, help_text="How it wants to be sent: digestKey, escalation.")
    content_hash = models.BinaryField(max_length=16, help_text="BLAKE2b of the content: same id, other content is a conflict.")

    status = models.SmallIntegerField(choices=EventStatus.choices, default=EventStatus.ACCEPTED)
    reason = models.CharField(max_length=60, blank=True)
    error = models.TextField(blank=True)
    due_at = models.DateTimeField(help_text="When to begin: the scheduled time, or when it was accepted.")
    scheduled_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    cursor = models.BigIntegerField(default=0, help_text="How far the audience has been expanded.")
    recipient_count = models.IntegerField(db_default=0, help_text="Of the audience, those that have been come to.")
    plan = models.JSONField(null=True, blank=True, help_text="The audience that rules decided on, while more of it follows.")
    attempt_count = models.SmallIntegerField(default=0, help_text="Times taken up without coming to an end.")
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_id = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(default=now)
    processed_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Event"].as_manager()

    class Meta:
        constraints = [models.UniqueConstraint("tenant", "event_id", name="event_once")]
        indexes = [
            models.Index(
                "priority",
                "tenant",
                "due_at",
                condition=models.Q(status=EventStatus.ACCEPTED),
                name="event_due",
            ),
            models.Index("tenant", "id", name="event_by_tenant"),
            # Dead letters are rare among all others, and what people look for.
            models.Index("tenant", "id", condition=models.Q(status=EventStatus.FAILED), name="event_failed"),
            # For exporting and erasing a user. What came to deliveries is found by them, and what waits by `event_due`, so that
            # the way of most events touches none of these.
            models.Index(
                "tenant",
                "user_id",
                "id",
                condition=models.Q(status__in=[EventStatus.CANCELED, EventStatus.EXPIRED, EventStatus.FAILED])
                | CAME_TO_NOTHING,
                name="event_by_user",
            ),
            GinIndex(OpClass(AUDIENCE, name="jsonb_path_ops"), condition=models.Q(to__isnull=False), name="event_by_audience"),
            # Audiences of which more follows: there are never many.
            models.Index("tenant", condition=models.Q(plan__isnull=False), name="event_with_plan"),
        ]

    def __str__(self) -> str:
        return self.event_id


class Rule(TenantScopedModel):
    """Routes events that name no recipient or no channels: when type and condition match, to whom and how.

    `condition` is a CEL expression over `event` and `payload`; `recipients` is `{"path": CEL}`, `{"userIds": […]}`,
    `{"topic": key}` or empty (the event's own recipient).
    """

    name = models.CharField(max_length=200)
    event_type = models.CharField(max_length=200, help_text="A name or a pattern: order.*")
    condition = models.TextField(blank=True, help_text="CEL, e.g. payload.amount > 100 && has(payload.userId)")
    recipients = models.JSONField(default=dict, blank=True)
    channels = ArrayField(models.SmallIntegerField(choices=Channel.choices), default=list)
    priority = models.SmallIntegerField(
        choices=Priority.choices, null=True, blank=True, help_text="Of the deliveries it asks for; empty: the event's."
    )
    template = models.CharField(
        max_length=200, blank=True, help_text="The event type whose templates are used; empty: the event's own."
    )
    delivery = models.CharField(
        max_length=10, choices=DeliveryMode.choices, blank=True, help_text="Empty: as the recipient prefers."
    )
    delay_s = models.PositiveIntegerField(
        db_default=0,
        default=0,
        validators=[MaxValueValidator(LONGEST_DELAY_S)],
        verbose_name="delay",
        help_text="Seconds to wait; all is asked again then.",
    )
    position = models.IntegerField(default=0, help_text="Lower is asked first.")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantQuerySet["Rule"].as_manager()

    class Meta:
        ordering = ("position", "id")

    def __str__(self) -> str:
        return self.name
