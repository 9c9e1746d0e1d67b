"""The admin's form for trying a rule: an event as it would be posted, and the answer in words."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from django import forms
from django.conf import settings
from django.utils.timezone import now as clock
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from notifications.dry_run_answers import MOST_LISTED, Because, Reached, RuleTrial
from notifications.intake import read_event
from notifications.models import EventType, Rule
from notifications.rules import is_for
from tenants.http.problems import InvalidRequest
from tenants.vocabulary import Priority

_SOURCE: Final = {"rows": 6, "spellcheck": "false", "style": "font-family: monospace"}
_FIELDS: Final = {
    "eventType": "event_type",
    "userId": "user_id",
    "priority": "priority",
    "data": "payload",
    "metadata": "metadata",
}


class TryForm(forms.Form):
    """An event; once it is valid, `new` in the cleaned data is what posting it would store."""

    event_type = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget)
    user_id = forms.CharField(
        label="User id",
        required=False,
        max_length=255,
        widget=UnfoldAdminTextInputWidget,
        help_text="Empty: the event names nobody, and the rule says whom it is for.",
    )
    priority = forms.ChoiceField(
        required=False,
        choices=[("", "the event type's"), *((name, name) for name in Priority.api_names())],
        widget=UnfoldAdminSelectWidget,
    )
    payload = forms.CharField(
        label="Data",
        initial="{}",
        widget=UnfoldAdminTextareaWidget(_SOURCE),
        help_text="A JSON object; conditions and paths call it payload.",
    )
    metadata = forms.CharField(
        required=False, widget=UnfoldAdminTextareaWidget({**_SOURCE, "rows": 2}), help_text="A JSON object, or nothing."
    )

    @classmethod
    def on(cls, rule: Rule, data: Any = None) -> TryForm:
        """The form on a rule's page, with an event type that the rule is for."""
        return cls(data, prefix="try", initial={"event_type": _example_of(rule)})

    def clean_payload(self) -> msgspec.Raw:
        return _object(self.cleaned_data["payload"])

    def clean_metadata(self) -> msgspec.Raw:
        return _object(self.cleaned_data["metadata"] or "{}")

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return values
        given = {name: values[field] for name, field in _FIELDS.items() if values[field]}
        body = msgspec.json.encode(given)
        if len(body) > settings.MAX_BODY_BYTES:
            raise forms.ValidationError(f"An event is at most {settings.MAX_BODY_BYTES // 1024} KB.", code="too_large")
        try:
            values["new"] = read_event(body, now=clock())
        except InvalidRequest as error:
            for fault in error.errors:
                name = fault.field.partition(".")[0]
                self.add_error(_FIELDS.get(name), fault.message)
        return values


def _object(text: str) -> msgspec.Raw:
    """The text, if it is a JSON object."""
    try:
        msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise forms.ValidationError(f"This is not a JSON object: {error}", code="json") from error
    return msgspec.Raw(text.encode())


def _example_of(rule: Rule) -> str:
    """The first declared event type that the rule is for; else one made of its pattern."""
    names = EventType.objects.for_tenant(rule.tenant_id).order_by("name").values_list("name", flat=True)
    return next((name for name in names if is_for(rule, name)), rule.event_type.replace("*", "example"))


_SENTENCES: Final[dict[Because, str]] = {
    "matched": "The rule matches.",
    "not_asked": "The rule is not asked.",
    "other_type": "The rule is for other event types.",
    "condition_false": "The condition is false.",
    "condition_failed": "The condition cannot be asked of this event, so the rule is passed over.",
    "recipients_failed": "The rule matches, but its recipients cannot be found out, so it names nobody.",
    "no_recipients": "The rule matches, and names nobody.",
}
_ORIGINS: Final = {
    "event": "named by the event",
    "path": "named by the rule's path",
    "userIds": "listed in the rule",
    "topic": "the rule's topic",
}


def in_words(trial: RuleTrial) -> dict[str, Any]:
    """A trial for its page."""
    return {
        "trial": trial,
        "sentence": _SENTENCES[trial.because],
        "condition": {True: "true", False: "false", None: "not asked"}[trial.condition.result],
        "recipients": [(_name_of(one), _ORIGINS[one.origin], ", ".join(one.channels)) for one in trial.recipients],
        "more": len(trial.recipients) == MOST_LISTED < trial.recipient_count,
        "channels": ", ".join(trial.channels),
    }


def _name_of(one: Reached) -> str:
    if one.topic:
        return f"topic {one.topic}, subscribers: {one.subscribers}"
    return one.user_id
