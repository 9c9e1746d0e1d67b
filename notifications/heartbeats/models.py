"""What is expected to keep coming, and what of it was last seen when."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.timezone import now

from tenants.models import TenantQuerySet, TenantScopedModel

SHORTEST_S: Final = 60
LONGEST_S: Final = 366 * 24 * 3600
MISSED: Final = "heartbeat.missed"
RECOVERED: Final = "heartbeat.recovered"


class Heartbeat(TenantScopedModel):
    """Events of a type, or of a pattern of types, are expected at least every so often, for each key by itself.

    `key` is a CEL expression over `event` and `payload` that says of which thing an event speaks (`payload.machine`); without
    one, all of them together are one thing.
    """

    name = models.CharField(max_length=200)
    event_type = models.CharField(max_length=200, help_text="A name or a pattern: backup.*")
    key = models.TextField(blank=True, help_text="CEL, e.g. payload.machine. Empty: all these events are one thing.")
    every_s = models.PositiveIntegerField(
        "every", validators=[MinValueValidator(SHORTEST_S), MaxValueValidator(LONGEST_S)], help_text="Seconds, at least 60."
    )
    grace_s = models.PositiveIntegerField(
        "grace", default=0, validators=[MaxValueValidator(LONGEST_S)], help_text="Seconds more before it counts as missing."
    )
    missed_event_type = models.CharField(max_length=200, default=MISSED)
    recovered_event_type = models.CharField(max_length=200, default=RECOVERED)
    is_active = models.BooleanField(default=True)
    is_watching = models.BooleanField(
        default=False,
        editable=False,
        help_text="Whether deadlines run. Taken away by each change; the sweep gives it back, with new deadlines.",
    )
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantQuerySet["Heartbeat"].as_manager()

    class Meta:
        constraints = [models.UniqueConstraint("tenant", "name", name="heartbeat_name")]
        indexes = [models.Index("id", condition=models.Q(is_watching=False), name="heartbeat_not_watching")]

    def __str__(self) -> str:
        return self.name

    @property
    def patience(self) -> timedelta:
        return timedelta(seconds=self.every_s + self.grace_s)


class HeartbeatKey(TenantScopedModel):
    """One thing that a heartbeat expects to hear of."""

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, db_index=False)
    heartbeat = models.ForeignKey(Heartbeat, on_delete=models.CASCADE, db_index=False, related_name="keys")
    key = models.CharField(max_length=255, blank=True)
    last_seen_at = models.DateTimeField(null=True, help_text="When the latest event was accepted. None: declared only.")
    due_at = models.DateTimeField(help_text="When it is missing, if nothing comes before.")
    check_at = models.DateTimeField(null=True, help_text="When the sweep looks at it: at due_at, or later if it had to wait.")
    is_missing = models.BooleanField(default=False)
    missing_since = models.DateTimeField(null=True)
    silent_since = models.DateTimeField(null=True, help_text="While missing: when it was seen for the last time before.")
    miss_count = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=now)

    objects = TenantQuerySet["HeartbeatKey"].as_manager()

    class Meta:
        constraints = [models.UniqueConstraint("heartbeat", "key", name="heartbeat_key_once")]
        indexes = [
            models.Index("check_at", condition=models.Q(is_missing=False), name="heartbeat_key_due"),
            models.Index("due_at", condition=models.Q(is_missing=True), name="heartbeat_key_missing"),
        ]

    def __str__(self) -> str:
        return self.key or "all"
