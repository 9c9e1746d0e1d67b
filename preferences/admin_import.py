"""The admin's page that takes recipients as CSV, as the API does."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from rest_framework.exceptions import APIException
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSelectWidget

from preferences.imports import import_recipients
from preferences.serializers import MOST_RECIPIENTS
from preferences.spreadsheets import read_sheet
from tenants.http.problems import InvalidRequest
from tenants.models import Tenant


class ImportForm(forms.Form):
    """Whose recipients, and the sheet; `cleaned_data["sheet"]` is read."""

    tenant = forms.ModelChoiceField(queryset=Tenant.objects.all(), widget=UnfoldAdminSelectWidget)
    sheet = forms.FileField(
        label="CSV file",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".csv,text/csv"}),
        allow_empty_file=True,  # what is wrong with it is said by who reads it
        help_text=f"In UTF-8, at most {MOST_RECIPIENTS:,} rows and {settings.MAX_BODY_BYTES // 1024} KB. The first row names "
        "the columns: userId and any of email, phone, pushTokens (separated by spaces), telegramChatId, webhookUrl, locale, "
        "timezone, and attributes.… for attributes. An empty cell empties the field.",
    )

    def clean_sheet(self) -> Any:
        try:
            return read_sheet(self.cleaned_data["sheet"].read(settings.MAX_BODY_BYTES + 1))
        except InvalidRequest as error:
            texts = [f"{one.field}: {one.message}" if one.field else one.message for one in error.errors]
            raise forms.ValidationError(texts) from error
        except APIException as error:
            raise forms.ValidationError(str(error.detail)) from error


class CsvImport(ModelAdmin):
    """The button above the list of recipients, and its page, for staff who may add and change them."""

    actions_list = ("import_csv",)

    def has_import_permission(self, request: HttpRequest) -> bool:
        return bool(self.has_add_permission(request) and self.has_change_permission(request))

    @action(description="Import CSV", url_path="import", permissions=["import"], icon="upload_file")
    def import_csv(self, request: HttpRequest) -> HttpResponse:
        is_sent = request.method == "POST"
        form = ImportForm(request.POST, request.FILES) if is_sent else ImportForm()
        report = import_recipients(form.cleaned_data["tenant"], form.cleaned_data["sheet"]) if form.is_valid() else None
        context = {
            **self.admin_site.each_context(request),
            "title": "Import recipients",
            "opts": self.opts,
            "form": form,
            "report": report,
        }
        return render(request, "admin/preferences/recipient/import.html", context)
