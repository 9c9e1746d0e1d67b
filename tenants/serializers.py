"""The shape of user tokens in the API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from tenants.http.serializers import CamelSerializer
from tenants.services import LONGEST_TOKEN_TTL

_LONGEST_S = int(LONGEST_TOKEN_TTL.total_seconds())
_USUAL_S = 3600


class UserIdField(serializers.CharField):
    """A JSON string of 1 to 255 characters, kept as it is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=255, trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class SecondsField(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return data


class UserTokenRequest(CamelSerializer):
    user_id = UserIdField()
    ttl_seconds = SecondsField(default=_USUAL_S, min_value=1, max_value=_LONGEST_S)


class UserTokenSerializer(CamelSerializer):
    token = serializers.CharField(help_text="A JWT. For `Authorization: Bearer` and for the inbox's websocket.")
    expires_at = serializers.DateTimeField()
