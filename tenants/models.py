"""Tenants, their API keys and their provider accounts."""

from __future__ import annotations

import functools
import secrets
import zoneinfo
from typing import Self, TypeVar

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.timezone import now
from uuid_utils.compat import uuid7

from tenants.fields import EncryptedJSONField, EncryptedTextField
from tenants.throttling.limits import validate_rate_limit
from tenants.vocabulary import Channel, Scope

ModelT_co = TypeVar("ModelT_co", bound=models.Model, covariant=True)


def new_token_secret() -> str:
    return secrets.token_urlsafe(48)


def default_channels() -> list[int]:
    return [Channel.IN_APP.value]


@functools.cache
def known_timezones() -> frozenset[str]:
    """The IANA names, read once: each reading walks the whole time zone database (0.1 s)."""
    return frozenset(zoneinfo.available_timezones())


def validate_timezone(name: str) -> None:
    if name not in known_timezones():
        raise ValidationError(f"{name!r} is not an IANA time zone", code="timezone")


class Tenant(models.Model):
    """One customer of the installation. Nothing below it is ever visible to another."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=200)
    is_active = models.BooleanField(default=True)
    sandbox = models.BooleanField(default=False, help_text="Record every message, send none.")
    default_locale = models.CharField(max_length=35, default="en")
    timezone = models.CharField(max_length=64, default="UTC", validators=[validate_timezone])
    quiet_hours = models.JSONField(
        null=True, blank=True, help_text="For recipients who have none: start and end of each window, and the days."
    )
    default_channels = ArrayField(
        models.SmallIntegerField(choices=Channel.choices),
        default=default_channels,
        blank=True,
        help_text="For events that name no channels, match no rule and have no event type of their own.",
    )
    user_token_secret = EncryptedTextField(default=new_token_secret, editable=False)
    webhook_secret = EncryptedTextField(default=new_token_secret, editable=False)
    link_secret = EncryptedTextField(default=new_token_secret, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.slug


class TenantQuerySet(models.QuerySet[ModelT_co]):
    """Where every query of tenant data starts."""

    def for_tenant(self, tenant: Tenant | int) -> Self:
        return self.filter(tenant_id=tenant.pk if isinstance(tenant, Tenant) else tenant)


class TenantScopedModel(models.Model):
    """A row that belongs to one tenant, with a time-ordered id (UUIDv7, RFC 9562)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)

    class Meta:
        abstract = True


class ApiKey(TenantScopedModel):
    """A server's credential. Only the SHA-256 of the key is kept: 256 random bits need no slow hash."""

    name = models.CharField(max_length=200, blank=True)
    prefix = models.CharField(max_length=16, editable=False, help_text="How the key begins, to tell keys apart.")
    key_hash = models.BinaryField(max_length=32, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=32, choices=[(scope.value, scope.value) for scope in Scope]))
    sandbox = models.BooleanField(default=False, help_text="What this key posts is recorded and never sent.")
    rate_limit = models.CharField(
        max_length=20,
        blank=True,
        validators=[validate_rate_limit],
        help_text="Requests, such as 600/minute or 50/second, or off. Empty: the installation's limit.",
    )
    created_at = models.DateTimeField(default=now, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TenantQuerySet["ApiKey"].as_manager()

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.prefix}… {self.name}".strip()


class ProviderAccount(TenantScopedModel):
    """A tenant's own account with a provider; goes before the installation's account for the channel."""

    channel = models.SmallIntegerField(choices=Channel.choices)
    kind = models.CharField(max_length=40, help_text="Which provider, as in docs/adding-a-provider.md.")
    name = models.CharField(max_length=200)
    credentials = EncryptedJSONField(default=dict, blank=True)
    priority = models.SmallIntegerField(default=0, help_text="Lower goes first.")
    weight = models.PositiveSmallIntegerField(default=1, help_text="Share among accounts of the same priority.")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantQuerySet["ProviderAccount"].as_manager()

    class Meta:
        constraints = [models.UniqueConstraint("tenant", "channel", "name", name="provider_account_name")]

    def __str__(self) -> str:
        return f"{self.get_channel_display()}: {self.name} ({self.kind})"
