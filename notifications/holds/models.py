"""What waits for its time: a delivery that may not be sent yet, or not by itself."""

from __future__ import annotations

from django.db import models
from django.utils.timezone import now

from tenants.models import Tenant
from tenants.vocabulary import Channel, Priority


class Hold(models.Model):
    """Why a delivery of one event to one recipient waits, and until when. It is taken away when the delivery goes on.

    When it is due, everything is asked again as of a new delivery. In a digest it has no time of its own. As on events and
    deliveries, nothing is constrained in the database.
    """

    delivery_id = models.UUIDField(primary_key=True, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, db_constraint=False, db_index=False)
    event = models.UUIDField(help_text="The id of the event's row.")
    channel = models.SmallIntegerField(choices=Channel.choices)
    priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    due_at = models.DateTimeField(null=True, blank=True, help_text="Empty in a digest.")
    digest_id = models.UUIDField(null=True, blank=True)
    step = models.SmallIntegerField(null=True, blank=True, help_text="Of an escalation, from 0.")
    target = models.JSONField(help_text="The recipient as the event has it, and what is asked for on its behalf.")
    attempt_count = models.SmallIntegerField(default=0, help_text="Times taken up without coming to an end.")
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_id = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(default=now)

    class Meta:
        indexes = [
            models.Index("priority", "tenant", "due_at", condition=models.Q(digest_id=None), name="hold_due"),
            models.Index("digest_id", "delivery_id", condition=models.Q(digest_id__isnull=False), name="hold_in_digest"),
            models.Index("event", condition=models.Q(step__isnull=False), name="hold_step"),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id} until {self.due_at or 'its digest is closed'}"
