"""Tenants and API keys in the admin. Neither is ever deleted there: a tenant is switched off, a key revoked.

`TenantAdmin` is registered by `config`, which knows what else a new tenant needs.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.timezone import now as clock
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from tenants.dialogs import confirmation, leave_for
from tenants.forms import ApiKeyForm, TenantForm
from tenants.models import ApiKey, Tenant
from tenants.services import create_api_key, revoke_api_keys
from tenants.vocabulary import Channel, Scope


class TenantAdmin(ModelAdmin):
    form = TenantForm
    list_display: ClassVar[tuple[str, ...]] = (
        "slug",
        "name",
        "is_active",
        "sandbox",
        "channels",
        "default_locale",
        "timezone",
        "created_at",
    )
    list_filter = ("is_active", "sandbox")
    search_fields = ("slug__startswith", "name__icontains")
    readonly_fields = ("created_at",)
    fieldsets: ClassVar[tuple[Any, ...]] = (
        (None, {"fields": (("slug", "name"), ("is_active", "sandbox"))}),
        ("Defaults", {"fields": (("default_locale", "timezone"), "default_channels")}),
        (None, {"fields": ("created_at",)}),
    )

    @display(description="Default channels")
    def channels(self, tenant: Tenant) -> str:
        return ", ".join(str(Channel(value).label) for value in tenant.default_channels)

    def get_readonly_fields(self, request: HttpRequest, obj: Tenant | None = None) -> tuple[str, ...]:
        # Tokens name the tenant by its slug: another would make them all invalid.
        return (*self.readonly_fields, "slug") if obj else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Tenant | None = None) -> bool:
        return False


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):
    form = ApiKeyForm
    list_display = ("prefix", "name", "tenant", "state", "granted", "sandbox", "created_at", "last_used_at")
    list_filter = (("tenant", RelatedDropdownFilter), "sandbox")
    list_filter_submit = True
    list_select_related = ("tenant",)
    search_fields = ("prefix__startswith", "name__icontains")
    ordering = ("-id",)
    readonly_fields = ("tenant", "prefix", "state", "created_at", "last_used_at", "revoked_at")
    fieldsets = (
        (None, {"fields": (("prefix", "state"), ("tenant", "name"))}),
        ("What it may do", {"fields": ("scopes", "sandbox", "rate_limit", "expires_at")}),
        ("History", {"fields": (("created_at", "last_used_at", "revoked_at"),)}),
    )
    add_fieldsets = (
        (None, {"fields": (("tenant", "name"),)}),
        ("What it may do", {"fields": ("scopes", "sandbox", "rate_limit", "expires_at")}),
    )
    actions: ClassVar = ["revoke_selected"]
    actions_detail: ClassVar = ["revoke"]

    @display(description="State", label={"live": "success", "expired": "warning", "revoked": "danger"})
    def state(self, key: ApiKey) -> str:
        if key.revoked_at:
            return "revoked"
        return "expired" if key.expires_at and key.expires_at <= clock() else "live"

    @display(description="Scopes")
    def granted(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return self.readonly_fields if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        key, text = create_api_key(
            tenant=obj.tenant,
            scopes=[Scope(scope) for scope in obj.scopes],
            name=obj.name,
            sandbox=obj.sandbox,
            rate_limit=obj.rate_limit,
            expires_at=obj.expires_at,
        )
        obj.pk, obj.prefix, obj.created_at = key.pk, key.prefix, key.created_at
        obj.text = text  # type: ignore[attr-defined] # for the page that follows, and nothing else

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """The one page that shows the key: made in answer to the form, kept neither in a session nor in a cookie."""
        context = {
            **self.admin_site.each_context(request),
            "title": "API key created",
            "opts": self.opts,
            "key": obj,
            "text": obj.text,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "admin/tenants/apikey/created.html", context)

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        revoke_api_keys(keys=queryset)
        self.message_user(request, "The selected keys are revoked.", messages.SUCCESS)

    @action(
        description="Revoke",
        permissions=["change"],
        icon="key_off",
        variant=ActionVariant.DANGER,
        dialog=confirmation("Revoke this key?", "It is refused from now on. This cannot be undone.", "Revoke"),
    )
    def revoke(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        key = self.get_object(request, object_id)
        if key is not None:
            revoke_api_keys(keys=[key])
            self.log_change(request, key, "Revoked.")
            self.message_user(request, f"{key} is revoked.", messages.SUCCESS)
        return leave_for(reverse("admin:tenants_apikey_change", args=[object_id]), request)
