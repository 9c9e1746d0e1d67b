"""Heartbeats in the admin, with what is known of their keys."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from notifications.heartbeats.models import Heartbeat, HeartbeatKey
from notifications.heartbeats.services import hold_room_for_heartbeat, save_heartbeat
from notifications.patterns import validate_pattern
from notifications.rules import validate_condition
from preferences.fields import EVENT_TYPE_PATTERN
from tenants.http.problems import Conflict
from tenants.read_only import ReadOnlyInline

_SHOWN: Final = 100


class HeartbeatForm(forms.ModelForm):  # type: ignore[type-arg]
    event_type = forms.CharField(
        max_length=200,
        validators=[validate_pattern],
        widget=UnfoldAdminTextInputWidget,
        help_text=Heartbeat._meta.get_field("event_type").help_text,
    )
    key = forms.CharField(
        required=False,
        validators=[validate_condition],
        widget=UnfoldAdminTextareaWidget({"rows": 2, "spellcheck": "false", "style": "font-family: monospace"}),
        help_text=f"{Heartbeat._meta.get_field('key').help_text} A change forgets all keys.",
    )
    missed_event_type = forms.RegexField(EVENT_TYPE_PATTERN, max_length=200, widget=UnfoldAdminTextInputWidget)
    recovered_event_type = forms.RegexField(EVENT_TYPE_PATTERN, max_length=200, widget=UnfoldAdminTextInputWidget)

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance._state.adding and "tenant" in values:
            try:
                hold_room_for_heartbeat(values["tenant"])  # until the end of the admin's transaction, which saves it
            except Conflict as error:
                raise forms.ValidationError(str(error.detail), code="limit") from error
        return values


class HeartbeatKeyInline(ReadOnlyInline, TabularInline):
    """The missing ones first; not all of ten thousand."""

    model = HeartbeatKey
    fields = readonly_fields = ("key", "is_missing", "missing_since", "last_seen_at", "due_at", "miss_count")
    verbose_name_plural = f"Keys (the first {_SHOWN}, the missing before the others)"
    ordering = ("-is_missing", "key")
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[HeartbeatKey]:
        match = request.resolver_match
        object_id = match.kwargs.get("object_id") if match else None
        shown = HeartbeatKey.objects.filter(heartbeat_id=object_id) if object_id else HeartbeatKey.objects.none()
        keys: QuerySet[HeartbeatKey] = super().get_queryset(request)
        return keys.filter(pk__in=shown.order_by(*self.ordering).values("pk")[:_SHOWN])


@admin.register(Heartbeat)
class HeartbeatAdmin(ModelAdmin):
    form = HeartbeatForm
    list_display = ("name", "tenant", "event_type", "key", "every_s", "grace_s", "is_active")
    list_filter = (("tenant", RelatedDropdownFilter), "is_active")
    list_filter_submit = True
    list_select_related = ("tenant",)
    search_fields = ("name__icontains", "event_type__startswith")
    ordering = ("tenant", "name")
    fieldsets = (
        (None, {"fields": (("tenant", "name"), "is_active")}),
        ("Expects", {"fields": ("event_type", "key", ("every_s", "grace_s"))}),
        ("Raises", {"fields": (("missed_event_type", "recovered_event_type"),)}),
    )
    inlines = (HeartbeatKeyInline,)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("tenant",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Heartbeat, form: Any, change: bool) -> None:
        save_heartbeat(obj)
