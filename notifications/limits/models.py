"""How much is too much: limits on messages in a sliding window of time."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.timezone import now

from tenants.models import TenantQuerySet, TenantScopedModel
from tenants.vocabulary import Channel

MOST_MESSAGES = 100_000
"""In one window. Each is remembered by itself (about 100 bytes in Redis), so that the window slides exactly."""
LONGEST_WINDOW_S = 31 * 24 * 3600
MOST_LIMITS = 50
"""Of a tenant, active or not: each is asked of every message."""


class Excess(models.TextChoices):
    """What becomes of a message beyond the limit."""

    SUPPRESS = "suppress"
    DEFER = "defer"
    DIGEST = "digest"


class Per(models.TextChoices):
    """What has a count of its own."""

    RECIPIENT = "recipient"
    CHANNEL = "channel"
    EVENT_TYPE = "eventType"


class Limit(TenantScopedModel):
    """At most `count` messages in any `window_s` seconds, of those that it is for, counted for each of `per` by itself.

    Per recipient, channel and event type: "five of a kind in an hour". Per channel: what a tenant may send. Per recipient, for
    the category marketing on any channel: "three marketing messages a day".
    """

    name = models.CharField(max_length=200)
    event_type = models.CharField(max_length=200, default="*", help_text="A name or a pattern: order.*")
    category = models.CharField(max_length=100, blank=True, help_text="Only event types of this category.")
    channel = models.SmallIntegerField(choices=Channel.choices, null=True, blank=True, help_text="Empty: every channel.")
    per = ArrayField(
        models.CharField(max_length=10, choices=Per.choices),
        blank=True,
        default=list,
        help_text="What has a count of its own: recipient, channel, eventType. Empty: one count for the tenant.",
    )
    count = models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(MOST_MESSAGES)])
    window_s = models.PositiveIntegerField(
        verbose_name="window", validators=[MinValueValidator(1), MaxValueValidator(LONGEST_WINDOW_S)], help_text="Seconds."
    )
    excess = models.CharField(max_length=10, choices=Excess.choices, default=Excess.SUPPRESS)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantQuerySet["Limit"].as_manager()

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.name
