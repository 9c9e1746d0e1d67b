"""Forms of the admin: the same checks as the API's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from django import forms
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldAdminURLInputWidget,
    UnfoldBooleanSwitchWidget,
)

from preferences import contact_points
from preferences.contact_points import NORMAL_FORM, InvalidContactPointError, comparable
from preferences.fields import EVENT_TYPE_PATTERN
from preferences.quiet_forms import DaysField, WindowsField
from preferences.quiet_hours import EVERY_DAY, fault_of
from tenants.vocabulary import ANY, Channel

_HOURS: Final = ("quiet_hours_start", "quiet_hours_end", "quiet_hours_days")


class RecipientForm(forms.ModelForm):  # type: ignore[type-arg]
    quiet_hours = WindowsField(help_text="When nothing is sent, in the recipient's time zone. Empty: the tenant's.")
    webhook_url = forms.URLField(
        label="Webhook URL", required=False, max_length=2000, assume_scheme="https", widget=UnfoldAdminURLInputWidget
    )
    _normal: ClassVar[Mapping[str, Callable[[str], str]]] = {
        "user_id": contact_points.user_id,
        "email": contact_points.email_address,
        "phone": contact_points.phone_number,
        "telegram_chat_id": contact_points.telegram_chat_id,
        "webhook_url": contact_points.webhook_url,
        "locale": contact_points.language_tag,
    }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name, normal_form in self._normal.items():
            if cleaned.get(name):
                try:
                    cleaned[name] = normal_form(cleaned[name])
                except InvalidContactPointError as error:
                    self.add_error(name, str(error))
        return cleaned


class PreferenceForm(forms.ModelForm):  # type: ignore[type-arg]
    quiet_hours_days = DaysField(label="On days", help_text="On which they begin.")
    no_quiet_hours = forms.BooleanField(
        label="No quiet hours",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Free also of those of the user as a whole and of the tenant.",
    )
    channel = forms.TypedChoiceField(
        choices=[("", "any channel"), *Channel.choices],
        coerce=int,
        empty_value=None,
        required=False,
        widget=UnfoldAdminSelectWidget,
    )

    class Meta:
        help_texts: ClassVar = {
            "user_id": "Empty: the tenant's default, for everybody who did not choose.",
            "event_type": "For example order.shipped; empty: any event type, or the category's.",
            "category": "All event types of a category, instead of one.",
            "quiet_hours_start": "In the recipient's time zone. Empty: those of the user as a whole, or of the tenant.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["no_quiet_hours"] = self.instance.quiet_hours_days == 0
        for name in _HOURS[:2]:
            if name in self.fields:  # nobody who may only look has fields
                self.fields[name].widget.format = "%H:%M"

    def clean_event_type(self) -> str:
        name = "" if self.cleaned_data["event_type"] == ANY else self.cleaned_data["event_type"]
        if name and not re.fullmatch(EVENT_TYPE_PATTERN, name):
            raise forms.ValidationError("The name of an event type, such as order.shipped; empty is any.")
        return str(name)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self._clean_quiet_hours(cleaned)
        if cleaned.get("event_type") and cleaned.get("category"):
            self.add_error("category", "A preference is for an event type or for a category.")
        return cleaned

    def _clean_quiet_hours(self, cleaned: dict[str, Any]) -> None:
        """In the form all days are ticked where the model, which holds every day for None, has none."""
        if self.errors.keys() & set(_HOURS):
            return
        start, end, days = (cleaned[name] for name in _HOURS)
        if cleaned.get("no_quiet_hours"):
            start, end, days = None, None, 0
        elif days == EVERY_DAY:
            days = None
        elif days is None and start is not None:
            self.add_error("quiet_hours_days", "Tick the days on which they begin, or “No quiet hours”.")
        cleaned |= zip(_HOURS, (start, end, days), strict=True)
        if fault := fault_of(start, end, days):
            self.add_error(*fault)


class SuppressionForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("channel") and cleaned.get("address"):
            channel = Channel(cleaned["channel"])
            try:
                cleaned["address"] = comparable(channel, NORMAL_FORM[channel](cleaned["address"]))
            except InvalidContactPointError as error:
                self.add_error("address", str(error))
        return cleaned


class ExplainForm(forms.Form):
    """Which message to explain: an event type, with those declared to choose from, and a channel."""

    event_type = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget(attrs={"list": "event-types"}))
    channel = forms.TypedChoiceField(
        choices=Channel.choices, coerce=lambda value: Channel(int(value)), widget=UnfoldAdminSelectWidget
    )
