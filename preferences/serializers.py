"""The shape of recipients, preferences, topics and suppressions in the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.utils import timezone
from rest_framework import serializers

from preferences.contact_points import NORMAL_FORM, InvalidContactPointError, comparable
from preferences.fields import (
    AnyChannelField,
    AnyEventTypeField,
    AttributesField,
    ClockField,
    ClosingField,
    EmailField,
    LocaleField,
    NormalField,
    PhoneField,
    PushTokenField,
    SwitchField,
    TelegramChatField,
    TextField,
    TimezoneField,
    UserIdField,
    WebhookUrlField,
)
from preferences.models import DeliveryMode, Recipient, Suppression
from preferences.quiet_fields import DaysField, WindowsField
from preferences.quiet_hours import written
from preferences.quiet_now import Quiet
from preferences.services import RecipientData
from tenants.http.problems import FieldError, InvalidRequest, field_errors
from tenants.http.serializers import CamelSerializer, CodedField
from tenants.vocabulary import Channel

MOST_DEVICES: Final = 100
MOST_RECIPIENTS: Final = 1000


class _DevicesField(serializers.ListField):
    """The tokens of a recipient's live devices; `recipients_with_devices` fetches them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=PushTokenField(), max_length=MOST_DEVICES, **kwargs)

    def get_attribute(self, instance: Recipient) -> Any:
        return getattr(instance, "live_devices")  # noqa: B009  set by the prefetch


class RecipientBody(CamelSerializer):
    """Where a recipient is reached, and what is known of it. Null: none."""

    email = EmailField()
    phone = PhoneField()
    push_tokens = _DevicesField(required=False)
    telegram_chat_id = TelegramChatField()
    webhook_url = WebhookUrlField()
    locale = LocaleField()
    timezone = TimezoneField()
    attributes = AttributesField(required=False)
    quiet_hours = WindowsField(required=False, help_text="When nothing is sent, in the recipient's time zone.")


class _Named(CamelSerializer):
    user_id = UserIdField(read_only=True)


class RecipientSerializer(_Named, RecipientBody):
    """A recipient."""

    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)


class RecipientRow(RecipientBody):
    """One of many recipients in a body."""

    user_id = UserIdField(required=True, allow_null=False, allow_blank=False)


class RecipientsBody(CamelSerializer):
    """Each is checked by itself."""

    recipients = serializers.ListField(child=RecipientRow(), min_length=1, max_length=MOST_RECIPIENTS)


class RowErrorSerializer(CamelSerializer):
    """One fault of one recipient, by its place in the list."""

    index = serializers.IntegerField(min_value=0)
    line = serializers.IntegerField(min_value=2, required=False, help_text="Of CSV: the line that the row begins on.")
    user_id = serializers.CharField(allow_null=True)
    field = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()


class BulkReportSerializer(CamelSerializer):
    """What became of the recipients."""

    success = serializers.BooleanField(help_text="Whether every row was taken.")
    created = serializers.IntegerField(min_value=0)
    updated = serializers.IntegerField(min_value=0)
    rejected = serializers.IntegerField(min_value=0)
    errors = RowErrorSerializer(many=True)  # type: ignore[assignment]  # a serializer keeps its own errors elsewhere


def read_rows(rows: Sequence[Any]) -> tuple[list[RecipientData], list[dict[str, Any]]]:
    """The good rows, and what is wrong with the others; a user id named twice is taken once, the first time.

    A row whose shape was found wrong before stands there as its fault.
    """
    reader = RecipientRow()
    good: dict[str, RecipientData] = {}
    errors: list[dict[str, Any]] = []
    for index, row in enumerate(rows):
        if isinstance(row, FieldError):
            errors.append(_row_error(index, row, row))
            continue
        try:
            data = RecipientData(**reader.run_validation(row))
        except serializers.ValidationError as error:
            errors += [_row_error(index, row, fault) for fault in field_errors(error)]
            continue
        if data.user_id in good:
            errors.append(_row_error(index, row, FieldError("userId", "repeated", "An earlier row has this user id.")))
        else:
            good[data.user_id] = data
    return list(good.values()), errors


def _row_error(index: int, row: Any, fault: FieldError) -> dict[str, Any]:
    user_id = row.get("userId") if isinstance(row, dict) else None
    return {
        "index": index,
        "user_id": user_id if isinstance(user_id, str) else None,
        "field": fault.field,
        "code": fault.code,
        "message": fault.message,
    }


class ExportSerializer(CamelSerializer):
    """All that is known of a user. Lists of other rooms are shaped as where they are read one by one."""

    user_id = serializers.CharField()
    exported_at = serializers.DateTimeField()
    recipient = RecipientSerializer(allow_null=True)
    devices = serializers.ListField(child=serializers.DictField(), help_text="With those that are retired.")
    preferences = serializers.ListField(child=serializers.DictField())
    subscriptions = serializers.ListField(child=serializers.DictField())
    suppressions = serializers.ListField(child=serializers.DictField(), help_text="Of the addresses it has now.")
    events = serializers.ListField(child=serializers.DictField(), help_text="Of `to`, the user's own entries only.")
    deliveries = serializers.ListField(child=serializers.DictField(), help_text="With attempts and receipts.")
    inbox = serializers.ListField(child=serializers.DictField())
    status_messages = serializers.ListField(child=serializers.DictField(), help_text="What status webhooks were told of it.")


class PreferencePatch(CamelSerializer):
    """What can be changed on a rung. Quiet hours are in the recipient's time zone; both null: it says nothing of them."""

    enabled = SwitchField(required=False)
    quiet_hours_start = ClockField(required=False, allow_null=True)
    quiet_hours_end = ClosingField(required=False, allow_null=True)
    quiet_hours_days = DaysField(
        help_text="On which days they begin. Null: on every day. `[]`: on none, which makes it free of any quiet hours; "
        "start and end may then be left out."
    )
    delivery = serializers.ChoiceField(choices=DeliveryMode.values, required=False)


class _Placed(CamelSerializer):
    id = serializers.UUIDField(read_only=True)
    user_id = UserIdField(help_text="Null: the tenant's default.")
    channel = AnyChannelField(required=False)
    event_type = AnyEventTypeField(required=False)
    category = NormalField(max_length=100)


class PreferenceSerializer(_Placed, PreferencePatch):
    """A rung of a user's ladder, or of the tenant's default one, which belongs to no user."""

    source = NormalField(  # type: ignore[assignment]  # DRF's fields have a `source` too
        read_only=True,
        help_text="Where the user chose so: `centre` or `unsubscribe`. Null: set by the API or by staff.",
    )
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("event_type") and attrs.get("category"):
            raise InvalidRequest.field("category", "A preference is for an event type or for a category.", "contradiction")
        if ("quiet_hours_start" in attrs) != ("quiet_hours_end" in attrs):
            raise InvalidRequest.field("quietHoursEnd", "Quiet hours need a start and an end.", "incomplete")
        return attrs


class PreferenceLinkSerializer(CamelSerializer):
    """A link that opens one user's preference centre."""

    url = serializers.URLField()
    expires_at = serializers.DateTimeField()


class QuietSerializer(CamelSerializer):
    """Which quiet hours hold, whose they are, and whether it is quiet now."""

    quiet_hours = WindowsField()
    timezone = serializers.CharField(read_only=True, help_text="The one they are in: the recipient's, else the tenant's.")
    level = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text="Who says so: `user.quiet_hours`, `tenant.quiet_hours`, a preference's level, or `event_type.required`, "
        "which none hold back. Null: nobody has any.",
    )
    quiet_until = serializers.DateTimeField(read_only=True, allow_null=True, help_text="When they end, if it is quiet now.")


class QuietHoursSerializer(QuietSerializer):
    """The quiet hours of a user as a whole, or of the tenant for everybody who has none."""

    user_id = serializers.CharField(read_only=True, allow_null=True, help_text="Null: the tenant's.")


def shown_quiet(quiet: Quiet) -> dict[str, Any]:
    return {
        "quiet_hours": written(quiet.windows),
        "timezone": quiet.timezone,
        "level": quiet.level or None,
        "quiet_until": quiet.until,
    }


class DecidedSerializer(CamelSerializer):
    """What holds for a user, and the rung that says so."""

    user_id = serializers.CharField(allow_null=True)
    channel = AnyChannelField()
    event_type = AnyEventTypeField()
    category = NormalField()
    quiet_hours_start = ClockField(allow_null=True, help_text="Of the rung that decided; null: it says nothing of quiet hours.")
    quiet_hours_end = ClockField(allow_null=True)
    quiet_hours_days = DaysField(help_text="On which days they begin. Null: on every day. `[]`: no quiet hours hold.")
    delivery = serializers.ChoiceField(choices=DeliveryMode.values)
    level = serializers.CharField(help_text="Which rung decided, as in docs/preferences.md, e.g. user.channel_type.")
    rule = serializers.UUIDField(allow_null=True, help_text="The preference that decided, if one did.")
    why = serializers.CharField(help_text="The same in a sentence.")


class EffectivePreferenceSerializer(DecidedSerializer):
    """What holds for a user, whichever rung says so."""

    enabled = serializers.BooleanField()


class StepSerializer(CamelSerializer):
    """One step of the ladder."""

    level = serializers.CharField()
    rule = serializers.UUIDField(allow_null=True)
    enabled = serializers.BooleanField(allow_null=True, help_text="What the preference on this rung says; null: there is none.")
    decides = serializers.BooleanField()


class ExplanationSerializer(DecidedSerializer):
    """Whether a user would get it, and why."""

    outcome = serializers.ChoiceField(choices=["allowed", "suppressed"])
    quiet = QuietSerializer(help_text="Which quiet hours it would be held in, unless it is urgent.")
    ladder = StepSerializer(many=True, help_text="Every step, the most specific first.")


class TopicSerializer(CamelSerializer):
    """A named list of recipients."""

    id = serializers.UUIDField()
    key = serializers.CharField()
    name = serializers.CharField()
    created_at = serializers.DateTimeField()


class SubscriptionSerializer(CamelSerializer):
    """A recipient on a topic."""

    topic = serializers.CharField()
    user_id = serializers.CharField()


class DeviceExport(CamelSerializer):
    """A device in a user's export."""

    token = serializers.CharField()
    platform = serializers.CharField()
    created_at = serializers.DateTimeField()
    retired_at = serializers.DateTimeField(allow_null=True, help_text="When the provider said that it knows the token no more.")


class SubscriptionExport(CamelSerializer):
    """A topic that a user is on, in the user's export."""

    topic = serializers.CharField(source="topic.key")
    name = serializers.CharField(source="topic.name")
    created_at = serializers.DateTimeField()


class SuppressionSerializer(CamelSerializer):
    """An address that must not be sent to."""

    id = serializers.UUIDField(read_only=True)
    channel = CodedField(Channel)
    address = TextField(max_length=4096)
    reason = serializers.ChoiceField(choices=Suppression.Reason.values, required=False)
    detail = TextField(max_length=1000, required=False, allow_blank=True)
    created_at = serializers.DateTimeField(read_only=True)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        try:
            address = NORMAL_FORM[attrs["channel"]](attrs["address"])
        except InvalidContactPointError as error:
            raise InvalidRequest.field("address", str(error)) from error
        if attrs.get("expires_at") is not None and attrs["expires_at"] <= timezone.now():
            raise InvalidRequest.field("expiresAt", "This time has passed.", "past")
        return attrs | {"address": comparable(attrs["channel"], address)}
