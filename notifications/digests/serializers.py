"""The shape of digests and their schedules in the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from deliveries.serializers import TextOrNull, TrueOrFalse
from notifications.digests.models import LONGEST_WINDOW_S, MOST_ITEMS, SHORTEST_WINDOW_S, Cadence, Digest, DigestSchedule
from notifications.digests.selectors import MOST_SHOWN
from notifications.patterns import validate_pattern
from notifications.serializers import ModelShape, as_field_error
from preferences.fields import EVENT_TYPE_PATTERN, AnyChannelField, ClockField, SwitchField, TextField
from preferences.quiet_hours import DAYS
from tenants.http.queries import Query
from tenants.http.serializers import CamelSerializer, CodedField
from tenants.serializers import SecondsField
from tenants.vocabulary import Channel

_LARGEST = 2**31 - 1


@extend_schema_field({"type": "string", "enum": list(DAYS)})
class WeekdayField(serializers.ChoiceField):
    """A day by its short English name; inside its number, from 0."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=list(DAYS), **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        return DAYS.index(super().to_internal_value(data))

    def to_representation(self, value: Any) -> str:
        return DAYS[value]


class DigestScheduleSerializer(ModelShape):
    model = DigestSchedule

    id = serializers.UUIDField(read_only=True)
    name = TextField(max_length=200)
    event_type = TextField(required=False, max_length=200, help_text="A name or a pattern: order.*")
    category = TextField(required=False, allow_blank=True, max_length=100, help_text="Only event types of this category.")
    channel = AnyChannelField(required=False)
    cadence = serializers.ChoiceField(choices=Cadence.values, required=False)
    at = ClockField(
        required=False, help_text="When it goes out, in the recipient's time zone; of an hourly one, the minute counts."
    )
    weekday = WeekdayField(required=False, help_text="Of a weekly one.")
    window_seconds = SecondsField(
        source="window_s",
        required=False,
        min_value=SHORTEST_WINDOW_S,
        max_value=LONGEST_WINDOW_S,
        help_text="Of a window: from the first item.",
    )
    slides = SwitchField(required=False, help_text="Whether each further item lets the window begin anew.")
    longest_seconds = SecondsField(
        source="longest_s",
        required=False,
        min_value=SHORTEST_WINDOW_S,
        max_value=LONGEST_WINDOW_S,
        help_text="Of a window that slides: when it closes all the same. At least `windowSeconds`.",
    )
    template = serializers.RegexField(
        EVENT_TYPE_PATTERN,
        required=False,
        max_length=200,
        trim_whitespace=False,
        help_text="The event type of the digest's own message, whose templates are used.",
    )
    most_items = SecondsField(
        required=False, min_value=1, max_value=MOST_ITEMS, help_text="Items that the template gets; the others are counted."
    )
    position = SecondsField(
        required=False,
        min_value=-_LARGEST - 1,
        max_value=_LARGEST,
        help_text="Lower is asked first.",
    )
    is_active = SwitchField(required=False)
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)

    def validate_eventType(self, value: str) -> str:  # noqa: N802 - DRF calls it by the field's outer name
        as_field_error(validate_pattern, value)
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        becomes = self.instance or DigestSchedule()
        cadence, slides, window_s, longest_s = (
            attrs.get(name, getattr(becomes, name)) for name in ("cadence", "slides", "window_s", "longest_s")
        )
        if cadence == Cadence.WINDOW and slides and longest_s < window_s:
            message = f"A window of {window_s} s that slides lasts at least as long; {longest_s} s are too short."
            raise serializers.ValidationError({"longestSeconds": [message]}, code="too_short")
        return attrs


class DigestQuery(Query):
    paged = True

    user_id = serializers.CharField(required=False, max_length=255, trim_whitespace=False)
    channel = CodedField(Channel, required=False)
    open = TrueOrFalse(required=False, help_text="true: those that still collect. false: those that are closed.")


class DigestSerializer(CamelSerializer):
    id = serializers.UUIDField()
    user_id = TextOrNull(help_text="Null for a recipient who is only an address.")
    address = TextOrNull(help_text="Of a recipient without a user id.")
    channel = CodedField(Channel)
    digest_key = serializers.CharField(allow_blank=True)
    schedule_id = serializers.UUIDField(allow_null=True, help_text="Null: the usual one, daily.")
    template = serializers.CharField(help_text="The event type of its message.")
    sandbox = serializers.BooleanField()
    opened_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True, help_text="When it was taken up: nothing joins it any more.")
    finished_at = serializers.DateTimeField(allow_null=True, help_text="When its message was handed to the pipeline.")
    item_count = serializers.SerializerMethodField(method_name="get_item_count")
    sent_count = serializers.IntegerField(help_text="Once it is finished: of the items, those that went into the message.")
    event_id = TextOrNull(help_text="The event that carries the message; null until it is finished, or if nothing was left.")
    error = TextOrNull(help_text="Why it came to no message.")

    def get_item_count(self, digest: Digest) -> int:
        """What it holds now; once it is finished, what it held."""
        holding: Mapping[Any, int] = self.context.get("holding", {})
        return digest.item_count if digest.finished_at else holding.get(digest.pk, 0)


class DigestItemSerializer(CamelSerializer):
    delivery_id = serializers.UUIDField(source="id")
    event_id = serializers.CharField()
    event_type = serializers.CharField()
    collected_at = serializers.DateTimeField(source="created_at", help_text="When its delivery was written.")


class DigestDetailSerializer(DigestSerializer):
    items = DigestItemSerializer(
        many=True,
        source="shown",
        help_text=f"The first {MOST_SHOWN}: what it holds; once it is finished, what went into the message.",
    )
