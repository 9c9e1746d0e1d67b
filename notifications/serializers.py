"""The shapes of events, event types and rules."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import serializers

from deliveries.serializers import DeliveryDetailSerializer, InstantField
from notifications.models import EventStatus, EventType, Rule
from notifications.options import LONGEST_DELAY_S
from notifications.patterns import validate_pattern
from notifications.rules import validate_condition, validate_recipients
from preferences.models import DeliveryMode
from tenants.http.queries import Query
from tenants.http.serializers import CamelSerializer, CodedField
from tenants.vocabulary import Channel, Priority

MOST_REPLAYED = 1000
REASON = "Why it failed, or has no deliveries: `no_rule_matched`, `no_recipients` or `no_channels`."


class AcceptedSerializer(CamelSerializer):
    """The answer to a posted event."""

    success = serializers.BooleanField()
    event_id = serializers.CharField()
    status = CodedField(EventStatus)
    duplicate = serializers.BooleanField(required=False)


class BulkErrorSerializer(CamelSerializer):
    index = serializers.IntegerField(help_text="Position in `events`, from 0.")
    field = serializers.CharField(allow_blank=True)
    code = serializers.CharField()
    message = serializers.CharField()


class BulkAcceptedSerializer(CamelSerializer):
    success = serializers.BooleanField(help_text="Whether no event was rejected.")
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    rejected = serializers.IntegerField()
    errors = BulkErrorSerializer(many=True)  # type: ignore[assignment] # a field; DRF's attribute is of the instance


class TimelineEntrySerializer(CamelSerializer):
    at = serializers.DateTimeField()
    type = serializers.CharField()
    delivery_id = serializers.UUIDField(required=False)
    channel = serializers.ChoiceField(Channel.api_names(), required=False)
    detail = serializers.CharField(required=False)


class EventSerializer(CamelSerializer):
    """An event as stored."""

    id = serializers.UUIDField()
    event_id = serializers.CharField()
    event_type = serializers.CharField()
    user_id = serializers.CharField(allow_blank=True)
    to = serializers.JSONField(allow_null=True)
    channels = serializers.ListField(child=CodedField(Channel), allow_null=True)
    priority = CodedField(Priority)
    status = CodedField(EventStatus)
    reason = serializers.CharField(allow_blank=True, help_text=REASON)
    error = serializers.CharField(allow_blank=True)
    data = serializers.JSONField()  # type: ignore[assignment] # as above
    metadata = serializers.JSONField()
    sandbox = serializers.BooleanField()
    scheduled_at = serializers.DateTimeField(allow_null=True, help_text="Not processed before this time.")
    expires_at = serializers.DateTimeField(allow_null=True, help_text="What no worker has in hand by then is `expired`.")
    created_at = serializers.DateTimeField()
    processed_at = serializers.DateTimeField(allow_null=True)


class EventQuery(Query):
    paged = True

    event_type = serializers.CharField(required=False, max_length=200, trim_whitespace=False)
    user_id = serializers.CharField(required=False, max_length=255, trim_whitespace=False)
    status = CodedField(EventStatus, required=False)

    def get_fields(self) -> dict[str, Any]:
        times = {
            "from": InstantField(source="since", required=False, help_text="Created at this time or later."),
            "to": InstantField(source="until", required=False, help_text="Created before this time."),
        }
        return super().get_fields() | times


class EventSummarySerializer(CamelSerializer):
    """An event in a list: without its content."""

    id = serializers.UUIDField()
    event_id = serializers.CharField()
    event_type = serializers.CharField()
    user_id = serializers.CharField(allow_blank=True)
    priority = CodedField(Priority)
    status = CodedField(EventStatus)
    reason = serializers.CharField(allow_blank=True, help_text=REASON)
    error = serializers.CharField(allow_blank=True)
    sandbox = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    processed_at = serializers.DateTimeField(allow_null=True)


class EventIdsSerializer(CamelSerializer):
    event_ids = serializers.ListField(
        child=serializers.CharField(max_length=255, trim_whitespace=False), min_length=1, max_length=MOST_REPLAYED
    )


class ReplayedEventsSerializer(CamelSerializer):
    replayed = serializers.ListField(child=serializers.CharField(), help_text="Those that were dead letters, and are no more.")


class ProgressSerializer(CamelSerializer):
    """How far an event has come: of a broadcast, or of one that waits."""

    recipients = serializers.IntegerField(help_text="Of its audience, those that it has come to.")
    of = serializers.IntegerField(allow_null=True, help_text="How many the audience has; null: nobody knows yet.")
    by_status = serializers.DictField(child=serializers.IntegerField(), help_text="Its deliveries.")


class EscalationStepSerializer(CamelSerializer):
    channel = CodedField(Channel)
    after_seconds = serializers.IntegerField(help_text="After the step before it, the first after the event.")


class EventDetailSerializer(EventSerializer):
    digest_key = serializers.CharField(allow_blank=True)
    escalation = EscalationStepSerializer(many=True)
    progress = ProgressSerializer()
    timeline = TimelineEntrySerializer(many=True)
    deliveries = DeliveryDetailSerializer(many=True)


class CanceledSerializer(CamelSerializer):
    success = serializers.BooleanField()
    event_id = serializers.CharField()
    status = CodedField(EventStatus)
    canceled_deliveries = serializers.IntegerField()


class ModelShape(CamelSerializer):
    """A resource written field by field to its model."""

    model: Any

    def create(self, validated_data: Any) -> Any:
        return self.model.objects.create(**validated_data)

    def update(self, instance: Any, validated_data: Any) -> Any:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        instance.save()
        return instance


class EventTypeSerializer(ModelShape):
    model = EventType

    id = serializers.UUIDField(read_only=True)
    name = serializers.RegexField(r"^[A-Za-z0-9_][A-Za-z0-9_.:\-]*\Z", max_length=200)
    category = serializers.CharField(max_length=100, required=False, allow_blank=True)
    description = serializers.CharField(required=False, allow_blank=True)
    default_channels = serializers.ListField(child=CodedField(Channel), required=False, max_length=6)
    default_priority = CodedField(Priority, required=False)
    default_enabled = serializers.BooleanField(required=False)
    required = serializers.BooleanField(  # type: ignore[assignment] # as above
        required=False, help_text="Ignores opt-outs and quiet hours."
    )
    created_at = serializers.DateTimeField(read_only=True)


class RecipientsField(serializers.JSONField):
    """`{"path": CEL}`, `{"userIds": […]}`, `{"topic": key}`, `{"role": name}`, `{"group": name}`, or `{}`."""

    def to_internal_value(self, data: Any) -> Any:
        as_field_error(validate_recipients, data)
        return data


class RuleSerializer(ModelShape):
    model = Rule

    id = serializers.UUIDField(read_only=True)
    name = serializers.CharField(max_length=200)
    event_type = serializers.CharField(max_length=200, help_text="A name or a pattern: order.*")
    condition = serializers.CharField(
        required=False, allow_blank=True, max_length=2000, help_text="CEL over payload and event."
    )
    recipients = RecipientsField(required=False)
    channels = serializers.ListField(child=CodedField(Channel), min_length=1, max_length=6)
    priority = CodedField(Priority, required=False, allow_null=True, help_text="Of what it asks for; null: the event's.")
    template = serializers.RegexField(
        r"^[A-Za-z0-9_][A-Za-z0-9_.:\-]*\Z",
        max_length=200,
        required=False,
        allow_blank=True,
        help_text="The event type whose templates are used; empty: the event's own.",
    )
    delivery = serializers.ChoiceField(
        DeliveryMode.values, required=False, allow_blank=True, help_text="Empty: as the recipient prefers."
    )
    delay_seconds = serializers.IntegerField(
        required=False, min_value=0, max_value=LONGEST_DELAY_S, source="delay_s", help_text="At most 7 days."
    )
    position = serializers.IntegerField(required=False, min_value=-(2**31), max_value=2**31 - 1)
    is_active = serializers.BooleanField(required=False)
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)

    def validate_eventType(self, value: str) -> str:  # noqa: N802 - DRF calls it by the field's outer name
        as_field_error(validate_pattern, value)
        return value

    def validate_condition(self, value: str) -> str:
        as_field_error(validate_condition, value)
        return value


def as_field_error(check: Any, value: Any) -> None:
    try:
        check(value)
    except ValidationError as error:
        raise serializers.ValidationError(error.messages, code=error.code or "invalid") from error
