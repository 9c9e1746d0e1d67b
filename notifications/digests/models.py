"""Digests: what is collected for a recipient and goes out as one message."""

from __future__ import annotations

from datetime import time

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import MD5
from django.utils.timezone import now

from tenants.models import Tenant, TenantQuerySet, TenantScopedModel
from tenants.vocabulary import Channel, Priority

SHORTEST_WINDOW_S = 10
LONGEST_WINDOW_S = 31 * 24 * 3600
MOST_ITEMS = 100
MOST_SCHEDULES = 50
"""Of a tenant, active or not: each is asked of what is collected."""
DIGEST_TYPE = "digest"
"""The event type of a digest's own message, if its schedule names no other."""


class Cadence(models.TextChoices):
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    WINDOW = "window"


class DigestSchedule(TenantScopedModel):
    """When a tenant's digests go out, for the event types and the channel it is for; the first that fits, in order, counts."""

    name = models.CharField(max_length=200)
    event_type = models.CharField(max_length=200, default="*", help_text="A name or a pattern: order.*")
    category = models.CharField(max_length=100, blank=True, help_text="Only event types of this category.")
    channel = models.SmallIntegerField(choices=Channel.choices, null=True, blank=True, help_text="Empty: every channel.")
    cadence = models.CharField(max_length=10, choices=Cadence.choices, default=Cadence.DAILY)
    at = models.TimeField(
        default=time(9), help_text="When it goes out, in the recipient's time zone; of an hourly one, the minute counts."
    )
    weekday = models.SmallIntegerField(
        default=0, validators=[MinValueValidator(0), MaxValueValidator(6)], help_text="Of a weekly one: 0 is Monday."
    )
    window_s = models.PositiveIntegerField(
        default=600,
        validators=[MinValueValidator(SHORTEST_WINDOW_S), MaxValueValidator(LONGEST_WINDOW_S)],
        help_text="Of a window: seconds from the first item.",
    )
    slides = models.BooleanField(default=False, help_text="Each further item lets the window begin anew.")
    longest_s = models.PositiveIntegerField(
        default=3600,
        validators=[MinValueValidator(SHORTEST_WINDOW_S), MaxValueValidator(LONGEST_WINDOW_S)],
        help_text="Of a sliding window: seconds after which it closes all the same.",
    )
    template = models.CharField(max_length=200, default=DIGEST_TYPE, help_text="The event type whose templates are used.")
    most_items = models.PositiveSmallIntegerField(
        default=20,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_ITEMS)],
        help_text="Items that the template gets; the others are counted.",
    )
    position = models.IntegerField(default=0, help_text="Lower is asked first.")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantQuerySet["DigestSchedule"].as_manager()

    class Meta:
        ordering = ("position", "id")

    def __str__(self) -> str:
        return self.name


class Digest(TenantScopedModel):
    """One recipient's digest on one channel. While it is open, items join it; there is one open at a time."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, db_constraint=False, db_index=False)
    schedule_id = models.UUIDField(null=True, blank=True, help_text="Empty: the usual one, daily.")
    user_id = models.CharField(max_length=255, blank=True, help_text="Empty for a recipient who is only an address.")
    address = models.TextField(blank=True, help_text="Of a recipient without a user id.")
    channel = models.SmallIntegerField(choices=Channel.choices)
    digest_key = models.CharField(max_length=200, blank=True)
    sandbox = models.BooleanField(default=False)
    priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    template = models.CharField(max_length=200, default=DIGEST_TYPE)
    most_items = models.PositiveSmallIntegerField(default=20)
    opened_at = models.DateTimeField(default=now)
    due_at = models.DateTimeField()
    closes_by = models.DateTimeField(help_text="The latest that a sliding window comes to.")
    closed_at = models.DateTimeField(null=True, blank=True, help_text="When it was taken up: nothing joins it any more.")
    finished_at = models.DateTimeField(null=True, blank=True, help_text="When its message was handed to the pipeline.")
    item_count = models.IntegerField(default=0, help_text="What was collected; while it is open, canceled ones count.")
    sent_count = models.IntegerField(default=0, help_text="Once finished: of those, what went into the message.")
    event_id = models.CharField(max_length=255, blank=True, help_text="Once finished: the event that carries the message.")
    error = models.TextField(blank=True)
    attempt_count = models.SmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_id = models.UUIDField(null=True, blank=True)

    objects = TenantQuerySet["Digest"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "tenant",
                "user_id",
                MD5("address"),
                "channel",
                "digest_key",
                "schedule_id",
                "sandbox",
                condition=models.Q(closed_at=None),
                nulls_distinct=False,
                name="digest_open_once",
            )
        ]
        indexes = [
            models.Index("priority", "tenant", "due_at", condition=models.Q(finished_at=None), name="digest_due"),
            models.Index("tenant", "id", name="digest_by_tenant"),
            models.Index("tenant", "user_id", "id", name="digest_by_user"),
            # Few are open at a time, among all that ever were.
            models.Index("tenant", "id", condition=models.Q(closed_at=None), name="digest_open"),
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} to {self.user_id or self.address}, {self.opened_at:%Y-%m-%d %H:%M}"
