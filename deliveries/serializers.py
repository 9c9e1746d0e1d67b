"""The shape of deliveries in the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from rest_framework import serializers

from deliveries.models import Attempt, AttemptOutcome, Delivery, ReceiptKind
from deliveries.replay import MOST_REPLAYED
from deliveries.retry import LONGEST_DELAY_S, MOST_RETRIES
from deliveries.retry_schedules import SOURCES
from deliveries.states import OPEN, Status
from deliveries.statistics import LONGEST_PERIOD_H
from tenants.http.queries import Query
from tenants.http.serializers import CamelSerializer, CodedField
from tenants.serializers import SecondsField
from tenants.vocabulary import Channel, Priority

_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class InstantField(serializers.DateTimeField):
    """RFC 3339 with an offset, handed on in UTC: PostgreSQL takes no offset beyond 16 hours, RFC 3339 does.

    What lies outside the calendar in UTC is its first or last moment, which says the same in a comparison.
    """

    default_error_messages = {"invalid": "Must be a time as in RFC 3339, with its offset: 2026-01-31T12:00:00Z."}

    def to_internal_value(self, value: Any) -> datetime:
        try:
            moment: datetime = msgspec.convert(value, Annotated[datetime, msgspec.Meta(tz=True)])
        except msgspec.ValidationError:
            self.fail("invalid")
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            return _FIRST if moment.year == 1 else _LAST


class TrueOrFalse(serializers.BooleanField):
    """A query parameter's `true` or `false`, and nothing that looks like them."""

    def to_internal_value(self, data: Any) -> bool:
        if data not in {"true", "false"}:
            self.fail("invalid", input=data)
        return bool(data == "true")


class DeliveryQuery(Query):
    paged = True

    user_id = serializers.CharField(required=False, max_length=255, trim_whitespace=False)
    event_id = serializers.CharField(required=False, max_length=255, trim_whitespace=False)
    event_type = serializers.CharField(required=False, max_length=200, trim_whitespace=False)
    channel = CodedField(Channel, required=False)
    status = CodedField(Status, required=False)
    ambiguous = TrueOrFalse(
        required=False,
        help_text="true: those with an attempt of which nobody knows whether it went out, so the recipient may have it twice. "
        "false: those without.",
    )
    held = TrueOrFalse(required=False, help_text="true: those that wait for their time. false: the others.")

    def get_fields(self) -> dict[str, Any]:
        times = {
            "from": InstantField(source="since", required=False, help_text="Created at this time or later."),
            "to": InstantField(source="until", required=False, help_text="Created before this time."),
        }
        return super().get_fields() | times


class StatisticsQuery(Query):
    period = serializers.IntegerField(
        default=24, min_value=1, max_value=LONGEST_PERIOD_H, help_text="How many hours back from now."
    )


class TextOrNull(serializers.CharField):
    """Text that is null outside where it is empty inside."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, **kwargs)

    def to_representation(self, value: Any) -> str | None:  # type: ignore[override]
        return value or None


class RetrySerializer(CamelSerializer):
    address = serializers.CharField(required=False, max_length=4096, help_text="Where to send it instead.")


class RetryManySerializer(CamelSerializer):
    ids = serializers.ListField(child=serializers.UUIDField(), min_length=1, max_length=MOST_REPLAYED)


class RetriedSerializer(CamelSerializer):
    replayed = serializers.ListField(child=serializers.UUIDField(), help_text="Those that were dead letters, and are no more.")


class ActingAccount(CamelSerializer):
    """The tenant's own account that acted, of a row that `selectors` read with its name."""

    id = serializers.UUIDField(source="provider_account_id")
    name = serializers.CharField(source="account_name", allow_null=True, help_text="Null for one that is deleted since.")

    def __init__(self, **kwargs: Any) -> None:
        help_text = "The tenant's own account that acted; null for the installation's and for the sandbox."
        super().__init__(source="*", allow_null=True, help_text=help_text, **kwargs)

    def get_attribute(self, instance: Delivery | Attempt) -> Delivery | Attempt | None:
        return instance if instance.provider_account_id else None


class AttemptSerializer(CamelSerializer):
    number = serializers.IntegerField()
    outcome = serializers.ChoiceField(choices=AttemptOutcome.labels, source="get_outcome_display")
    provider = serializers.CharField()
    provider_account = ActingAccount()
    sandbox = serializers.BooleanField()
    code = TextOrNull(help_text="The provider's code, or ours.")
    response = TextOrNull(help_text="An excerpt of the provider's answer.")
    detail = serializers.JSONField(
        allow_null=True,
        help_text="For push: the outcome for each token. `passedOver`: the accounts that were not asked before this one, "
        "because their circuits were open.",
    )
    started_at = serializers.DateTimeField()
    duration_ms = serializers.IntegerField()


class ReceiptSerializer(CamelSerializer):
    kind = CodedField(ReceiptKind)
    code = TextOrNull(help_text="The provider's code.")
    response = TextOrNull(help_text="An excerpt of what the provider wrote.")
    at = serializers.DateTimeField(help_text="When it happened, by the provider's clock if it says.")
    received_at = serializers.DateTimeField()


class DeliverySerializer(CamelSerializer):
    id = serializers.UUIDField()
    event_id = serializers.CharField()
    event_type = serializers.CharField()
    user_id = TextOrNull(help_text="Null for an inline recipient without one.")
    channel = CodedField(Channel)
    priority = CodedField(Priority)
    status = CodedField(Status)
    reason = TextOrNull(help_text="Why it is in this state, as a code.")
    explanation = serializers.JSONField(allow_null=True, help_text="The rule that decided, its level and its value.")
    sandbox = serializers.BooleanField(help_text="Recorded, and not sent.")
    address = TextOrNull(help_text="Where it goes; push tokens are separated by spaces.")
    locale = TextOrNull()
    subject = serializers.CharField()
    body = serializers.CharField()
    html = serializers.CharField()
    data = serializers.JSONField(allow_null=True)  # type: ignore[assignment] # a property of serializers has this name
    provider = TextOrNull()
    provider_message_id = TextOrNull()
    attempt_count = serializers.IntegerField()
    next_attempt_at = serializers.SerializerMethodField(method_name="get_next_attempt_at")
    held = serializers.BooleanField(
        source="is_held",
        help_text="Whether it waits for its time, `nextAttemptAt`: `reason` says why, `explanation.heldFor` what it waited for "
        "before. All is asked again then.",
    )
    error = TextOrNull()
    accepted_at = serializers.DateTimeField(
        help_text="Since when it could go out: the event was accepted, or due, or what held it back was over."
    )
    created_at = serializers.DateTimeField()
    sent_at = serializers.DateTimeField(allow_null=True)
    delivered_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)

    def get_next_attempt_at(self, delivery: Delivery) -> datetime | None:
        """Null when there is nothing left to do."""
        return delivery.next_attempt_at if delivery.status in OPEN else None


class DeliveryDetailSerializer(DeliverySerializer):
    provider_account = ActingAccount()
    attempts = AttemptSerializer(many=True)
    receipts = ReceiptSerializer(many=True, help_text="What the provider reported after it took the message.")


class LatencySerializer(CamelSerializer):
    """Milliseconds from the event's acceptance to the hand-over; null where nothing was sent."""

    p50 = serializers.FloatField(allow_null=True)
    p95 = serializers.FloatField(allow_null=True)
    p99 = serializers.FloatField(allow_null=True)


class ChannelMetricsSerializer(CamelSerializer):
    channel = CodedField(Channel)
    total = serializers.IntegerField()
    sent = serializers.IntegerField()
    delivered = serializers.IntegerField()
    failed = serializers.IntegerField()
    bounced = serializers.IntegerField()
    suppressed = serializers.IntegerField()
    success_rate = serializers.FloatField(allow_null=True)
    avg_attempts = serializers.FloatField(allow_null=True, help_text="Over the deliveries that were tried.")
    latency_ms = LatencySerializer()


class EventTypeCountSerializer(CamelSerializer):
    event_type = serializers.CharField()
    count = serializers.IntegerField()


class BucketSerializer(CamelSerializer):
    start = serializers.DateTimeField()
    total = serializers.IntegerField()
    sent = serializers.IntegerField()
    delivered = serializers.IntegerField()
    failed = serializers.IntegerField()
    bounced = serializers.IntegerField()
    suppressed = serializers.IntegerField()


class StatisticsSerializer(CamelSerializer):
    period = serializers.CharField(help_text="As asked for: 24h")
    total_deliveries = serializers.IntegerField()
    success_rate = serializers.FloatField(
        allow_null=True,
        help_text="From 0 to 1, of the deliveries that came to an end; null if none did. "
        "What was suppressed or canceled counts neither for nor against.",
    )
    by_status = serializers.DictField(child=serializers.IntegerField())
    channel_metrics = ChannelMetricsSerializer(many=True)
    top_event_types = EventTypeCountSerializer(many=True)
    timeline = BucketSerializer(many=True, help_text="By hour up to three days, else by day; UTC.")


class StatisticsDocument(CamelSerializer):
    stats = StatisticsSerializer()


class NewRetrySchedule(CamelSerializer):
    delays_seconds = serializers.ListField(
        source="delays_s",
        child=SecondsField(min_value=1, max_value=LONGEST_DELAY_S),
        max_length=MOST_RETRIES,
        help_text="The wait before each retry. Empty: one attempt, no retry.",
    )


class RetryScheduleSerializer(CamelSerializer):
    channel = CodedField(Channel)
    delays_seconds = serializers.ListField(child=serializers.IntegerField(), source="delays_s")
    is_default = serializers.BooleanField(help_text="Whether the tenant has no schedule of its own for this channel.")
    source = serializers.ChoiceField(  # type: ignore[assignment] # an attribute of fields has this name
        choices=SOURCES,
        help_text="Whose it is: the tenant's for this channel, the tenant's for every channel, the installation's, our own.",
    )


class RetrySchedulesDocument(CamelSerializer):
    results = RetryScheduleSerializer(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
