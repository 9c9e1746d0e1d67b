"""Quiet hours in the admin's forms."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextareaWidget

from preferences.quiet_hours import (
    DAYS,
    EVERY_DAY,
    InvalidQuietHoursError,
    days_of,
    names_of,
    of_model,
    written,
)
from preferences.quiet_text import as_text, parsed

HOW_TO_WRITE: Final = (
    "One window a line, such as mon-fri 22:00-07:00; without days, on every day. The days are those on which it begins."
)
_LONGEST: Final = 2000


class WindowsField(forms.CharField):
    """A user's or a tenant's windows, one a line; what is stored is what `quiet_hours.written` returns."""

    def __init__(self, *, help_text: str) -> None:
        placeholder = "mon-fri 22:00-07:00\nsat,sun 00:00-09:00"
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 4, "placeholder": placeholder})
        super().__init__(required=False, max_length=_LONGEST, widget=widget, help_text=f"{help_text} {HOW_TO_WRITE}")

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else as_text(of_model(value))

    def to_python(self, value: Any) -> Any:
        try:
            return written(parsed(super().to_python(value) or ""))
        except InvalidQuietHoursError as error:
            raise forms.ValidationError(str(error)) from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(initial or [], data)


class DaysField(forms.MultipleChoiceField):
    """Days of the week to tick, which are bits outside; none at all is None."""

    def __init__(self, **kwargs: Any) -> None:
        choices = [(name, name.title()) for name in DAYS]
        super().__init__(choices=choices, required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return value
        return names_of(value or EVERY_DAY)

    def clean(self, value: Any) -> Any:
        return days_of(super().clean(value)) or None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)
