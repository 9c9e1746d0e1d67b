"""Fields of this room's API. Stricter than DRF's own, which take a number for text and `"yes"` for true."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Final

import msgspec
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from preferences import contact_points
from preferences.contact_points import InvalidContactPointError
from preferences.services import PushToken
from tenants.vocabulary import ANY, Channel

_EVENT_TYPE: Final = r"[A-Za-z0-9_][A-Za-z0-9_.:\-]*"
EVENT_TYPE_PATTERN: Final = rf"^{_EVENT_TYPE}\Z"
LARGEST_ATTRIBUTES: Final = 16 * 1024
_DEEPEST: Final = 20
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


class TextField(serializers.CharField):
    """A JSON string, kept as it is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class SwitchField(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class NormalField(TextField):
    """Text brought into its normal form. Null, as the empty string, means none, and none is shown as null."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**({"required": False, "allow_null": True, "allow_blank": True} | kwargs))

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return super().run_validation("" if data is None else data)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            return self.normal_form(text) if text else ""
        except InvalidContactPointError as error:
            raise serializers.ValidationError(str(error), code="invalid") from error

    def normal_form(self, text: str) -> str:
        """Raises InvalidContactPointError."""
        return text

    def to_representation(self, value: Any) -> Any:
        return value or None


@extend_schema_field({"type": "string", "format": "email", "maxLength": 254})
class EmailField(NormalField):
    def normal_form(self, text: str) -> str:
        return contact_points.email_address(text)


@extend_schema_field({"type": "string", "examples": ["+4915112345678"], "description": "E.164."})
class PhoneField(NormalField):
    def normal_form(self, text: str) -> str:
        return contact_points.phone_number(text)


@extend_schema_field({"type": ["string", "integer"], "examples": ["123456789", "@channel"]})
class TelegramChatField(NormalField):
    """Telegram's own API gives chat ids as numbers."""

    def normal_form(self, text: str) -> str:
        return contact_points.telegram_chat_id(text)

    def to_internal_value(self, data: Any) -> str:
        return super().to_internal_value(str(data) if isinstance(data, int) and not isinstance(data, bool) else data)


@extend_schema_field({"type": "string", "format": "uri", "maxLength": 2000, "description": "http or https."})
class WebhookUrlField(NormalField):
    def normal_form(self, text: str) -> str:
        return contact_points.webhook_url(text)


@extend_schema_field({"type": "string", "maxLength": 35, "examples": ["de-AT"], "description": "A language tag (RFC 5646)."})
class LocaleField(NormalField):
    def normal_form(self, text: str) -> str:
        return contact_points.language_tag(text)


@extend_schema_field({"type": "string", "examples": ["Europe/Vienna"], "description": "An IANA time zone."})
class TimezoneField(NormalField):
    def normal_form(self, text: str) -> str:
        return contact_points.time_zone(text)


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": contact_points.LONGEST_USER_ID})
class UserIdField(NormalField):
    def normal_form(self, text: str) -> str:
        return contact_points.user_id(text)


@extend_schema_field({"type": "object", "additionalProperties": {}, "description": "The client's own; at most 16 KB."})
class AttributesField(serializers.Field):  # type: ignore[type-arg]
    """A JSON object of the client's own, small and shallow enough to be read with every message."""

    default_error_messages = {
        "type": "Attributes are a JSON object.",
        "size": f"Attributes take at most {LARGEST_ATTRIBUTES // 1024} KB and {_DEEPEST} levels.",
    }

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("type")
        if _depth(data) > _DEEPEST or len(msgspec.json.encode(data)) > LARGEST_ATTRIBUTES:
            self.fail("size")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


_TOKEN_SCHEMA: Final = {"type": "string", "minLength": 1, "maxLength": contact_points.LONGEST_TOKEN, "pattern": "^[!-~]+$"}


@extend_schema_field(
    {
        "oneOf": [
            _TOKEN_SCHEMA,
            {
                "type": "object",
                "required": ["token"],
                "properties": {"token": _TOKEN_SCHEMA, "platform": {"type": "string", "maxLength": 20}},
                "additionalProperties": False,
            },
        ]
    }
)
class PushTokenField(serializers.Field):  # type: ignore[type-arg]
    """Goes in as a token or as `{token, platform}`, comes out as the latter."""

    default_error_messages = {
        "invalid": "A push token is a string, or an object with a token and perhaps a platform, both strings.",
        "platform": "A platform has at most 20 characters.",
    }

    def to_internal_value(self, data: Any) -> PushToken:
        given = {"token": data} if isinstance(data, str) else data
        if not isinstance(given, dict) or not given.keys() <= {"token", "platform"}:
            self.fail("invalid")
        token, platform = given.get("token"), given.get("platform", "")
        if not isinstance(token, str) or not isinstance(platform, str):
            self.fail("invalid")
        if len(platform) > 20:
            self.fail("platform")
        try:
            return PushToken(contact_points.push_token(token), platform)
        except InvalidContactPointError as error:
            raise serializers.ValidationError(str(error), code="invalid") from error

    def to_representation(self, value: Any) -> dict[str, str]:
        return {"token": value.token, "platform": value.platform}


@extend_schema_field({"type": "string", "enum": [ANY, *Channel.api_names()]})
class AnyChannelField(serializers.Field):  # type: ignore[type-arg]
    """A channel by name, or `*`, which is None inside."""

    default_error_messages = {"invalid_choice": "{input} is not a channel."}

    def to_internal_value(self, data: Any) -> Channel | None:
        if data == ANY:
            return None
        if data not in Channel.api_names():
            self.fail("invalid_choice", input=repr(data)[:80])
        return Channel.from_label(data)

    def get_attribute(self, instance: Any) -> Any:
        return super().get_attribute(instance) or ANY  # DRF does not ask a field to represent None

    def to_representation(self, value: Any) -> str:
        return ANY if value == ANY else str(Channel(value).label)


@extend_schema_field(
    {"type": "string", "maxLength": 200, "pattern": rf"^(\*|{_EVENT_TYPE})$", "examples": ["order.shipped", ANY]}
)
class AnyEventTypeField(serializers.RegexField):
    """The name of an event type, or `*`, which is the empty string inside."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(EVENT_TYPE_PATTERN, max_length=200, trim_whitespace=False, **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if data == ANY:
            return ""
        if not isinstance(data, str) and data is not serializers.empty:
            self.fail("invalid")
        return super().run_validation(data)

    def to_representation(self, value: Any) -> str:
        return str(value) or ANY


@extend_schema_field({"type": "string", "pattern": f"^{_CLOCK.pattern}$", "examples": ["22:00"]})
class ClockField(serializers.Field):  # type: ignore[type-arg]
    """A time of day to the minute, `22:00`."""

    default_error_messages = {"invalid": "A time of day is written 22:00, from 00:00 to 23:59."}

    def to_internal_value(self, data: Any) -> dt.time:
        if not isinstance(data, str) or not _CLOCK.fullmatch(data):
            self.fail("invalid")
        return dt.time.fromisoformat(data)

    def to_representation(self, value: dt.time) -> str:
        return f"{value:%H:%M}"


@extend_schema_field({"type": "string", "pattern": f"^({_CLOCK.pattern}|24:00)$", "examples": ["07:00"]})
class ClosingField(ClockField):
    """The end of a window: a time of day, or `24:00`, which is the next day's 00:00 and shown as that."""

    def to_internal_value(self, data: Any) -> dt.time:
        return super().to_internal_value("00:00" if data == "24:00" else data)


def _depth(value: Any, at: int = 0) -> int:
    """How deeply objects and lists are nested; stops looking once it is too deep."""
    if at > _DEEPEST or not isinstance(value, dict | list):
        return at
    inner = value.values() if isinstance(value, dict) else value
    return max((_depth(one, at + 1) for one in inner), default=at + 1)
