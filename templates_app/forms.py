"""Forms of the admin: the same checks as the API's, each problem at its field with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from django import forms
from unfold.widgets import (
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from templates_app.errors import Problem
from templates_app.models import Layout, Template
from templates_app.names import clean_event_type, clean_locale
from templates_app.selectors import newest_version
from templates_app.services import content_of
from templates_app.validation import LONGEST, Content, check_content, check_layout, normalise_variables
from tenants.vocabulary import Channel

PLACE: Final = ("tenant", "channel", "event_type", "locale")
_SURROGATE = re.compile("[\ud800-\udfff]")
WORDS: Final = ("subject", "body", "html", "variables")


class SourceField(forms.CharField):
    """A Liquid source in a text area."""

    def __init__(self, part: str, *, rows: int, **kwargs: Any) -> None:
        attrs = {"rows": rows, "class": "template-source", "spellcheck": "false"}
        super().__init__(
            required=False,
            strip=False,
            max_length=LONGEST[part],
            widget=UnfoldAdminTextareaWidget(attrs=attrs),
            **kwargs,
        )


class VariablesField(forms.JSONField):
    """The declared variables as readable JSON."""

    def __init__(self) -> None:
        super().__init__(
            required=False,
            initial=list,
            empty_value=[],
            widget=UnfoldAdminTextareaWidget(attrs={"rows": 6, "class": "template-source", "spellcheck": "false"}),
            help_text='Names, or objects: ["userName", {"name": "order", "required": false, "example": {"id": 7}}]. '
            "One with a default is not required.",
        )

    def prepare_value(self, value: Any) -> str:
        if not isinstance(value, list):
            return str(super().prepare_value(value))
        lines = ",\n".join(f"  {_readable(_shortest(each))}" for each in value)
        return f"[\n{lines}\n]" if lines else "[]"

    def clean(self, value: Any) -> Any:
        cleaned = super().clean(value)
        text = json.dumps(cleaned, ensure_ascii=False)
        # U+0000 and halves of surrogate pairs: JSON may name them, PostgreSQL's jsonb cannot hold them.
        if "\\u0000" in text or _SURROGATE.search(text):
            raise forms.ValidationError("Holds a character that cannot be stored.", code="nul")
        return cleaned


class TemplateForm(forms.ModelForm):  # type: ignore[type-arg]
    subject = forms.CharField(
        required=False,
        strip=False,
        max_length=LONGEST["subject"],
        widget=UnfoldAdminTextInputWidget(attrs={"class": "template-source"}),
        help_text="Push and in-app show it as the title.",
    )
    body = SourceField("body", rows=10, help_text="Text. An e-mail may have html instead.")
    html = SourceField("html", rows=16, label="HTML", help_text="What variables hold is escaped.")
    variables = VariablesField()
    publish_at_once = forms.BooleanField(required=False, initial=True, widget=UnfoldBooleanSwitchWidget)

    class Meta:
        model = Template
        fields = (*PLACE, "name", "layout")
        help_texts = {
            "event_type": "For example order.shipped; * stands for any.",
            "locale": "For example en, de-AT.",
            "name": "For people; it is not sent.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            for name in PLACE:
                if name in self.fields:
                    self.fields[name].disabled = True
            self.fields.pop("publish_at_once", None)
            content = content_of(newest_version(self.instance))
            self.initial.update({name: getattr(content, name) for name in WORDS})
            _choose_from(self, Layout.objects.for_tenant(self.instance.tenant_id))

    def clean_event_type(self) -> str:
        return _checked(clean_event_type, self.cleaned_data["event_type"])

    def clean_locale(self) -> str:
        return _checked(clean_locale, self.cleaned_data["locale"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        layout, tenant = cleaned.get("layout"), cleaned.get("tenant")
        if layout and tenant and layout.tenant_id != tenant.pk:
            self.add_error("layout", "It belongs to another tenant.")
        if cleaned.get("channel") and not set(WORDS) & self.errors.keys():
            problems = check_content(Channel(cleaned["channel"]), self.content)
            _show(self, problems)
            if not problems:
                cleaned["variables"], _ = normalise_variables(cleaned["variables"])
        return cleaned

    @property
    def content(self) -> Content:
        return Content(**{name: self.cleaned_data[name] for name in WORDS})


class LayoutForm(forms.ModelForm):  # type: ignore[type-arg]
    html = SourceField(
        "html", rows=16, label="HTML", help_text="{{ content }} is where the message goes; {{ subject }} is there too."
    )
    text = SourceField("text", rows=8, help_text="Around the text of any channel, with {{ content }} as well.")

    class Meta:
        model = Layout
        fields = ("tenant", "name", "html", "text")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding and "tenant" in self.fields:
            self.fields["tenant"].disabled = True

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "html" in cleaned and "text" in cleaned:
            _show(self, check_layout(html=cleaned["html"], text=cleaned["text"]))
        return cleaned


def _readable(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return json.dumps(value) if _SURROGATE.search(text) else text


def _shortest(variable: Any) -> Any:
    """A normalised variable as one would write it."""
    if not isinstance(variable, dict) or "name" not in variable:
        return variable
    optional = {} if variable.get("required", True) or "default" in variable else {"required": False}
    settings = optional | {key: variable[key] for key in ("default", "example") if key in variable}
    return {"name": variable["name"], **settings} if settings else variable["name"]


def _choose_from(form: forms.ModelForm[Any], layouts: Any) -> None:
    if "layout" in form.fields:
        form.fields["layout"].queryset = layouts  # type: ignore[attr-defined]


def _checked(clean: Any, value: str) -> str:
    try:
        return str(clean(value))
    except ValueError as error:
        raise forms.ValidationError(f"This {error}.", code="invalid") from error


def _show(form: forms.ModelForm[Any], problems: Iterable[Problem]) -> None:
    for problem in problems:
        field = problem.field.partition("[")[0]
        place = f"{problem.field}: " if field != problem.field else ""
        form.add_error(field, forms.ValidationError(f"{place}{problem.message}", code=problem.code))
