"""The delivery history: looked up, read, and, where it failed, sent again. Nothing in it is ever edited."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter, RadioFilter, RelatedDropdownFilter
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from deliveries import bells
from deliveries.admin.presentation import (
    STATUS_COLOURS,
    framed,
    labelled,
    link,
    moment,
    paragraphs,
    pretty,
    sandbox_label,
    shortened,
)
from deliveries.explanations import sentence
from deliveries.models import Attempt, Delivery, Receipt
from deliveries.replay import AddressRefusedError, replay, replay_to
from deliveries.replay_bells import ring_for
from deliveries.selectors import attempts_with_account, deliveries_named, has_ambiguous_attempt
from deliveries.states import OPEN, Status
from tenants.dialogs import confirmation, leave_for
from tenants.keyset import CreatedFilter, KeysetModelAdmin, NamedTypeFilter
from tenants.read_only import ReadOnlyAdmin, ReadOnlyInline
from tenants.vocabulary import Channel

_NOTHING_TO_SEND = "Nothing to send again: it has not failed, or its address is on the suppression list."
_MOST_AT_ONCE = 1000

_OUTCOME_COLOURS = {"sent": "success", "permanent": "danger"}


_KIND_COLOURS = {"delivered": "success", "bounced": "danger", "complained": "danger"}


class HeldFilter(RadioFilter):
    title = "held back"
    parameter_name = "held"
    answers: ClassVar = {"true": True, "false": False}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("true", "Yes"), ("false", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        chosen = self.value()
        if not chosen:
            return queryset
        if chosen not in self.answers:
            raise IncorrectLookupParameters
        return queryset.filter(is_held=self.answers[chosen])


class TwiceFilter(RadioFilter):
    title = "may have gone out twice"
    parameter_name = "ambiguous"
    answers: ClassVar = {"true": True, "false": False}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("true", "Yes"), ("false", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        chosen = self.value()
        if not chosen:
            return queryset
        if chosen not in self.answers:
            raise IncorrectLookupParameters
        return queryset.filter(has_ambiguous_attempt(self.answers[chosen]))


class _WrittenOnceInline(ReadOnlyInline, TabularInline):
    """What a delivery brought with it: shown to those who may see the delivery, changed by nobody."""

    extra = 0
    can_delete = False
    hide_title = True


class AttemptInline(_WrittenOnceInline):
    model = Attempt
    fields = readonly_fields = (
        "number",
        "outcome_label",
        "sender",
        "code",
        "response",
        "shown_detail",
        "started_at",
        "duration",
    )
    verbose_name_plural = "Attempts"

    @display(description="Outcome")
    def outcome_label(self, attempt: Attempt) -> SafeString | str:
        return labelled(str(attempt.get_outcome_display()), _OUTCOME_COLOURS)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        return attempts_with_account(super().get_queryset(request))

    @display(description="Provider")
    def sender(self, attempt: Any) -> str:
        """The kind, and which account of that kind: its name, or its id if it is deleted since."""
        account = attempt.account_name or attempt.provider_account_id
        return f"{attempt.provider} ({account})" if account else attempt.provider

    @display(description="Detail")
    def shown_detail(self, attempt: Attempt) -> SafeString | str:
        return pretty(attempt.detail)

    @display(description="Began")
    def began(self, attempt: Attempt) -> str:
        return moment(attempt.started_at)

    @display(description="Took")
    def duration(self, attempt: Attempt) -> str:
        return f"{attempt.duration_ms} ms"


class ReceiptInline(_WrittenOnceInline):
    model = Receipt
    fields = readonly_fields = ("kind_label", "code", "response", "happened", "received")
    verbose_name_plural = "Receipts"

    @display(description="Kind")
    def kind_label(self, receipt: Receipt) -> SafeString | str:
        return labelled(str(receipt.get_kind_display()), _KIND_COLOURS)

    @display(description="Happened")
    def happened(self, receipt: Receipt) -> str:
        return moment(receipt.at)

    @display(description="Received")
    def received(self, receipt: Receipt) -> str:
        return moment(receipt.received_at)


class SendAgainForm(BaseDialogForm):
    address = forms.CharField(
        label="Address",
        required=False,
        max_length=4096,
        widget=UnfoldAdminTextInputWidget,
        help_text="To send it elsewhere. Empty: to the address it has.",
    )


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin, KeysetModelAdmin):
    list_display = ("made", "state", "channel", "event_type", "to_whom", "event_id", "why", "tenant", "simulated")
    list_filter = (
        ("tenant", RelatedDropdownFilter),
        ("status", ChoicesDropdownFilter),
        ("channel", ChoicesDropdownFilter),
        NamedTypeFilter,
        ("created_at", CreatedFilter),
        ("sandbox", BooleanRadioFilter),
        HeldFilter,
        TwiceFilter,
    )
    list_select_related = ("tenant",)
    list_defer = ("subject", "body", "html", "data")
    list_fullwidth = True
    search_fields = ("id",)
    search_help_text = "User id, event id, address or delivery id, whole or its beginning"
    inlines = (AttemptInline, ReceiptInline)
    actions: ClassVar = ["send_again_selected"]
    actions_detail: ClassVar = ["send_again"]
    fieldsets = (
        (None, {"fields": (("state", "explained"), ("tenant", "channel", "priority"), ("event", "event_type", "user"))}),
        ("Message", {"fields": ("address", ("locale", "template_version_id"), "subject", "text", "page", "payload")}),
        (
            "Sending",
            {
                "fields": (
                    ("provider", "provider_message_id", "simulated"),
                    ("attempt_count", "due", "expires_at"),
                    "waited",
                    "error",
                )
            },
        ),
        (
            "Times",
            {"fields": (("accepted_at", "created_at"), ("sent_at", "delivered_at"), ("seen_at", "read_at", "archived_at"))},
        ),
        ("Decision", {"fields": ("reason", "decision")}),
    )

    @display(description="Created")
    def made(self, delivery: Delivery) -> str:
        return moment(delivery.created_at)

    @display(description="Status")
    def state(self, delivery: Delivery) -> SafeString | str:
        return labelled("held" if delivery.is_held else str(delivery.get_status_display()), STATUS_COLOURS)

    @display(description="Sandbox")
    def simulated(self, delivery: Delivery) -> SafeString | str:
        return sandbox_label(delivery.sandbox)

    @display(description="To")
    def to_whom(self, delivery: Delivery) -> str:
        return delivery.user_id or shortened(delivery.address)

    @display(description="Reason")
    def why(self, delivery: Delivery) -> str:
        return delivery.reason.replace("_", " ")

    @display(description="In words")
    def explained(self, delivery: Delivery) -> str:
        return sentence(delivery)

    @display(description="Event")
    def event(self, delivery: Delivery) -> SafeString:
        return link(reverse("admin:notifications_event_changelist", query={"q": delivery.event_id}), delivery.event_id)

    @display(description="User")
    def user(self, delivery: Delivery) -> SafeString | str:
        if not delivery.user_id:
            return ""
        return link(reverse("admin:deliveries_delivery_changelist", query={"q": delivery.user_id}), delivery.user_id)

    @display(description="Body")
    def text(self, delivery: Delivery) -> SafeString | str:
        return paragraphs(delivery.body)

    @display(description="HTML")
    def page(self, delivery: Delivery) -> SafeString | str:
        return framed(delivery.html)

    @display(description="Data")
    def payload(self, delivery: Delivery) -> SafeString | str:
        return pretty(delivery.data)

    @display(description="Explanation")
    def decision(self, delivery: Delivery) -> SafeString | str:
        return pretty(delivery.explanation)

    @display(description="Due")
    def due(self, delivery: Delivery) -> str:
        """For its next attempt, or until when it is held back."""
        return moment(delivery.next_attempt_at) if delivery.status in OPEN else ""

    @display(description="Was held back for")
    def waited(self, delivery: Delivery) -> SafeString | str:
        explanation = delivery.explanation if isinstance(delivery.explanation, dict) else {}
        return pretty(explanation.get("heldFor"))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Delivery], search_term: str
    ) -> tuple[QuerySet[Delivery], bool]:
        text = search_term.strip()
        return (deliveries_named(queryset, text) if text else queryset), False

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[UnfoldAction]:
        delivery = self.get_object(request, object_id)
        if delivery is None or delivery.status != Status.FAILED:
            return []
        offered: list[UnfoldAction] = super().get_actions_detail(request, object_id)
        return offered

    @admin.action(description="Send the failed ones again", permissions=["act"])
    def send_again_selected(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        failed = queryset.filter(status=Status.FAILED).values_list("tenant_id", "channel", "pk")[:_MOST_AT_ONCE]
        self._send_again(request, list(failed))

    @action(
        description="Send again",
        permissions=["act"],
        icon="replay",
        variant=ActionVariant.PRIMARY,
        dialog=confirmation(
            "Send this message again?", "It goes out now, with all its retries before it.", "Send again", SendAgainForm
        ),
    )
    def send_again(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        delivery = self.get_object(request, object_id)
        if delivery is not None and (address := form.cleaned_data.get("address")):
            self._send_to(request, delivery, address)
        elif delivery is not None:
            self._send_again(request, [(delivery.tenant_id, delivery.channel, delivery.pk)])
        return leave_for(reverse("admin:deliveries_delivery_change", args=[object_id]), request)

    def _send_to(self, request: HttpRequest, delivery: Delivery, address: str) -> None:
        try:
            again = replay_to(delivery=delivery, address=address)
        except AddressRefusedError as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        if again:
            bells.ring_send(Channel(delivery.channel))
            self.message_user(request, "Put back to be sent now, to the new address.", messages.SUCCESS)
        else:
            self.message_user(request, _NOTHING_TO_SEND, messages.WARNING)

    def _send_again(self, request: HttpRequest, failed: list[tuple[int, int, UUID]]) -> None:
        by_tenant: dict[int, list[UUID]] = defaultdict(list)
        for tenant_id, _, pk in failed:
            by_tenant[tenant_id].append(pk)
        replayed = [replay(tenant_id=tenant_id, ids=ids) for tenant_id, ids in by_tenant.items()]
        ring_for(*replayed)
        if any(replayed):
            again = sum(len(one.ids) for one in replayed)
            self.message_user(request, f"Put back to be sent now: {again}.", messages.SUCCESS)
        else:
            self.message_user(request, _NOTHING_TO_SEND, messages.WARNING)
