"""Deliveries and their attempts: the audit of what was sent, what was not, and why."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import OpClass
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import MD5, Left
from django.utils.timezone import now
from uuid_utils.compat import uuid7

from deliveries.retry import LONGEST_DELAY_S, MOST_RETRIES
from deliveries.states import OPEN, UNHAPPY, Status
from deliveries.status_webhooks.models import StatusEndpoint, StatusMessage
from deliveries.telegram.models import TelegramUpdate
from tenants.models import Tenant, TenantQuerySet
from tenants.vocabulary import Channel, Coded, Priority

__all__ = ["Attempt", "AttemptOutcome", "Delivery", "RetrySchedule", "StatusEndpoint", "StatusMessage", "TelegramUpdate"]

ADDRESS_INDEXED = 64
"""How much of an address is indexed: push tokens are longer than an index entry may be."""

INBOX_STATES = [Status.SENDING.value, Status.SENT.value, Status.DELIVERED.value]
"""States of an in-app delivery that is in its inbox, or may be at any moment."""


class Delivery(models.Model):
    """One message of one event to one recipient on one channel; the row exists before anything is sent.

    It names its event by value: this room knows nothing of the rooms above. `tenant` has no constraint in the database:
    the check would lock the tenant's row for every insert, and tenants are only deleted by an admin, with what they own.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, db_constraint=False, db_index=False)
    event_id = models.CharField(max_length=255)
    event_type = models.CharField(max_length=200)
    user_id = models.CharField(max_length=255, blank=True, help_text="Empty for an inline recipient without one.")
    channel = models.SmallIntegerField(choices=Channel.choices)
    priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    status = models.SmallIntegerField(choices=Status.choices, default=Status.PENDING)
    reason = models.CharField(max_length=60, blank=True, help_text="Why it is in this state, as a code.")
    explanation = models.JSONField(null=True, blank=True, help_text="The rule that decided, its level and its value.")
    sandbox = models.BooleanField(default=False)

    address = models.TextField(blank=True, help_text="Where it goes; push tokens are separated by spaces.")
    locale = models.CharField(max_length=35, blank=True)
    template_version_id = models.UUIDField(null=True, blank=True)
    subject = models.TextField(blank=True)
    body = models.TextField(blank=True)
    html = models.TextField(blank=True)
    data = models.JSONField(null=True, blank=True, help_text="The event's data, for channels that pass it on.")

    unsubscribe_token = models.TextField(
        blank=True,
        db_default="",
        editable=False,
        help_text="E-mail that may be unsubscribed from: what the link in its header holds.",
    )

    attempt_count = models.SmallIntegerField(default=0)
    retry_count = models.SmallIntegerField(db_default=0, help_text="Retries used up since it was new, or last replayed.")
    interruption_count = models.SmallIntegerField(db_default=0, help_text="Times that a worker died with it in hand.")
    next_attempt_at = models.DateTimeField(default=now)
    is_held = models.BooleanField(
        db_default=False, help_text="Whether it waits for its time: nothing is rendered yet, and all is asked again then."
    )
    lease_until = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    provider_account_id = models.UUIDField(null=True, blank=True, help_text="Empty: the installation's own account.")
    provider = models.CharField(max_length=40, blank=True)
    provider_message_id = models.CharField(max_length=255, null=True, blank=True)
    error = models.TextField(blank=True)

    accepted_at = models.DateTimeField(
        help_text="Since when it could go out: the event was accepted, or due, or what held it back was over."
    )
    created_at = models.DateTimeField(default=now)
    sent_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Delivery"].as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            # Invariant: one event, one recipient, one channel, one delivery. A recipient without a user id is its address.
            models.UniqueConstraint(
                "tenant",
                "event_id",
                "channel",
                "user_id",
                # Hashed: push tokens are longer than an index entry may be.
                models.Case(
                    models.When(user_id="", then=MD5("address")), default=models.Value(""), output_field=models.TextField()
                ),
                name="delivery_once",
            ),
            models.CheckConstraint(
                condition=models.Q(is_held=False) | models.Q(status=Status.PENDING), name="delivery_held_pending"
            ),
        ]
        indexes = [
            models.Index("tenant", "id", name="delivery_by_tenant"),
            models.Index("tenant", "user_id", "id", name="delivery_by_user"),
            models.Index(
                "channel",
                "priority",
                "tenant",
                "next_attempt_at",
                condition=models.Q(status__in=[status.value for status in sorted(OPEN)], is_held=False),
                name="delivery_due",
            ),
            models.Index(
                "provider_message_id",
                condition=models.Q(provider_message_id__isnull=False),
                name="delivery_provider_message",
            ),
            # Unread items of one inbox: counts and lists of it touch nothing else.
            models.Index(
                "tenant",
                "user_id",
                "id",
                condition=models.Q(channel=Channel.IN_APP, status__in=INBOX_STATES, read_at=None, archived_at=None),
                name="delivery_unread",
            ),
            # One inbox in the order its items were published; those being published stand at the end, without a time.
            models.Index(
                "tenant",
                "user_id",
                "sent_at",
                "id",
                condition=models.Q(channel=Channel.IN_APP, status__in=INBOX_STATES),
                name="delivery_inbox",
            ),
            # Staff look an address up. In-app deliveries have none, so the busiest channel pays nothing for it.
            models.Index(
                OpClass(Left("address", ADDRESS_INDEXED), name="text_pattern_ops"),
                condition=~models.Q(address=""),
                name="delivery_by_address",
            ),
            # What went wrong is rare among what went well, and is what people look for.
            models.Index(
                "tenant",
                "status",
                "id",
                condition=models.Q(status__in=[status.value for status in sorted(UNHAPPY)]),
                name="delivery_unhappy",
            ),
            # What waits for its time, listed and counted by reason.
            models.Index("tenant", "id", include=["reason"], condition=models.Q(is_held=True), name="delivery_held"),
            # What a digest's message was made of.
            models.Index(
                "tenant",
                KeyTextTransform("digestEventId", "explanation"),
                "id",
                condition=models.Q(status=Status.DIGESTED),
                name="delivery_digested",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} to {self.user_id or self.address} for {self.event_id}"

    @property
    def is_erased(self) -> bool:
        """Whether its recipient was erased: it has neither address nor words any more (`deliveries.erasure`)."""
        return "erasedAt" in (self.explanation or {})


class AttemptOutcome(models.IntegerChoices):
    SENT = 0, "sent"
    PERMANENT = 1, "permanent"
    TRANSIENT = 2, "transient"
    THROTTLED = 3, "throttled"
    AMBIGUOUS = 4, "ambiguous"


class Attempt(models.Model):
    """One try to hand a delivery to a provider. Written once, never changed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, db_constraint=False, related_name="attempts")
    number = models.SmallIntegerField()
    outcome = models.SmallIntegerField(choices=AttemptOutcome.choices)
    provider = models.CharField(max_length=40)
    provider_account_id = models.UUIDField(null=True, blank=True)
    sandbox = models.BooleanField(default=False)
    code = models.CharField(max_length=60, blank=True, help_text="The provider's code, or ours.")
    response = models.TextField(blank=True, help_text="An excerpt of the provider's answer.")
    detail = models.JSONField(null=True, blank=True, help_text="Per push token: its outcome.")
    started_at = models.DateTimeField()
    duration_ms = models.IntegerField()

    class Meta:
        ordering = ("number", "id")
        indexes = [
            # What may have gone out twice: few among many, and looked for after a worker died.
            models.Index(fields=["delivery"], condition=models.Q(outcome=AttemptOutcome.AMBIGUOUS), name="attempt_ambiguous")
        ]

    def __str__(self) -> str:
        return f"attempt {self.number}: {self.get_outcome_display()}"


class ReceiptKind(Coded):
    DELIVERED = 0, "delivered"
    BOUNCED = 1, "bounced"
    COMPLAINED = 2, "complained"
    DEFERRED = 3, "deferred"


class Receipt(models.Model):
    """What a provider reported of a delivery after it took the message. Repeated, it is still one row; never changed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    delivery = models.ForeignKey(
        Delivery, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="receipts"
    )
    kind = models.SmallIntegerField(choices=ReceiptKind.choices)
    code = models.CharField(max_length=60, blank=True, help_text="The provider's code.")
    response = models.TextField(blank=True, help_text="An excerpt of what the provider wrote.")
    at = models.DateTimeField(help_text="When it happened, by the provider's clock if it says.")
    received_at = models.DateTimeField(default=now)

    class Meta:
        ordering = ("at", "id")
        constraints = [models.UniqueConstraint("delivery", "kind", "code", name="receipt_once")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.code}".strip()


class RetrySchedule(models.Model):
    """How often and when a failed hand-over is tried again. The most specific one counts: of the tenant and the channel, of
    the tenant, of the channel, of the installation; without any, `retry.RetryPolicy`'s own.
    """

    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.CASCADE, help_text="Empty: for every tenant.")
    channel = models.SmallIntegerField(choices=Channel.choices, null=True, blank=True, help_text="Empty: for every channel.")
    delays_s = ArrayField(
        models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(LONGEST_DELAY_S)]),
        blank=True,
        size=MOST_RETRIES,
        verbose_name="waits",
        help_text="Seconds before each retry, separated by commas: 1,2,4,8,16. Empty: one attempt, no retry.",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "tenant",
                "channel",
                name="retry_schedule_once",
                nulls_distinct=False,
                violation_error_message="There is a schedule for this tenant and channel.",
            )
        ]

    def __str__(self) -> str:
        channel = self.get_channel_display() if self.channel is not None else "every channel"
        return f"{self.tenant or 'every tenant'}, {channel}"
