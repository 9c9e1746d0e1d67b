"""Quiet hours in the admin's pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from preferences.models import Preference
from preferences.quiet_hours import QuietHours, of_model, of_preference
from preferences.quiet_text import shown

_NOTHING = "–"


def one_under_another(texts: Iterable[str]) -> SafeString | str:
    lines = format_html_join("", "<div>{}</div>", ((text,) for text in texts))
    return format_html("<div>{}</div>", lines) if lines else _NOTHING  # on a phone, a cell lays its parts side by side


def in_lines(windows: Iterable[QuietHours]) -> SafeString | str:
    """Windows for people, one a line."""
    return one_under_another(map(shown, windows))


def of_rung(preference: Preference) -> str:
    """What a preference says of quiet hours."""
    hours = of_preference(preference.quiet_hours_start, preference.quiet_hours_end, preference.quiet_hours_days)
    return _NOTHING if hours is None else shown(hours)


class ShowsQuietHours:
    """Stands before a `ModelAdmin`: lists, and the page of who may not change a row, show quiet hours as people read them."""

    @display(description="Quiet hours")
    def hours(self, row: Any) -> SafeString | str:
        return of_rung(row) if isinstance(row, Preference) else in_lines(of_model(row.quiet_hours))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        found = super().get_fieldsets(request, obj)  # type: ignore[misc]
        if obj is None or self.has_change_permission(request, obj):  # type: ignore[attr-defined]
            return found
        return [(title, {**options, "fields": tuple(_read(options["fields"]))}) for title, options in found]


def _read(rows: Iterable[Any]) -> Iterator[Any]:
    """A fieldset's rows with `hours` where quiet hours are edited."""
    edited = False
    for row in rows:
        kept = tuple(name for name in ((row,) if isinstance(row, str) else row) if "quiet_hours" not in name)
        if kept:
            yield kept
        elif not edited:
            edited = True
            yield "hours"
