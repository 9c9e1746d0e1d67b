"""Events, their types and the rules that route them, in the admin. Events are read, never edited."""

from __future__ import annotations

import functools
import operator
from collections import defaultdict
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.timezone import now as clock
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from deliveries import bells
from deliveries.admin.presentation import STATUS_COLOURS, labelled, link, moment, pretty, sandbox_label
from deliveries.explanations import sentence
from deliveries.selectors import events_of_user, every_tenant
from notifications.digests import admin as digests_admin
from notifications.dry_run import try_rule
from notifications.forms import EventTypeForm, RuleForm, names_of
from notifications.heartbeats import admin as heartbeats
from notifications.limits import admin as limits_admin
from notifications.models import Event, EventStatus, EventType, Rule
from notifications.rule_trial_forms import TryForm, in_words
from notifications.selectors import MOST_SHOWN, deliveries_of_event, progress_of, timeline
from notifications.services import cancel_event, replay_events
from tenants.dialogs import confirmation, leave_for
from tenants.keyset import CreatedFilter, KeysetModelAdmin, NamedTypeFilter
from tenants.read_only import ReadOnlyAdmin

__all__ = ["EventAdmin", "EventTypeAdmin", "RuleAdmin", "digests_admin", "heartbeats", "limits_admin"]

_NEWEST_OF_A_USER = 500
_STATUS_COLOURS = {"accepted": "info", "processed": "success", "expired": "warning", "failed": "danger"}


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin, KeysetModelAdmin):
    list_display = ("made", "state", "event_type", "event_id", "recipient", "asked_for", "tenant", "simulated")
    list_filter = (
        ("tenant", RelatedDropdownFilter),
        ("status", ChoicesDropdownFilter),
        NamedTypeFilter,
        ("created_at", CreatedFilter),
        ("sandbox", BooleanRadioFilter),
    )
    list_select_related = ("tenant",)
    list_defer = ("data", "metadata", "plan", "content_hash")
    list_fullwidth = True
    search_fields = ("event_id",)
    search_help_text = "Event id, or how it begins; or the user id of a delivery"
    actions: ClassVar = ["process_again_selected"]
    actions_detail: ClassVar = ["cancel"]
    change_form_outer_after_template = "admin/notifications/event/what_became_of.html"
    fieldsets = (
        (None, {"fields": (("state", "why", "simulated"), ("tenant", "event_id", "event_type"))}),
        ("Audience", {"fields": (("recipient", "asked_for", "importance"), "audience")}),
        ("Content", {"fields": ("content", "notes")}),
        ("Times", {"fields": (("created_at", "scheduled_at", "due_at"), ("processed_at", "expires_at", "attempt_count"))}),
    )

    @display(description="Created")
    def made(self, event: Event) -> str:
        return moment(event.created_at)

    @display(description="Status")
    def state(self, event: Event) -> SafeString | str:
        return labelled(str(event.get_status_display()), _STATUS_COLOURS)

    @display(description="Reason")
    def why(self, event: Event) -> str:
        return ": ".join(part for part in (event.reason.replace("_", " "), event.error) if part)

    @display(description="Sandbox")
    def simulated(self, event: Event) -> SafeString | str:
        return sandbox_label(event.sandbox)

    @display(description="Recipient")
    def recipient(self, event: Event) -> SafeString | str:
        if event.user_id:
            return link(reverse("admin:deliveries_delivery_changelist", query={"q": event.user_id}), event.user_id)
        if isinstance(event.to, dict) and "topic" in event.to:
            return f"topic {event.to['topic']}"
        return "inline" if event.to else "by rules"

    @display(description="Channels")
    def asked_for(self, event: Event) -> str:
        return names_of(event.channels) or "by rules or default"

    @display(description="Priority")
    def importance(self, event: Event) -> str:
        return str(event.get_priority_display())

    @display(description="Given as")
    def audience(self, event: Event) -> SafeString | str:
        return pretty(event.to)

    @display(description="Data")
    def content(self, event: Event) -> SafeString | str:
        return pretty(event.data)

    @display(description="Metadata")
    def notes(self, event: Event) -> SafeString | str:
        return pretty(event.metadata or None)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        event = self.get_object(request, object_id)
        context = {**(extra_context or {}), **(_what_became_of(event) if event else {})}
        return super().change_view(request, object_id, form_url, context)  # type: ignore[no-any-return]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        text = search_term.strip()
        return (_named(queryset, text) if text else queryset), False

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[UnfoldAction]:
        event = self.get_object(request, object_id)
        if event is None or event.status not in {EventStatus.ACCEPTED, EventStatus.PROCESSED}:
            return []
        offered: list[UnfoldAction] = super().get_actions_detail(request, object_id)
        return offered

    @admin.action(description="Process the failed ones again", permissions=["act"])
    def process_again_selected(self, request: HttpRequest, queryset: QuerySet[Event]) -> None:
        by_tenant: dict[int, list[str]] = defaultdict(list)
        for tenant_id, event_id in queryset.filter(status=EventStatus.FAILED).values_list("tenant_id", "event_id"):
            by_tenant[tenant_id].append(event_id)
        again = sum(len(replay_events(tenant_id=tenant_id, event_ids=ids)) for tenant_id, ids in by_tenant.items())
        if again:
            bells.ring_enrich()
            self.message_user(request, f"Given back to be processed now: {again}.", messages.SUCCESS)
        else:
            self.message_user(request, "Nothing to process again: none of them has failed.", messages.WARNING)

    @action(
        description="Cancel",
        permissions=["act"],
        icon="cancel",
        variant=ActionVariant.DANGER,
        dialog=confirmation(
            "Cancel this event?",
            "What has not been sent never will be. What is sent stays sent.",
            "Cancel the event",
        ),
    )
    def cancel(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        event = self.get_object(request, object_id)
        if event is not None:
            canceled = cancel_event(tenant=event.tenant, event_id=event.event_id)
            if canceled.event_stopped or canceled.deliveries:
                self.message_user(request, f"Canceled; deliveries withdrawn: {canceled.deliveries}.", messages.SUCCESS)
            else:
                self.message_user(request, "Nothing was left to cancel.", messages.WARNING)
        return leave_for(reverse("admin:notifications_event_change", args=[object_id]), request)


def _what_became_of(event: Event) -> dict[str, Any]:
    found = deliveries_of_event(event.tenant, event.event_id)
    all_of_them = reverse("admin:deliveries_delivery_changelist", query={"q": event.event_id})
    return {
        "event_deliveries": [(one, STATUS_COLOURS[str(one.get_status_display())], sentence(one)) for one in found],
        "more_deliveries": all_of_them if len(found) == MOST_SHOWN else "",
        "timeline": timeline(event, found),
        "progress": progress_of(event),
    }


def _named(events: QuerySet[Event], text: str) -> QuerySet[Event]:
    """Those whose event id is `text`; else those with deliveries to the user `text`; else those whose event id begins so."""
    ours = Q(tenant_id__in=every_tenant())
    if Event.objects.filter(ours, event_id=text).exists():
        return events.filter(ours, event_id=text)
    of_user = events_of_user(text, _NEWEST_OF_A_USER)
    if of_user:
        pairs = (Q(tenant_id=tenant_id, event_id__in=ids) for tenant_id, ids in of_user.items())
        return events.filter(functools.reduce(operator.or_, pairs))
    return events.filter(ours, event_id__startswith=text)


@admin.register(EventType)
class EventTypeAdmin(ModelAdmin):
    form = EventTypeForm
    list_display = ("name", "tenant", "category", "channels", "default_priority", "default_enabled", "required")
    list_filter = (("tenant", RelatedDropdownFilter), "required", "default_enabled")
    list_filter_submit = True
    list_select_related = ("tenant",)
    search_fields = ("name__startswith", "category__startswith")
    ordering = ("tenant", "name")
    fieldsets = (
        (None, {"fields": (("tenant", "name"), ("category", "description"))}),
        ("Defaults", {"fields": ("default_channels", "default_priority", ("default_enabled", "required"))}),
    )

    @display(description="Default channels")
    def channels(self, event_type: EventType) -> str:
        return names_of(event_type.default_channels)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # Preferences, templates and rules name the type.
        return ("tenant", "name") if obj else ()


@admin.register(Rule)
class RuleAdmin(ModelAdmin):
    form = RuleForm
    list_display = ("name", "tenant", "event_type", "condition", "goes_to", "on_channels", "position", "is_active")
    list_filter = (("tenant", RelatedDropdownFilter), "is_active")
    list_filter_submit = True
    list_select_related = ("tenant",)
    search_fields = ("name__icontains", "event_type__startswith")
    ordering = ("tenant", "position", "id")
    fieldsets = (
        (None, {"fields": (("tenant", "name"), ("position", "is_active"))}),
        ("When", {"fields": ("event_type", "condition")}),
        ("Then", {"fields": ("recipients", "channels", ("priority", "template"), ("delivery", "delay_s"))}),
    )
    actions_detail: ClassVar = ["try_it"]
    change_form_outer_after_template = "admin/notifications/rule/try_form.html"

    @display(description="Recipients")
    def goes_to(self, rule: Rule) -> str:
        return ", ".join(f"{kind}: {value}" for kind, value in (rule.recipients or {}).items()) or "the event's own"

    @display(description="Channels")
    def on_channels(self, rule: Rule) -> str:
        return names_of(rule.channels)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("tenant",) if obj else ()

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        rule = self.get_object(request, object_id)
        context = {**(extra_context or {}), "try_form": TryForm.on(rule) if rule else None}
        return super().change_view(request, object_id, form_url, context)  # type: ignore[no-any-return]

    @action(description="Try it", url_path="try", permissions=["view"], icon="science")
    def try_it(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What the rule, as it is saved, would do with an event. Nothing is stored."""
        rule = self.get_object(request, object_id)
        if rule is None:
            raise Http404
        form = TryForm.on(rule, request.POST if request.method == "POST" else None)
        tried = in_words(try_rule(rule, form.cleaned_data["new"], now=clock())) if form.is_valid() else {}
        context = {
            **self.admin_site.each_context(request),
            "title": f"What {rule} would do with an event",
            "opts": self.opts,
            "original": rule,
            "try_form": form,
            **tried,
        }
        return render(request, "admin/notifications/rule/try.html", context)
