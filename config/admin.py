"""The admin's accounts, and tenants with what the rooms above them give a new one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from preferences.quiet_admin import ShowsQuietHours
from preferences.quiet_forms import WindowsField
from templates_app.catch_all import seed_catch_all
from tenants.admin import TenantAdmin
from tenants.forms import TenantForm
from tenants.models import Tenant

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    pass


class InstallationTenantForm(TenantForm):
    quiet_hours = WindowsField(help_text="For recipients who have none, each in their own time zone.")


@admin.register(Tenant)
class InstallationTenantAdmin(ShowsQuietHours, TenantAdmin):
    """A new tenant can send at once: it has a template for anything."""

    form = InstallationTenantForm
    list_display = (*TenantAdmin.list_display, "hours")
    fieldsets = (*TenantAdmin.fieldsets, ("Quiet hours", {"fields": ("quiet_hours",)}))

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            seed_catch_all(obj)
