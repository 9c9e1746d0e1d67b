"""Templates, their immutable versions, and the layouts that wrap them."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.timezone import now

from tenants.models import TenantQuerySet, TenantScopedModel
from tenants.vocabulary import Channel


class Layout(TenantScopedModel):
    """What surrounds the bodies of a channel's messages: Liquid with `{{ content }}` where the body goes."""

    name = models.CharField(max_length=200)
    html = models.TextField(blank=True)
    text = models.TextField(blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantQuerySet["Layout"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "tenant", "name", name="layout_name", violation_error_message="There is a layout of this name already."
            )
        ]

    def __str__(self) -> str:
        return self.name


class Template(TenantScopedModel):
    """What a channel says for an event type (`*`: any) in a locale. The words are in its versions; one is published."""

    channel = models.SmallIntegerField(choices=Channel.choices)
    event_type = models.CharField(max_length=200)
    locale = models.CharField(max_length=35, default="en")
    name = models.CharField(max_length=200, blank=True)
    # RESTRICT, unlike PROTECT, lets both go together with their tenant.
    layout = models.ForeignKey(Layout, on_delete=models.RESTRICT, null=True, blank=True)
    published_version = models.ForeignKey(
        "TemplateVersion", on_delete=models.RESTRICT, null=True, blank=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantQuerySet["Template"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "tenant",
                "channel",
                "event_type",
                "locale",
                name="template_place",
                violation_error_message="There is a template for this channel, event type and locale already.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} / {self.event_type} / {self.locale}"


class TemplateVersion(TenantScopedModel):
    """One wording of a template. Never changed once written, which a trigger holds too: a delivery remembers which version
    it used.

    `variables` is a list of `{"name", "required", "default"?, "example"?}`.
    """

    template = models.ForeignKey(Template, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    subject = models.TextField(blank=True)
    body = models.TextField(blank=True)
    html = models.TextField(blank=True)
    variables = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    created_by = models.CharField(max_length=200, blank=True)

    objects = TenantQuerySet["TemplateVersion"].as_manager()

    class Meta:
        constraints = [models.UniqueConstraint("template", "number", name="template_version_number")]

    def __str__(self) -> str:
        return f"v{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("a template version is never changed; write a new one")
        super().save(*args, **kwargs)
