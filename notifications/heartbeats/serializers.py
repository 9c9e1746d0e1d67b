"""The shapes of heartbeats."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import serializers

from notifications.heartbeats.models import LONGEST_S, MISSED, RECOVERED, SHORTEST_S, Heartbeat
from notifications.heartbeats.services import save_heartbeat
from notifications.patterns import validate_pattern
from notifications.rules import LONGEST_EXPRESSION, validate_condition
from tenants.http.queries import Query
from tenants.http.serializers import CamelSerializer
from tenants.serializers import SecondsField

_TYPE = r"^[A-Za-z0-9_][A-Za-z0-9_.:\-]*\Z"


class HeartbeatSerializer(CamelSerializer):
    id = serializers.UUIDField(read_only=True)
    name = serializers.CharField(max_length=200)
    event_type = serializers.CharField(max_length=200, help_text="A name or a pattern: backup.*")
    key = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=LONGEST_EXPRESSION,
        help_text="CEL over payload and event that says of which thing an event speaks. Empty: all of them of one. "
        "A change forgets all keys.",
    )
    every_seconds = SecondsField(source="every_s", min_value=SHORTEST_S, max_value=LONGEST_S)
    grace_seconds = SecondsField(source="grace_s", required=False, min_value=0, max_value=LONGEST_S)
    missed_event_type = serializers.RegexField(_TYPE, max_length=200, required=False, help_text=f"Default: {MISSED}")
    recovered_event_type = serializers.RegexField(_TYPE, max_length=200, required=False, help_text=f"Default: {RECOVERED}")
    is_active = serializers.BooleanField(required=False, help_text="Switched on again, its deadlines begin anew.")
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)

    def validate_eventType(self, value: str) -> str:  # noqa: N802 - DRF calls it by the field's outer name
        return _checked(validate_pattern, value)

    def validate_key(self, value: str) -> str:
        return _checked(validate_condition, value)

    def create(self, validated_data: Any) -> Heartbeat:
        heartbeat = Heartbeat(**validated_data)
        save_heartbeat(heartbeat)
        return heartbeat

    def update(self, instance: Heartbeat, validated_data: Any) -> Heartbeat:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        save_heartbeat(instance)
        return instance


class HeartbeatKeySerializer(CamelSerializer):
    key = serializers.CharField(allow_blank=True, help_text="Empty for the one of a heartbeat without `key`.")
    last_seen_at = serializers.DateTimeField(allow_null=True, help_text="null: declared, and not seen yet.")
    due_at = serializers.DateTimeField(help_text="When it is missing, if nothing comes before.")
    is_missing = serializers.BooleanField()
    missing_since = serializers.DateTimeField(allow_null=True)


class KeysQuery(Query):
    paged = True

    missing = serializers.BooleanField(required=False, help_text="Only those that are missing, or only the others.")


def _checked(check: Any, value: str) -> str:
    try:
        check(value)
    except ValidationError as error:
        raise serializers.ValidationError(error.messages, code=error.code or "invalid") from error
    return value
