"""The shape of the inbox in the API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from deliveries.inbox.selectors import HIGHEST_COUNT, LISTS
from deliveries.models import Delivery
from tenants.http.queries import Query
from tenants.http.serializers import CamelSerializer


class FlagField(serializers.BooleanField):
    """true or false, and nothing that looks like them."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class DataField(serializers.DictField):
    def get_attribute(self, instance: Delivery) -> dict[str, Any]:
        return instance.data or {}

    def to_representation(self, value: dict[str, Any]) -> dict[str, Any]:
        return value


class InboxQuery(Query):
    paged = True

    status = serializers.ChoiceField(
        choices=[name for name in LISTS if name], required=False, help_text="Absent: whatever is not archived."
    )


class ItemSerializer(CamelSerializer):
    id = serializers.UUIDField()
    event_type = serializers.CharField()
    title = serializers.CharField(source="subject")
    body = serializers.CharField()
    data = DataField(help_text="The event's own data.")  # type: ignore[assignment]  # a property of serializers has this name
    created_at = serializers.DateTimeField()
    seen_at = serializers.DateTimeField(allow_null=True)
    read_at = serializers.DateTimeField(allow_null=True)
    archived_at = serializers.DateTimeField(allow_null=True)


class MarksSerializer(CamelSerializer):
    """What is absent stays as it is."""

    read = FlagField(required=False)
    archived = FlagField(required=False)


class UntilSerializer(CamelSerializer):
    before = serializers.UUIDField(
        required=False, help_text="The newest item the user has been shown: what came after it stays as it is."
    )


class CountsSerializer(CamelSerializer):
    __doc__ = f"Of what is not archived. {HIGHEST_COUNT} stands for that many or more."

    unread = serializers.IntegerField(min_value=0, max_value=HIGHEST_COUNT)
    unseen = serializers.IntegerField(min_value=0, max_value=HIGHEST_COUNT)
    total = serializers.IntegerField(min_value=0, max_value=HIGHEST_COUNT)
