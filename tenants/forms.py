"""Form fields of the admin for the shared vocabulary."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from tenants.models import ApiKey, Tenant
from tenants.vocabulary import Channel, Scope


class ChannelsField(forms.TypedMultipleChoiceField):
    """A set of channels, ticked."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            choices=[(channel.value, channel.label) for channel in Channel],
            coerce=int,
            widget=UnfoldAdminCheckboxSelectMultipleWidget,
            **{"required": False, **kwargs},
        )


class TenantForm(forms.ModelForm):  # type: ignore[type-arg]
    default_channels = ChannelsField(help_text=Tenant._meta.get_field("default_channels").help_text)

    class Meta:
        help_texts = {"is_active": "Off: its keys and tokens are refused. Nothing is deleted."}


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, scope.value) for scope in Scope],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="admin includes all the others.",
    )

    class Meta:
        model = ApiKey
        fields = ("tenant", "name", "scopes", "sandbox", "rate_limit", "expires_at")
        help_texts = {"name": "Who uses it: the application's name, say.", "expires_at": "Empty: never."}
