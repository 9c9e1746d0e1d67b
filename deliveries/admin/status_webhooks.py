"""Status endpoints and their messages in the admin. Messages are read, and sent again; secrets are never shown."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.timezone import now as clock
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from deliveries import bells
from deliveries.admin.presentation import labelled, moment, pretty
from deliveries.states import Status
from deliveries.status_webhooks.models import ANNOUNCED, MessageState, StatusEndpoint, StatusMessage
from deliveries.status_webhooks.services import (
    OVERLAP_H,
    enable_endpoints,
    replay_messages,
    replay_these,
    rotate_secret,
    send_test,
    update_endpoint,
    validate_url,
)
from tenants.http.problems import Conflict
from tenants.keyset import CreatedFilter, KeysetModelAdmin
from tenants.read_only import ReadOnlyAdmin

_STATE_COLOURS = {"pending": "info", "sent": "success", "failed": "danger"}
_ENDPOINT_COLOURS = {"active": "success", "failing": "warning", "disabled": "danger", "paused": "default"}


class StatusEndpointForm(forms.ModelForm):  # type: ignore[type-arg]
    statuses = forms.TypedMultipleChoiceField(
        choices=[(status.value, status.label) for status in ANNOUNCED],
        coerce=int,
        initial=[status.value for status in ANNOUNCED],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="The states it hears of.",
    )

    def clean_url(self) -> str:
        url = str(self.cleaned_data["url"])
        if url != self.instance.url:
            validate_url(url)
        return url


@admin.register(StatusEndpoint)
class StatusEndpointAdmin(ModelAdmin):
    form = StatusEndpointForm
    list_display = ("url", "tenant", "health", "hears_of", "since", "description")
    list_filter = (("tenant", RelatedDropdownFilter), "is_active")
    list_filter_submit = True
    list_select_related = ("tenant",)
    search_fields = ("url__icontains", "description__icontains")
    ordering = ("tenant__slug", "-id")
    actions: ClassVar = ["enable", "replay_failed", "send_a_test", "new_secret", "new_secret_at_once"]
    fieldsets = (
        (None, {"fields": ("tenant", "url", "description", "statuses", "is_active")}),
        (
            "State",
            {
                "fields": (
                    ("health", "since"),
                    ("disabled_at", "disabled_reason"),
                    ("created_at", "updated_at"),
                    "two_secrets_until",
                )
            },
        ),
    )
    state_fields: ClassVar = (
        "health",
        "since",
        "disabled_at",
        "disabled_reason",
        "created_at",
        "updated_at",
        "two_secrets_until",
    )

    @display(description="Health")
    def health(self, endpoint: StatusEndpoint) -> SafeString | str:
        if not endpoint.is_active:
            return labelled("disabled" if endpoint.disabled_at else "paused", _ENDPOINT_COLOURS)
        return labelled("failing" if endpoint.failing_since else "active", _ENDPOINT_COLOURS)

    @display(description="Failing since")
    def since(self, endpoint: StatusEndpoint) -> str:
        return moment(endpoint.failing_since)

    @display(description="Hears of")
    def hears_of(self, endpoint: StatusEndpoint) -> str:
        return ", ".join(str(Status(status).label) for status in endpoint.statuses)

    @display(description="The old secret signs until")
    def two_secrets_until(self, endpoint: StatusEndpoint) -> str:
        return moment(endpoint.old_secret_until) if endpoint.old_secret_at(clock()) else ""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("tenant", *self.state_fields) if obj else self.state_fields

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if obj else self.fieldsets[:1]

    def save_model(self, request: HttpRequest, obj: StatusEndpoint, form: Any, change: bool) -> None:
        if change:
            update_endpoint(endpoint=obj, changes={name: form.cleaned_data[name] for name in form.changed_data})
            return
        super().save_model(request, obj, form, change)
        self._show_secret(request, obj, obj.secret)

    @admin.action(description="Enable again", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[StatusEndpoint]) -> None:
        enabled = enable_endpoints(ids=list(queryset.values_list("pk", flat=True)))
        if enabled:
            bells.ring_status_webhooks()
        self.message_user(request, f"Enabled: {enabled}.", messages.SUCCESS if enabled else messages.WARNING)

    @admin.action(description="Send the failed messages again", permissions=["change"])
    def replay_failed(self, request: HttpRequest, queryset: QuerySet[StatusEndpoint]) -> None:
        for endpoint in queryset:
            try:
                result = replay_messages(endpoint=endpoint, states=[MessageState.FAILED])
            except Conflict as error:
                self.message_user(request, f"{endpoint}: {error.detail}", messages.WARNING)
            else:
                self.message_user(request, f"{endpoint}: sent again: {result.replayed}.", messages.SUCCESS)
        bells.ring_status_webhooks()

    @admin.action(description="Send a test", permissions=["change"])
    def send_a_test(self, request: HttpRequest, queryset: QuerySet[StatusEndpoint]) -> None:
        endpoint = self._only(request, queryset)
        if endpoint is not None:
            answer = send_test(endpoint=endpoint, now=clock())
            said = f"{endpoint} answered {answer.response_code}: {answer.response_excerpt[:200]}"
            self.message_user(request, said, messages.SUCCESS if answer.success else messages.ERROR)

    @admin.action(description=f"Give it a new secret; the old one signs as well for {OVERLAP_H} hours", permissions=["change"])
    def new_secret(self, request: HttpRequest, queryset: QuerySet[StatusEndpoint]) -> None:
        self._rotate(request, queryset, forget_old=False)

    @admin.action(description="Give it a new secret; forget the old one at once (it leaked)", permissions=["change"])
    def new_secret_at_once(self, request: HttpRequest, queryset: QuerySet[StatusEndpoint]) -> None:
        self._rotate(request, queryset, forget_old=True)

    def _rotate(self, request: HttpRequest, queryset: QuerySet[StatusEndpoint], *, forget_old: bool) -> None:
        endpoint = self._only(request, queryset)
        if endpoint is not None:
            self._show_secret(request, endpoint, rotate_secret(endpoint=endpoint, forget_old=forget_old).secret)

    def _only(self, request: HttpRequest, queryset: QuerySet[StatusEndpoint]) -> StatusEndpoint | None:
        chosen = list(queryset[:2])
        if len(chosen) != 1:
            self.message_user(request, "Choose one endpoint.", messages.WARNING)
            return None
        return chosen[0]

    def _show_secret(self, request: HttpRequest, endpoint: StatusEndpoint, secret: str) -> None:
        self.message_user(request, f"The secret of {endpoint}, shown this once: {secret}", messages.SUCCESS)


@admin.register(StatusMessage)
class StatusMessageAdmin(ReadOnlyAdmin, KeysetModelAdmin):
    list_display = ("made", "label", "what", "endpoint", "attempt_count", "response_code", "tenant")
    list_filter = (
        ("tenant", RelatedDropdownFilter),
        ("endpoint", RelatedDropdownFilter),
        ("state", ChoicesDropdownFilter),
        ("created_at", CreatedFilter),
    )
    list_select_related = ("tenant", "endpoint")
    list_defer = ("payload", "response_excerpt")
    actions: ClassVar = ["send_again"]
    fieldsets = (
        (None, {"fields": (("label", "what"), ("tenant", "endpoint"), "delivery_id", "content")}),
        ("Sending", {"fields": (("attempt_count", "next_attempt_at", "done_at"), "response_code", "response_excerpt")}),
    )

    @display(description="Created")
    def made(self, message: StatusMessage) -> str:
        return moment(message.created_at)

    @display(description="State")
    def label(self, message: StatusMessage) -> SafeString | str:
        return labelled(str(message.get_state_display()), _STATE_COLOURS)

    @display(description="Event")
    def what(self, message: StatusMessage) -> str:
        return message.type

    @display(description="Data")
    def content(self, message: StatusMessage) -> SafeString | str:
        return pretty(message.payload)

    def get_queryset(self, request: HttpRequest) -> QuerySet[StatusMessage]:
        """Those whose endpoint still is: the database does not hold messages to it."""
        rows: QuerySet[StatusMessage] = super().get_queryset(request)
        return rows.select_related("endpoint")

    @admin.action(description="Send again", permissions=["act"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[StatusMessage]) -> None:
        by_tenant: dict[int, list[Any]] = defaultdict(list)
        for tenant_id, pk in queryset.filter(endpoint__is_active=True).values_list("tenant_id", "pk"):
            by_tenant[tenant_id].append(pk)
        again = sum(replay_these(tenant_id=tenant_id, ids=ids) for tenant_id, ids in by_tenant.items())
        if again:
            bells.ring_status_webhooks()
            self.message_user(request, f"Put back to be sent now: {again}.", messages.SUCCESS)
        else:
            self.message_user(request, "Nothing to send again: it is pending, or its endpoint is not active.", messages.WARNING)
