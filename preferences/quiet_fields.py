"""Quiet hours in the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from preferences.fields import ClockField, ClosingField
from preferences.quiet_hours import (
    DAYS,
    EVERY_DAY,
    MOST_WINDOWS,
    InvalidQuietHoursError,
    QuietHours,
    checked,
    days_of,
    names_of,
)
from tenants.http.serializers import CamelSerializer


@extend_schema_field(
    {
        "type": "array",
        "items": {"type": "string", "pattern": f"^({'|'.join(DAYS)})$"},
        "uniqueItems": True,
        "maxItems": len(DAYS),
        "examples": [list(DAYS[:5])],
    }
)
class DaysField(serializers.ListField):
    """Days of the week by name, which are bits inside; null is every day."""

    default_error_messages = {"repeated": "A day is named twice."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=serializers.ChoiceField(choices=DAYS), required=False, allow_null=True, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        names = super().to_internal_value(data)
        if len(set(names)) < len(names):
            self.fail("repeated")
        return days_of(names)

    def to_representation(self, data: Any) -> list[Any]:
        return names_of(data)


class WindowSerializer(CamelSerializer):
    """Quiet hours that come again every week. An end that is not after the start is on the next day."""

    start = ClockField()
    end = ClosingField()
    days = DaysField(allow_empty=False, help_text="On which days they begin; left out or null, on every day.")

    def to_internal_value(self, data: Any) -> Any:
        window = super().to_internal_value(data)
        # Django REST framework asks a PATCH for no field at all, not even of what is given whole.
        missing = [name for name in ("start", "end") if name not in window]
        if missing:
            raise serializers.ValidationError(dict.fromkeys(missing, "This field is required."), code="required")
        return window


class WindowsField(serializers.ListField):
    """The quiet hours of a user as a whole, or of a tenant. Null, as the empty list, means none, and none is shown as `[]`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=WindowSerializer(), max_length=MOST_WINDOWS, allow_null=True, **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return super().run_validation([] if data is None else data)

    def to_internal_value(self, data: Any) -> Any:
        windows = [_window(given) for given in super().to_internal_value(data)]
        try:
            return checked(windows)
        except InvalidQuietHoursError as error:
            raise serializers.ValidationError(str(error), code="always_quiet") from error

    def get_attribute(self, instance: Any) -> Any:
        return super().get_attribute(instance) or []  # DRF does not ask a field to represent None

    def to_representation(self, data: Sequence[dict[str, Any]]) -> list[Any]:
        return list(data)


def _window(given: dict[str, Any]) -> QuietHours:
    days = given.get("days")
    return QuietHours(given["start"], given["end"], EVERY_DAY if days is None else days)
