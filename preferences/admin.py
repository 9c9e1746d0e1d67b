"""Recipients, preferences, topics and suppressions in the admin. No list counts its table, or asks a query per row."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

from django.contrib import admin
from django.db import transaction
from django.db.models import IntegerField, OuterRef, QuerySet, Subquery
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.timezone import now
from unfold.admin import TabularInline
from unfold.decorators import action, display

from preferences import event_types, selectors, services
from preferences.admin_import import CsvImport
from preferences.erasure import erase_history
from preferences.forms import ExplainForm, PreferenceForm, RecipientForm, SuppressionForm
from preferences.models import Device, Preference, Recipient, Subscription, Suppression, Topic
from preferences.quiet_admin import ShowsQuietHours, in_lines, of_rung, one_under_another
from preferences.quiet_hours import zone_of
from preferences.quiet_now import contact_of, quiet_of
from preferences.resolver import REQUIRED, TENANT_HOURS, USER_HOURS, Decision, Step, scope_of
from tenants.keyset import KeysetModelAdmin

_MOST_COUNTED = 1000


class _OfTenant(KeysetModelAdmin):
    """A row stays with its tenant and keeps its name."""

    list_filter: ClassVar[tuple[Any, ...]] = ("tenant",)
    list_select_related: ClassVar[tuple[str, ...]] = ("tenant",)
    name_fields: ClassVar[tuple[str, ...]] = ()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fixed = ("tenant", *self.name_fields) if obj else ()
        return (*fixed, *super().get_readonly_fields(request, obj))


class _CountOf(Subquery):
    """Counts a subquery's rows, only for the rows of the page."""

    template = "(SELECT count(*) FROM (%(subquery)s) AS counted)"
    output_field = IntegerField()


class DeviceInline(TabularInline):
    model = Device
    fields = ("token", "platform", "created_at", "retired_at")
    readonly_fields = fields
    ordering = ("id",)
    extra = 0
    max_num = 0
    hide_title = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Recipient)
class RecipientAdmin(CsvImport, ShowsQuietHours, _OfTenant):
    form = RecipientForm
    list_display = ("user_id", "tenant", "email", "phone", "device_count", "speaks", "hours", "updated_at")
    search_fields = ("user_id__startswith", "email__istartswith", "phone__startswith")
    search_help_text = "How a user id, an e-mail address or a phone number begins"
    name_fields = ("user_id",)
    fieldsets = (
        (None, {"fields": (("tenant", "user_id"),)}),
        ("Contact points", {"fields": (("email", "phone"), ("telegram_chat_id", "webhook_url"))}),
        ("Profile", {"fields": (("locale", "timezone"), "quiet_hours", "attributes", ("created_at", "updated_at"))}),
    )
    readonly_fields = ("created_at", "updated_at")
    inlines = (DeviceInline,)
    actions_detail = ("explain",)
    change_form_outer_after_template = "admin/preferences/recipient/preferences.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Recipient]:
        live = Device.objects.filter(recipient=OuterRef("pk"), retired_at=None).values("pk")
        return super().get_queryset(request).annotate(live_device_count=_CountOf(live))  # type: ignore[no-any-return]

    @display(description="Devices")
    def device_count(self, recipient: Any) -> str:
        """Push devices, and whether Telegram is linked."""
        count = str(recipient.live_device_count)
        return one_under_another((count, "Telegram")) if recipient.telegram_chat_id else count

    @display(description="Locale, time zone")
    def speaks(self, recipient: Recipient) -> str:
        return one_under_another(text for text in (recipient.locale, recipient.timezone) if text)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        recipient = self.get_object(request, object_id)
        found = selectors.preferences_of(recipient.tenant, recipient.user_id).order_by("id") if recipient else ()
        rungs = [(preference, of_rung(preference)) for preference in found]
        context = {"preferences": rungs, "add_preference": reverse("admin:preferences_preference_add")}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})  # type: ignore[no-any-return]

    def delete_model(self, request: HttpRequest, obj: Recipient) -> None:
        services.erase_recipient(tenant=obj.tenant, user_id=obj.user_id)
        # Batch by batch, so after the transaction in which the admin deletes.
        transaction.on_commit(functools.partial(erase_history, obj.tenant, obj.user_id))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # Erasing takes more than the rows that a bulk deletion would collect.
        return {name: entry for name, entry in super().get_actions(request).items() if name != "delete_selected"}

    @action(description="Explain a decision", url_path="explain", permissions=["view"], icon="help")
    def explain(self, request: HttpRequest, object_id: str) -> HttpResponse:
        recipient = self.get_object(request, object_id)
        if recipient is None:
            raise Http404
        asked = request.GET.get("event_type") is not None
        form = ExplainForm(request.GET if asked else None)
        context = {
            **self.admin_site.each_context(request),
            "title": f"What {recipient} gets, and why",
            "opts": self.opts,
            "original": recipient,
            "form": form,
            "event_types": event_types.names(recipient.tenant_id),
            "explained": _explained(recipient, form) if asked and form.is_valid() else None,
        }
        return render(request, "admin/preferences/recipient/explain.html", context)


@admin.register(Preference)
class PreferenceAdmin(ShowsQuietHours, _OfTenant):
    form = PreferenceForm
    list_display = ("who", "tenant", "where", "what", "enabled", "hours", "delivery", "source", "updated_at")
    list_display_links = ("who",)
    list_filter = ("tenant", "channel", "enabled", "delivery", "source")
    search_fields = ("user_id__startswith", "event_type__startswith", "category__startswith")
    search_help_text = "How a user id, an event type or a category begins"
    name_fields = ("user_id", "channel", "event_type", "category")
    readonly_fields = ("source",)
    fieldsets = (
        ("For whom and what", {"fields": (("tenant", "user_id"), ("event_type", "category"), "channel")}),
        ("Choice", {"fields": ("enabled", "delivery", "source")}),
        ("Quiet hours", {"fields": (("quiet_hours_start", "quiet_hours_end"), "quiet_hours_days", "no_quiet_hours")}),
    )

    def save_model(self, request: HttpRequest, obj: Preference, form: Any, change: bool) -> None:
        obj.source = ""
        super().save_model(request, obj, form, change)

    @display(description="User")
    def who(self, preference: Preference) -> str:
        return preference.user_id or "everybody (default)"

    @display(description="Channel")
    def where(self, preference: Preference) -> str:
        return preference.get_channel_display() if preference.channel else "any"

    @display(description="Event type")
    def what(self, preference: Preference) -> str:
        return preference.event_type or (f"category {preference.category}" if preference.category else "any")


@admin.register(Topic)
class TopicAdmin(_OfTenant):
    list_display = ("key", "name", "tenant", "subscribers", "created_at")
    search_fields = ("key__startswith", "name__startswith")
    name_fields = ("key",)
    fields = (("tenant", "key"), "name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Topic]:
        # Counting stops where the exact number no longer matters: a topic may have a million subscribers.
        some = Subscription.objects.filter(topic=OuterRef("pk")).values("pk")[: _MOST_COUNTED + 1]
        return super().get_queryset(request).annotate(counted=_CountOf(some))  # type: ignore[no-any-return]

    @display(description="Subscribers")
    def subscribers(self, topic: Any) -> str:
        return f"more than {_MOST_COUNTED:,}" if topic.counted > _MOST_COUNTED else str(topic.counted)


@admin.register(Suppression)
class SuppressionAdmin(_OfTenant):
    form = SuppressionForm
    list_display = ("address", "channel", "tenant", "reason_label", "created_at", "expires_at")
    list_filter = ("tenant", "channel", "reason")
    search_fields = ("address__startswith",)
    search_help_text = "How an address begins; e-mail addresses are in lower case"
    name_fields = ("channel", "address")
    fields = ("tenant", ("channel", "address"), "reason", "detail", "expires_at")

    @display(description="Reason", label={"bounce": "danger", "complaint": "danger", "unregistered": "warning"})
    def reason_label(self, suppression: Suppression) -> str:
        return suppression.reason


def _explained(recipient: Recipient, form: Form) -> dict[str, Any]:
    channel = form.cleaned_data["channel"]
    decision, steps = selectors.decide(recipient.tenant, recipient.user_id, form.cleaned_data["event_type"], channel)
    contact = contact_of(recipient.tenant, recipient.user_id)
    quiet = quiet_of(recipient.tenant, contact, decision=decision, now=now())
    return {
        "decision": decision,
        "why": decision.explanation["why"],
        "no_address": contact is None or not contact.address_for(channel),
        "quiet": quiet,
        "quiet_windows": in_lines(quiet.windows),
        "quiet_until": quiet.until and f"{quiet.until.astimezone(zone_of(quiet.timezone)):%a %-d %b %Y, %H:%M}",
        "quiet_says": _SAYS.get(quiet.level) or f"The deciding preference says so ({quiet.level}).",
        "steps": [_row(step, decision) for step in steps],
    }


_SAYS = {
    USER_HOURS: "They are the user's as a whole.",
    TENANT_HOURS: "They are the tenant's, for everybody who has none.",
    REQUIRED: "What is required is held back in none.",
    "": "Neither the user nor the tenant has any.",
}
_OWNERS = {
    "user": "The user's choice",
    "tenant": "The tenant's default",
    "event_type": "The event type",
    "default": "Otherwise",
}


def _row(step: Step, decision: Decision) -> dict[str, Any]:
    """One step as people read it; `says` is None where there is nothing."""
    owner = step.level.partition(".")[0]
    if step.level == "event_type.required":
        says, what = ("on" if step.decides else None), "required"
    elif step.level == "event_type.default":
        default = decision.question.default_enabled
        says, what = (None if default is None else "on" if default else "off"), "its own default"
    elif step.level == "default":
        says, what = "on", "if nothing else says anything"
    else:
        says = None if step.rung is None else "on" if step.rung.enabled else "off"
        what = scope_of(step.level, decision.question)
    return {"owner": _OWNERS[owner], "what": what, "says": says, "step": step}
