"""The shape of limits in the API."""

from __future__ import annotations

from rest_framework import serializers

from notifications.limits.models import LONGEST_WINDOW_S, MOST_MESSAGES, Excess, Limit, Per
from notifications.patterns import validate_pattern
from notifications.serializers import ModelShape, as_field_error
from preferences.fields import AnyChannelField, SwitchField, TextField
from tenants.serializers import SecondsField


class LimitSerializer(ModelShape):
    model = Limit

    id = serializers.UUIDField(read_only=True)
    name = TextField(max_length=200)
    event_type = TextField(required=False, max_length=200, help_text="A name or a pattern: order.*")
    category = TextField(required=False, allow_blank=True, max_length=100, help_text="Only event types of this category.")
    channel = AnyChannelField(required=False)
    per = serializers.ListField(
        child=serializers.ChoiceField(choices=Per.values),
        required=False,
        max_length=len(Per),
        help_text="What has a count of its own. Empty: one count for the tenant.",
    )
    count = SecondsField(min_value=1, max_value=MOST_MESSAGES, help_text="Messages in any window.")
    window_seconds = SecondsField(source="window_s", min_value=1, max_value=LONGEST_WINDOW_S)
    excess = serializers.ChoiceField(choices=Excess.values, required=False, help_text="What becomes of what is beyond it.")
    is_active = SwitchField(required=False)
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)

    def validate_eventType(self, value: str) -> str:  # noqa: N802 - DRF calls it by the field's outer name
        as_field_error(validate_pattern, value)
        return value

    def validate_per(self, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise serializers.ValidationError("Name each only once.", code="repeated")
        return value
