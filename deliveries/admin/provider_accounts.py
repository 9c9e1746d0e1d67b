"""Tenants' accounts with providers. Secrets go in and never come out: left blank, the one that is kept stays."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from redis.exceptions import RedisError
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import display
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from deliveries import breaker
from deliveries.admin.telegram import RegistersTelegram
from deliveries.providers import registry
from deliveries.providers.credentials import Field
from deliveries.receipts import addresses
from tenants.models import ProviderAccount
from tenants.vocabulary import Channel

_CALLED_BACK = "twilio"
"""The kind of account whose vendor is told where to report with each message."""
_CIRCUIT_AT = 5
_KEPT = "•••••••• kept unless you enter another"


class SecretTextarea(UnfoldAdminTextareaWidget):
    """Many lines that are never shown again, as a password is not."""

    def format_value(self, value: Any) -> str:
        return ""


class ProviderAccountForm(forms.ModelForm):  # type: ignore[type-arg]
    """Its credentials are fields of its own, declared by the provider; see `_form_of`."""

    class Meta:
        help_texts = {
            "priority": "Lower goes first.",
            "weight": "Its share among accounts of the same priority; 0 goes last.",
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        kind = self.instance.kind or cleaned.get("kind")
        if kind in registry.kinds():
            self.instance.channel = _channel_of(kind).value
            self.instance.credentials = self._credentials(kind, cleaned)
            for name, message in registry.validate_credentials(kind, _channel_of(kind), self.instance.credentials):
                self.add_error(_input(kind, name) if _input(kind, name) in self.fields else None, message)
            self._refuse_a_name_twice(cleaned)
        return cleaned

    def _credentials(self, kind: str, cleaned: dict[str, Any]) -> dict[str, Any]:
        """What was entered; for a secret left blank, what is kept."""
        entered = {field: cleaned.get(_input(kind, field.name)) for field in _fields_of(kind)}
        kept = self.instance.credentials or {}
        values = {
            field.name: kept.get(field.name) if field.secret and value in (None, "") else value
            for field, value in entered.items()
        }
        return {name: value for name, value in values.items() if value not in (None, "")}

    def _refuse_a_name_twice(self, cleaned: dict[str, Any]) -> None:
        # The form has no channel, so Django leaves the constraint on (tenant, channel, name) to the database.
        tenant = cleaned.get("tenant") or (self.instance.tenant if self.instance.tenant_id else None)
        name = cleaned.get("name")
        if tenant is not None and name:
            others = ProviderAccount.objects.for_tenant(tenant).filter(channel=self.instance.channel, name=name)
            if others.exclude(pk=self.instance.pk).exists():
                self.add_error("name", "The tenant has an account of this name on this channel.")


@admin.register(ProviderAccount)
class ProviderAccountAdmin(RegistersTelegram, ModelAdmin):
    list_display = ("name", "tenant", "channel", "kind", "is_active", "priority", "weight", "updated_at")
    list_filter = (("tenant", RelatedDropdownFilter), ("channel", ChoicesDropdownFilter), "is_active")
    list_filter_submit = True
    list_select_related = ("tenant",)
    search_fields = ("name__icontains", "kind__startswith")
    ordering = ("tenant", "channel", "priority", "name")
    readonly_on_change: ClassVar = ("tenant", "channel", "kind", "created_at", "updated_at", "receipts")

    @display(description="Receipts")
    def receipts(self, account: ProviderAccount) -> str:
        """What to enter at the vendor, so that it reports what became of the messages."""
        if account.kind not in registry.kinds():
            return "–"
        if registry.provider_class(_channel_of(account.kind), account.kind).receipt_key:
            return f"Enter at the vendor: {addresses.email_url(account.kind, str(account.pk))}"
        if account.kind != _CALLED_BACK:
            return "The vendor sends none."
        is_told = addresses.is_public(settings.PUBLIC_URL)
        return (
            "The vendor is told the URL with each message." if is_told else "None come: PUBLIC_URL cannot be reached by others."
        )

    def get_list_display(self, request: HttpRequest) -> Sequence[Any]:
        shown = list(super().get_list_display(request))
        return [*shown[:_CIRCUIT_AT], _circuit_column(), *shown[_CIRCUIT_AT:]]

    @property
    def conditional_fields(self) -> dict[str, str]:
        """Of a new account, the fields of the kind that is chosen; a stored one's page has no choice, and its fields only."""
        return {
            _input(kind, field.name): f"typeof kind === 'undefined' || kind === '{kind}'"
            for kind in registry.kinds()
            for field in _fields_of(kind)
        }

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **{"form": _form_of(obj), **kwargs})

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.readonly_on_change if obj else ()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        kinds = [obj.kind] if obj else registry.kinds()
        use = ("Use", {"fields": (("is_active", "priority", "weight"),)})
        credentials = [_input(kind, field.name) for kind in kinds if kind in registry.kinds() for field in _fields_of(kind)]
        if obj is None:
            return ((None, {"fields": (("tenant", "name"), "kind")}), ("Credentials", {"fields": credentials}), use)
        return (
            (None, {"fields": (("tenant", "name"), ("channel", "kind"), ("created_at", "updated_at"))}),
            ("Credentials", {"fields": [*credentials, "receipts"]}),
            use,
        )


def _circuit_column() -> Callable[[ProviderAccount], str]:
    """A column that has asked Redis once for all its rows."""
    try:
        left_alone_until = {circuit.account: until for circuit, until in breaker.open_circuits().items()}
    except RedisError:
        left_alone_until = None

    @display(description="circuit", label={"closed": "success", "open": "danger", "half-open": "warning", "unknown": "info"})
    def circuit(account: ProviderAccount) -> str:
        """half-open: the next message is a probe."""
        if left_alone_until is None:
            return "unknown"
        until = left_alone_until.get(str(account.pk))
        return "closed" if until is None else "open" if until > time.time() else "half-open"

    column: Callable[[ProviderAccount], str] = circuit
    return column


def _form_of(account: ProviderAccount | None) -> type[ProviderAccountForm]:
    """The form with the credentials of the account's kind, or, for a new account, of every kind."""
    kept = account.credentials if account else {}
    kinds = [kind for kind in registry.kinds() if account is None or kind == account.kind]
    inputs: dict[str, forms.Field] = {
        _input(kind, field.name): _form_field(field, kept.get(field.name)) for kind in kinds for field in _fields_of(kind)
    }
    if account is None:
        inputs["kind"] = forms.ChoiceField(label="Provider", choices=_choices(), widget=UnfoldAdminSelectWidget)
    return type("ProviderAccountForm", (ProviderAccountForm,), inputs)


def _form_field(field: Field, kept: Any) -> forms.Field:
    """Never required by the form: only the provider knows, once the kind is chosen and kept secrets are counted in."""
    common: dict[str, Any] = {
        "label": field.name.replace("_", " ").capitalize() + (" *" if field.required else ""),
        "required": False,
        "help_text": field.help,
    }
    if field.secret:
        attrs = {"autocomplete": "new-password", "placeholder": _KEPT if kept else ""}
        widget = SecretTextarea(attrs) if field.multiline else UnfoldAdminPasswordWidget(attrs)
        return forms.CharField(widget=widget, **common)
    initial = field.default if kept is None else kept
    if field.choices:
        return forms.ChoiceField(
            choices=[(choice, choice) for choice in field.choices], initial=initial, widget=UnfoldAdminSelectWidget, **common
        )
    if isinstance(field.default, int):
        return forms.IntegerField(initial=initial or None, widget=UnfoldAdminIntegerFieldWidget, **common)
    return forms.CharField(initial=initial, widget=UnfoldAdminTextInputWidget, **common)


def _choices() -> list[tuple[str, list[tuple[str, str]]]]:
    by_channel: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for kind in registry.kinds():
        by_channel[str(_channel_of(kind).label)].append((kind, kind))
    return list(by_channel.items())


def _channel_of(kind: str) -> Channel:
    return next(channel for channel, name in registry.PROVIDERS if name == kind)


def _fields_of(kind: str) -> tuple[Field, ...]:
    return tuple(registry.provider_class(_channel_of(kind), kind).fields)


def _input(kind: str, field: str) -> str:
    """The form's name for a credential: several kinds have an `api_key`."""
    return f"{kind}__{field}"
