"""Recipients, their contact points, what they want, and what must not be sent to."""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models.functions import MD5, Upper
from django.utils.timezone import now

from preferences.quiet_hours import EVERY_DAY
from tenants.models import TenantQuerySet, TenantScopedModel, validate_timezone
from tenants.vocabulary import Channel


class Recipient(TenantScopedModel):
    """A person or system that a tenant notifies. `user_id` is the tenant's own name for it."""

    user_id = models.CharField(max_length=255)
    email = models.EmailField(max_length=254, blank=True)
    phone = models.CharField(max_length=20, blank=True, help_text="E.164, e.g. +4915112345678.")
    telegram_chat_id = models.CharField(max_length=64, blank=True)
    webhook_url = models.URLField(max_length=2000, blank=True)
    locale = models.CharField(max_length=35, blank=True, help_text="BCP 47, e.g. de-AT; empty: the tenant's.")
    timezone = models.CharField(max_length=64, blank=True, validators=[validate_timezone], help_text="Empty: the tenant's.")
    quiet_hours = models.JSONField(
        null=True,
        blank=True,
        help_text="When nothing is sent: start and end of each window, and the days. Empty: the tenant's.",
    )
    attributes = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantQuerySet["Recipient"].as_manager()

    class Meta:
        constraints = [models.UniqueConstraint("tenant", "user_id", name="recipient_user_id")]
        # The admin searches by how these begin.
        indexes = [
            models.Index(fields=["user_id"], opclasses=["varchar_pattern_ops"], name="recipient_user_id_prefix"),
            models.Index(OpClass(Upper("email"), name="text_pattern_ops"), name="recipient_email_prefix"),
            models.Index(fields=["phone"], opclasses=["varchar_pattern_ops"], name="recipient_phone_prefix"),
            # For roles and groups. Most recipients are made known without attributes, and are not in it.
            GinIndex(
                OpClass("attributes", name="jsonb_path_ops"), condition=~models.Q(attributes={}), name="recipient_attributes"
            ),
            models.Index(fields=["telegram_chat_id"], condition=~models.Q(telegram_chat_id=""), name="recipient_by_chat"),
        ]

    def __str__(self) -> str:
        return self.user_id


class Device(TenantScopedModel):
    """A push token of a recipient's device. Retired when the provider says it is no longer valid."""

    recipient = models.ForeignKey(Recipient, on_delete=models.CASCADE, related_name="devices")
    token = models.CharField(max_length=4096)
    platform = models.CharField(max_length=20, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    retired_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Device"].as_manager()

    class Meta:
        # Hashed: a token may be longer than an index entry.
        constraints = [models.UniqueConstraint("recipient", MD5("token"), name="device_token")]
        indexes = [models.Index("tenant", MD5("token"), name="device_by_token")]

    def __str__(self) -> str:
        return f"{self.platform or 'device'} {self.token[:12]}…"


class TelegramLink(TenantScopedModel):
    """A link that waits to be opened in Telegram. Only the SHA-256 of its token is kept, and it goes when it is used."""

    recipient = models.ForeignKey(Recipient, on_delete=models.CASCADE, related_name="telegram_links")
    bot = models.CharField(max_length=36, help_text="Whose link it is: the provider account's id, or `installation`.")
    token_hash = models.BinaryField(max_length=32, unique=True, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)
    expires_at = models.DateTimeField()

    objects = TenantQuerySet["TelegramLink"].as_manager()

    def __str__(self) -> str:
        return f"a Telegram link for {self.recipient}"


class DeliveryMode(models.TextChoices):
    IMMEDIATE = "immediate"
    DIGEST = "digest"


class PreferenceSource(models.TextChoices):
    """Who put a preference where it is."""

    CENTRE = "centre", "preference centre"
    UNSUBSCRIBE = "unsubscribe", "unsubscribe link"


class Preference(TenantScopedModel):
    """One rung of the ladder for one user, or (with an empty `user_id`) of the tenant's default ladder.

    `channel` null is any channel. At most one of `event_type` and `category` is set; both empty is any event type.
    """

    user_id = models.CharField(max_length=255, blank=True)
    channel = models.SmallIntegerField(choices=Channel.choices, null=True, blank=True)
    event_type = models.CharField(max_length=200, blank=True)
    category = models.CharField(max_length=100, blank=True)
    enabled = models.BooleanField(default=True)
    quiet_hours_start = models.TimeField(null=True, blank=True)
    quiet_hours_end = models.TimeField(null=True, blank=True)
    quiet_hours_days = models.SmallIntegerField(
        null=True, blank=True, help_text="On which days they begin, as bits from Monday; empty is every day, 0 is never."
    )
    delivery = models.CharField(max_length=10, choices=DeliveryMode.choices, default=DeliveryMode.IMMEDIATE)
    source = models.CharField(
        max_length=20,
        choices=PreferenceSource.choices,
        blank=True,
        db_default="",
        editable=False,
        help_text="Where the user chose so; empty: set by the API or by staff.",
    )
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantQuerySet["Preference"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "user_id", "channel", "event_type", "category"],
                name="preference_rung",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=models.Q(event_type="") | models.Q(category=""), name="preference_type_or_category"
            ),
            models.CheckConstraint(
                condition=models.Q(quiet_hours_start=None, quiet_hours_end=None)
                | models.Q(quiet_hours_start__isnull=False, quiet_hours_end__isnull=False),
                name="preference_quiet_hours_whole",
            ),
            models.CheckConstraint(
                condition=models.Q(quiet_hours_days=None)
                | models.Q(quiet_hours_days=0)
                | models.Q(quiet_hours_days__range=(1, EVERY_DAY), quiet_hours_start__isnull=False),
                name="preference_quiet_hours_days",
            ),
        ]

    def __str__(self) -> str:
        who = self.user_id or "everyone"
        what = self.event_type or (f"category {self.category}" if self.category else "any type")
        where = self.get_channel_display() if self.channel else "any channel"
        return f"{who}: {what} by {where} {'on' if self.enabled else 'off'}"


class Topic(TenantScopedModel):
    """A named list of recipients that an event may be sent to."""

    key = models.CharField(max_length=200)
    name = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    objects = TenantQuerySet["Topic"].as_manager()

    class Meta:
        constraints = [models.UniqueConstraint("tenant", "key", name="topic_key")]

    def __str__(self) -> str:
        return self.name or self.key


class Subscription(models.Model):
    """A recipient on a topic. The id is the cursor of a broadcast: a page of subscribers is `id > cursor`."""

    id = models.BigAutoField(primary_key=True)
    topic = models.ForeignKey(Topic, on_delete=models.CASCADE, related_name="subscriptions")
    recipient = models.ForeignKey(Recipient, on_delete=models.CASCADE, related_name="subscriptions")
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint("topic", "recipient", name="subscription_once")]
        indexes = [models.Index(fields=["topic", "id"], name="subscription_page")]

    def __str__(self) -> str:
        return f"{self.recipient} on {self.topic}"


class Suppression(TenantScopedModel):
    """An address of a channel that must not be sent to: it bounced, complained, or was entered by hand."""

    class Reason(models.TextChoices):
        BOUNCE = "bounce"
        COMPLAINT = "complaint"
        UNREGISTERED = "unregistered"
        UNSUBSCRIBED = "unsubscribed"
        MANUAL = "manual"

    channel = models.SmallIntegerField(choices=Channel.choices)
    address = models.CharField(max_length=4096, help_text="In its normal form: e-mail addresses in lower case.")
    reason = models.CharField(max_length=20, choices=Reason.choices, default=Reason.MANUAL)
    detail = models.TextField(blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Suppression"].as_manager()

    class Meta:
        constraints = [models.UniqueConstraint("tenant", "channel", MD5("address"), name="suppression_address")]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} {self.address} ({self.reason})"
