"""Limits in the admin: the same checks as the API's."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from notifications.forms import pattern_field, with_room
from notifications.limits.models import Limit, Per
from notifications.services import hold_room_for_limit


class LimitForm(forms.ModelForm):  # type: ignore[type-arg]
    event_type = pattern_field(Limit)
    per = forms.MultipleChoiceField(
        choices=Per.choices,
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="What has a count of its own. None: one count for the tenant.",
    )

    class Meta:
        help_texts = {
            "count": "Messages in any window, wherever it begins.",
            "excess": "Suppress: it is not sent. Defer: it is sent when its turn comes, within 7 days. "
            "Digest: it is collected and goes out with others.",
        }

    def clean(self) -> dict[str, Any]:
        return with_room(self, super().clean() or self.cleaned_data, hold_room_for_limit)


@admin.register(Limit)
class LimitAdmin(ModelAdmin):
    form = LimitForm
    list_display = ("name", "tenant", "event_type", "category", "on_channel", "at_most", "for_each", "excess", "is_active")
    list_filter = (("tenant", RelatedDropdownFilter), ("excess", ChoicesDropdownFilter), "is_active")
    list_filter_submit = True
    list_select_related = ("tenant",)
    search_fields = ("name__icontains", "event_type__startswith")
    ordering = ("tenant", "id")
    fieldsets = (
        (None, {"fields": (("tenant", "name"), "is_active")}),
        ("Of what", {"fields": ("event_type", ("category", "channel"))}),
        ("How much", {"fields": (("count", "window_s"), "per", "excess")}),
    )

    @display(description="Channel")
    def on_channel(self, limit: Limit) -> str:
        return str(limit.get_channel_display() or "every")

    @display(description="At most")
    def at_most(self, limit: Limit) -> str:
        return f"{limit.count} in {in_words(limit.window_s)}"

    @display(description="For each")
    def for_each(self, limit: Limit) -> str:
        return ", ".join(Per(name).label.lower() for name in limit.per) or "tenant"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("tenant",) if obj else ()


def in_words(seconds: int) -> str:
    """`90 min`, in the largest unit that needs no fraction."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
