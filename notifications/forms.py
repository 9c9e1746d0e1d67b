"""Forms of the admin: the same checks as the API's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.db.models import Model
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from notifications.models import Rule
from notifications.options import LONGEST_DELAY_S
from notifications.patterns import validate_pattern
from notifications.rules import validate_condition, validate_recipients
from notifications.services import hold_room_for_rule
from preferences.fields import EVENT_TYPE_PATTERN
from tenants.forms import ChannelsField
from tenants.http.problems import Conflict
from tenants.models import Tenant
from tenants.vocabulary import Channel

_NAME = forms.RegexField(regex=EVENT_TYPE_PATTERN).validators


class EventTypeForm(forms.ModelForm):  # type: ignore[type-arg]
    default_channels = ChannelsField(help_text="None: the tenant's default.")

    class Meta:
        help_texts = {"category": "Groups types in people's preferences.", "name": "A dotted name: order.shipped"}

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        for validate in _NAME:
            validate(name)
        return name


def pattern_field(model: type[Model]) -> forms.CharField:
    """For the model's `event_type`."""
    field: Any = model._meta.get_field("event_type")
    return forms.CharField(
        max_length=200,
        validators=[validate_pattern],
        widget=UnfoldAdminTextInputWidget,
        initial=field.get_default() or None,
        help_text=field.help_text,
    )


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    event_type = pattern_field(Rule)
    condition = forms.CharField(
        required=False,
        validators=[validate_condition],
        widget=UnfoldAdminTextareaWidget({"rows": 3, "spellcheck": "false", "style": "font-family: monospace"}),
        help_text=Rule._meta.get_field("condition").help_text,
    )
    channels = ChannelsField(required=True)
    delay_s = forms.IntegerField(
        label="Delay",
        required=False,
        min_value=0,
        max_value=LONGEST_DELAY_S,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Seconds to wait; all is asked again then. Empty: none; at most 7 days.",
    )

    class Meta:
        help_texts = {
            "recipients": 'Empty: the event\'s own recipient. Or one of {"path": "payload.customer.id"}, '
            '{"userIds": ["user_1"]}, {"topic": "staff"}, {"role": "support"}, {"group": "sales"}.',
            "priority": "Of what it asks for; empty: the event's own.",
        }

    def clean_delay_s(self) -> int:
        return self.cleaned_data["delay_s"] or 0

    def clean_template(self) -> str:
        name: str = self.cleaned_data["template"]
        for validate in _NAME if name else ():
            validate(name)
        return name

    def clean_recipients(self) -> dict[str, Any]:
        recipients: dict[str, Any] = self.cleaned_data["recipients"] or {}
        validate_recipients(recipients)
        return recipients

    def clean(self) -> dict[str, Any]:
        return with_room(self, super().clean() or self.cleaned_data, hold_room_for_rule)


def with_room(form: Any, values: dict[str, Any], hold_room: Callable[[Tenant], None]) -> dict[str, Any]:
    """`values`, if the tenant has room for one more or the form adds none; the room is held until the end of the admin's
    transaction, which saves it.
    """
    if form.instance._state.adding and "tenant" in values:
        try:
            hold_room(values["tenant"])
        except Conflict as error:
            raise forms.ValidationError(str(error.detail), code="limit") from error
    return values


def names_of(channels: list[int] | None) -> str:
    return ", ".join(str(Channel(channel).label) for channel in channels or ())
