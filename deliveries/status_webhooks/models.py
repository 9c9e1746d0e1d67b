"""Where status events go, and the outbox from which they are sent."""

from __future__ import annotations

import base64
import secrets
from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.fields.json import KeyTextTransform
from django.utils.timezone import now
from uuid_utils.compat import uuid7

from deliveries.providers.signing import PREFIX
from deliveries.states import HANDED_OVER, UNHAPPY, Status
from tenants.fields import EncryptedTextField
from tenants.models import Tenant, TenantQuerySet, TenantScopedModel
from tenants.vocabulary import Coded

ANNOUNCED = tuple(sorted(HANDED_OVER | UNHAPPY | {Status.DIGESTED}))
"""States that can be heard of: those in which a delivery comes to rest, for a while or for good."""


def new_signing_secret() -> str:
    """256 random bits in the form that receivers' libraries take; Standard Webhooks asks for 192 to 512."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode("ascii")


def every_announced_status() -> list[int]:
    return [status.value for status in ANNOUNCED]


class DisabledReason(models.TextChoices):
    NONE = "", "–"
    GONE = "gone", "it answered 410 Gone"
    FAILING = "failing", "it failed for days without one success"


class StatusEndpoint(TenantScopedModel):
    """A server of the tenant's that wants to hear of its deliveries."""

    url = models.CharField(max_length=2000, verbose_name="URL")
    description = models.CharField(max_length=200, blank=True)
    secret = EncryptedTextField(default=new_signing_secret, editable=False)
    old_secret = EncryptedTextField(default="", blank=True, editable=False)
    old_secret_until = models.DateTimeField(null=True, editable=False, help_text="Until then the secret before signs as well.")
    statuses = ArrayField(
        models.SmallIntegerField(choices=[(status.value, status.label) for status in ANNOUNCED]),
        default=every_announced_status,
        help_text="The states it hears of.",
    )
    is_active = models.BooleanField(default=True)
    failing_since = models.DateTimeField(null=True, editable=False, help_text="No success since; empty while it answers well.")
    disabled_at = models.DateTimeField(null=True, editable=False, help_text="When the service gave it up.")
    disabled_reason = models.CharField(max_length=20, choices=DisabledReason.choices, blank=True, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantQuerySet["StatusEndpoint"].as_manager()

    class Meta:
        indexes = [
            models.Index(
                "old_secret_until", condition=models.Q(old_secret_until__isnull=False), name="status_endpoint_rotating"
            )
        ]

    def __str__(self) -> str:
        return self.url

    def old_secret_at(self, now: datetime) -> str:
        """The secret before, while it still signs."""
        return self.old_secret if self.old_secret_until and self.old_secret_until > now else ""


class MessageState(Coded):
    PENDING = 0, "pending"
    SENT = 1, "sent"
    FAILED = 2, "failed"


class StatusMessage(models.Model):
    """One status event for one endpoint; written by the statement that changes the delivery (`outbox`).

    Its id is the `webhook-id`, the same on every attempt. Endpoint and tenant have no constraint in the database: the check
    would lock their rows for every change of a delivery. What a deleted endpoint leaves behind is never sent, and pruned.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, db_constraint=False, db_index=False)
    endpoint = models.ForeignKey(
        StatusEndpoint, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="messages"
    )
    delivery_id = models.UUIDField()
    status = models.SmallIntegerField(choices=Status.choices, help_text="The state that the delivery entered.")
    payload = models.JSONField(help_text="What is posted as `data`, without the event's metadata.")
    state = models.SmallIntegerField(choices=MessageState.choices, default=MessageState.PENDING)
    attempt_count = models.SmallIntegerField(default=0)
    created_at = models.DateTimeField(default=now, help_text="When the delivery changed.")
    next_attempt_at = models.DateTimeField(default=now)
    lease_until = models.DateTimeField(null=True, blank=True)
    done_at = models.DateTimeField(null=True, blank=True)
    response_code = models.CharField(max_length=60, blank=True, help_text="Of the last attempt: HTTP status, or what failed.")
    response_excerpt = models.TextField(blank=True, help_text="The last answer's beginning, or the error.")

    objects = TenantQuerySet["StatusMessage"].as_manager()

    class Meta:
        indexes = [
            models.Index(
                "endpoint", "next_attempt_at", condition=models.Q(state=MessageState.PENDING), name="status_message_due"
            ),
            # Those in somebody's hands: never more than a few for each endpoint.
            models.Index("endpoint", condition=models.Q(lease_until__isnull=False), name="status_message_leased"),
            models.Index("endpoint", "id", name="status_message_by_endpoint"),
            models.Index("endpoint", "id", condition=models.Q(state=MessageState.FAILED), name="status_message_failed"),
            # For erasing a user.
            models.Index("tenant", KeyTextTransform("userId", "payload"), name="status_message_by_user"),
        ]

    def __str__(self) -> str:
        return f"{self.type} of {self.delivery_id}"

    @property
    def type(self) -> str:
        """The event's name: `delivery.sent`."""
        return event_name(self.status)


def event_name(status: int) -> str:
    return f"delivery.{Status(status).label}"
