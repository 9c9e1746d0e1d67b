"""Digest schedules and digests in the admin. Schedules are edited, with the API's checks; digests are read, or sent early."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.timezone import now as clock
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter, RadioFilter, RelatedDropdownFilter
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldAdminTimeWidget

from deliveries import bells
from deliveries.admin.presentation import labelled, link, moment, sandbox_label, shortened
from deliveries.selectors import every_tenant
from notifications.digests.models import Cadence, Digest, DigestSchedule
from notifications.digests.selectors import MOST_SHOWN, holding, items_shown
from notifications.digests.services import send_now
from notifications.forms import pattern_field, with_room
from notifications.limits.admin import in_words
from notifications.services import hold_room_for_schedule
from preferences.fields import EVENT_TYPE_PATTERN
from tenants.dialogs import confirmation, leave_for
from tenants.keyset import KeysetModelAdmin
from tenants.read_only import ReadOnlyAdmin

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_COLOURS = {"open": "info", "closing": "info", "sent": "success", "nothing left": "default", "failed": "danger"}


class DigestScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    event_type = pattern_field(DigestSchedule)
    at = forms.TimeField(
        input_formats=["%H:%M"],
        initial=DigestSchedule._meta.get_field("at").get_default(),
        widget=UnfoldAdminTimeWidget(format="%H:%M"),
        help_text=DigestSchedule._meta.get_field("at").help_text,
    )
    weekday = forms.TypedChoiceField(
        choices=list(enumerate(_WEEKDAYS)), coerce=int, initial=0, widget=UnfoldAdminSelectWidget, help_text="Of a weekly one."
    )
    template = forms.RegexField(
        regex=EVENT_TYPE_PATTERN,
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        initial=DigestSchedule._meta.get_field("template").get_default(),
        help_text="The event type of the digest's own message, whose templates are used. Without any, built-in words are.",
    )

    class Meta:
        labels = {"window_s": "Window", "longest_s": "At longest"}

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = with_room(self, super().clean() or self.cleaned_data, hold_room_for_schedule)
        window_s, longest_s = values.get("window_s"), values.get("longest_s")
        slides = values.get("cadence") == Cadence.WINDOW and values.get("slides")
        if slides and window_s and longest_s and longest_s < window_s:
            self.add_error("longest_s", f"A window of {window_s} s that slides lasts at least as long.")
        return values


@admin.register(DigestSchedule)
class DigestScheduleAdmin(ModelAdmin):
    form = DigestScheduleForm
    list_display = ("name", "tenant", "event_type", "on_channel", "goes_out", "position", "is_active")
    list_filter = (("tenant", RelatedDropdownFilter), ("cadence", ChoicesDropdownFilter), "is_active")
    list_filter_submit = True
    list_select_related = ("tenant",)
    search_fields = ("name__icontains", "event_type__startswith")
    ordering = ("tenant", "position", "id")
    fieldsets = (
        (None, {"fields": (("tenant", "name"), ("position", "is_active"))}),
        ("Of what", {"fields": ("event_type", ("category", "channel"))}),
        (
            "When",
            {
                "fields": ("cadence", ("at", "weekday"), ("window_s", "slides", "longest_s")),
                "description": "What the cadence does not use is passed over.",
            },
        ),
        ("Message", {"fields": (("template", "most_items"),)}),
    )

    @display(description="Channel")
    def on_channel(self, schedule: DigestSchedule) -> str:
        return str(schedule.get_channel_display() or "every")

    @display(description="Goes out")
    def goes_out(self, schedule: DigestSchedule) -> str:
        match schedule.cadence:
            case Cadence.HOURLY:
                return f"every hour at :{schedule.at:%M}"
            case Cadence.DAILY:
                return f"every day at {schedule.at:%H:%M}"
            case Cadence.WEEKLY:
                return f"{_WEEKDAYS[schedule.weekday]} at {schedule.at:%H:%M}"
        if schedule.slides:
            return f"{in_words(schedule.window_s)} after the last item, {in_words(schedule.longest_s)} at most"
        return f"{in_words(schedule.window_s)} after the first item"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("tenant",) if obj else ()


class OpenFilter(RadioFilter):
    title = "still collects"
    parameter_name = "open"
    answers: ClassVar = {"true": True, "false": False}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("true", "Yes"), ("false", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Digest]) -> QuerySet[Digest]:
        chosen = self.value()
        if not chosen:
            return queryset
        if chosen not in self.answers:
            raise IncorrectLookupParameters
        return queryset.filter(closed_at__isnull=self.answers[chosen])


@admin.register(Digest)
class DigestAdmin(ReadOnlyAdmin, KeysetModelAdmin):
    list_display = ("opened", "state", "channel", "to_whom", "digest_key", "due", "collected", "tenant", "simulated")
    list_filter = (
        ("tenant", RelatedDropdownFilter),
        ("channel", ChoicesDropdownFilter),
        OpenFilter,
        ("sandbox", BooleanRadioFilter),
    )
    list_select_related = ("tenant",)
    search_fields = ("user_id",)
    search_help_text = "User id"
    actions_detail: ClassVar = ["send_now"]
    change_form_outer_after_template = "admin/notifications/digest/items.html"
    fieldsets = (
        (None, {"fields": (("state", "tenant", "simulated"), ("channel", "user", "address"), ("digest_key", "schedule"))}),
        ("Times", {"fields": (("opened_at", "due_at", "closes_by"), ("closed_at", "finished_at"))}),
        ("Message", {"fields": (("template", "most_items"), ("holds", "event"), "error")}),
    )

    @display(description="Opened")
    def opened(self, digest: Digest) -> str:
        return moment(digest.opened_at)

    @display(description="Due")
    def due(self, digest: Digest) -> str:
        return moment(digest.due_at)

    @display(description="Status")
    def state(self, digest: Digest) -> SafeString | str:
        return labelled(_state(digest), _COLOURS)

    @display(description="To")
    def to_whom(self, digest: Digest) -> str:
        return digest.user_id or shortened(digest.address)

    @display(description="Items")
    def collected(self, digest: Digest) -> str:
        return f"{digest.sent_count} of {digest.item_count} sent" if digest.finished_at else ""

    @display(description="Items")
    def holds(self, digest: Digest) -> str:
        """As `collected`, and what it holds until then; for one digest."""
        return self.collected(digest) or f"{holding([digest]).get(digest.pk, 0)} so far"

    @display(description="Sandbox")
    def simulated(self, digest: Digest) -> SafeString | str:
        return sandbox_label(digest.sandbox)

    @display(description="User")
    def user(self, digest: Digest) -> SafeString | str:
        if not digest.user_id:
            return ""
        return link(reverse("admin:deliveries_delivery_changelist", query={"q": digest.user_id}), digest.user_id)

    @display(description="Schedule")
    def schedule(self, digest: Digest) -> SafeString | str:
        if digest.schedule_id is None:
            return "the usual one, daily"
        found = DigestSchedule.objects.for_tenant(digest.tenant_id).filter(pk=digest.schedule_id).first()
        if found is None:
            return "deleted since"
        return link(reverse("admin:notifications_digestschedule_change", args=[found.pk]), found.name)

    @display(description="Event")
    def event(self, digest: Digest) -> SafeString | str:
        if not digest.event_id:
            return ""
        return link(reverse("admin:notifications_event_changelist", query={"q": digest.event_id}), digest.event_id)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        digest = self.get_object(request, object_id)
        context = {**(extra_context or {}), **(_held_by(digest) if digest else {})}
        return super().change_view(request, object_id, form_url, context)  # type: ignore[no-any-return]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Digest], search_term: str
    ) -> tuple[QuerySet[Digest], bool]:
        text = search_term.strip()
        return (queryset.filter(tenant_id__in=every_tenant(), user_id=text) if text else queryset), False

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[UnfoldAction]:
        digest = self.get_object(request, object_id)
        if digest is None or digest.closed_at is not None:
            return []
        offered: list[UnfoldAction] = super().get_actions_detail(request, object_id)
        return offered

    @action(
        description="Send now",
        permissions=["act"],
        icon="send",
        variant=ActionVariant.PRIMARY,
        dialog=confirmation("Send this digest now?", "It goes out with what it holds.", "Send now"),
    )
    def send_now(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        digest = self.get_object(request, object_id)
        if digest is not None and send_now(digest, now=clock()):
            bells.ring_digests()
            self.message_user(request, "It is due now.", messages.SUCCESS)
        else:
            self.message_user(request, "It is closed already.", messages.WARNING)
        return leave_for(reverse("admin:notifications_digest_change", args=[object_id]), request)


def _state(digest: Digest) -> str:
    if digest.closed_at is None:
        return "open"
    if digest.finished_at is None:
        return "closing"
    if digest.error:
        return "failed"
    return "sent" if digest.event_id else "nothing left"


def _held_by(digest: Digest) -> dict[str, Any]:
    shown = items_shown(digest)
    total = digest.sent_count if digest.finished_at else holding([digest]).get(digest.pk, 0)
    return {"digest_items": shown, "digest_items_more": max(total - len(shown), 0) if len(shown) == MOST_SHOWN else 0}
