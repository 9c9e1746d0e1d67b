"""The shape of status endpoints and their messages in the API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.timezone import now as clock
from rest_framework import serializers

from deliveries.serializers import InstantField, TextOrNull
from deliveries.states import Status
from deliveries.status_webhooks.models import ANNOUNCED, DisabledReason, MessageState, StatusEndpoint, StatusMessage
from deliveries.status_webhooks.services import OVERLAP_H, validate_url
from tenants.http.queries import Query
from tenants.http.serializers import CamelSerializer, CodedField


class AnnouncedField(serializers.ChoiceField):
    """A state that can be heard of, by its API name."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[str(status.label) for status in ANNOUNCED], **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        return int(Status.from_label(super().to_internal_value(data)))

    def to_representation(self, value: Any) -> str:
        return str(Status(value).label)


class EndpointChanges(CamelSerializer):
    url = serializers.CharField(
        max_length=2000, required=False, help_text="https; it may not lead into a private network. It is looked up at once."
    )
    description = serializers.CharField(max_length=200, allow_blank=True, required=False)
    statuses = serializers.ListField(
        child=AnnouncedField(), min_length=1, max_length=len(ANNOUNCED), required=False, help_text="All, if not given."
    )
    is_active = serializers.BooleanField(required=False, help_text="true lets a disabled endpoint begin anew.")

    def validate_url(self, value: str) -> str:
        try:
            validate_url(value)
        except ValidationError as error:
            raise serializers.ValidationError(error.messages, code=error.code or "invalid") from error
        return value

    def validate_statuses(self, value: list[int]) -> list[int]:
        return sorted(set(value))


class NewEndpoint(EndpointChanges):
    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        fields["url"].required = True
        return fields


class EndpointSerializer(CamelSerializer):
    id = serializers.UUIDField()
    url = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    statuses = serializers.ListField(child=AnnouncedField())
    is_active = serializers.BooleanField()
    failing_since = serializers.DateTimeField(allow_null=True, help_text="No success since; null while it answers well.")
    old_secret_until = serializers.SerializerMethodField(method_name="get_old_secret_until")
    disabled_at = serializers.DateTimeField(allow_null=True, help_text="When the service gave it up.")
    disabled_reason = serializers.ChoiceField(
        choices=[reason.value for reason in DisabledReason if reason.value], allow_null=True
    )
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    def get_old_secret_until(self, endpoint: StatusEndpoint) -> datetime | None:
        """Until when the secret before the present one signs as well; null when it does not."""
        return endpoint.old_secret_until if endpoint.old_secret_at(clock()) else None

    def to_representation(self, instance: Any) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        return shown | {"disabledReason": shown["disabledReason"] or None}


class SecretSerializer(CamelSerializer):
    secret = serializers.CharField(help_text="For the receiver's Standard Webhooks library. It is shown this once.")


class RotationRequest(CamelSerializer):
    forget_old = serializers.BooleanField(
        default=False, help_text=f"For a secret that leaked: the old one signs no more. Else both sign for {OVERLAP_H} hours."
    )


class RotatedSecretSerializer(SecretSerializer):
    old_secret_until = serializers.DateTimeField(allow_null=True, help_text="Until then the old one signs as well.")


class CreatedEndpointSerializer(EndpointSerializer, SecretSerializer):
    """An endpoint with its secret, which is shown this once."""


class StatusMessageSerializer(CamelSerializer):
    id = serializers.UUIDField(help_text="The webhook-id, the same on every attempt.")
    type = serializers.CharField(help_text="delivery.sent")
    delivery_id = serializers.UUIDField()
    state = CodedField(MessageState)
    payload = serializers.JSONField(help_text="What is posted as `data`, without the event's metadata.")
    attempt_count = serializers.IntegerField()
    next_attempt_at = serializers.SerializerMethodField(method_name="get_next_attempt_at")
    response_code = TextOrNull(help_text="Of the last attempt: HTTP status, or what failed.")
    response_excerpt = TextOrNull()
    created_at = serializers.DateTimeField(help_text="When the delivery changed.")
    done_at = serializers.DateTimeField(allow_null=True)

    def get_next_attempt_at(self, message: StatusMessage) -> datetime | None:
        """Null when there is nothing left to do."""
        return message.next_attempt_at if message.state == MessageState.PENDING else None


class MessagesQuery(Query):
    paged = True

    state = CodedField(MessageState, required=False)


class ReplayRequest(CamelSerializer):
    state = serializers.ChoiceField(
        choices=["failed", "sent", "all"], default="failed", help_text="all: sent and failed; what is pending is sent anyway."
    )

    def get_fields(self) -> dict[str, Any]:
        times = {
            "from": InstantField(source="since", required=False, help_text="Created at this time or later."),
            "to": InstantField(source="until", required=False, help_text="Created before this time."),
        }
        return super().get_fields() | times


class ReplayedSerializer(CamelSerializer):
    replayed = serializers.IntegerField(help_text="How many are sent again.")
    more = serializers.BooleanField(help_text="Whether there were more than one replay takes, the oldest first.")


class TestAnswerSerializer(CamelSerializer):
    success = serializers.BooleanField()
    response_code = serializers.CharField(help_text="200, http_500, timeout, connect_failed, …")
    response_excerpt = serializers.CharField(allow_blank=True)
