"""What this room tells in a user's export (`preferences.export`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models.fields.json import KeyTextTransform
from rest_framework import serializers

from deliveries.inbox.selectors import SHOWN
from deliveries.inbox.serializers import ItemSerializer
from deliveries.models import Delivery, StatusMessage
from deliveries.selectors import deliveries_with_history
from deliveries.serializers import DeliveryDetailSerializer, TextOrNull
from deliveries.status_webhooks.models import MessageState
from preferences.export import in_pages, in_pages_of_ids
from tenants.http.serializers import CamelSerializer, CodedField
from tenants.models import Tenant
from tenants.vocabulary import Channel


class StatusMessageExport(CamelSerializer):
    id = serializers.UUIDField()
    type = serializers.CharField()
    payload = serializers.JSONField()
    state = CodedField(MessageState)
    response_code = TextOrNull()
    response_excerpt = TextOrNull()
    created_at = serializers.DateTimeField()


def deliveries_of(tenant: Tenant, user_id: str) -> Iterator[Any]:
    """The user's deliveries on all channels, with attempts and receipts."""
    rows = deliveries_with_history(tenant).filter(user_id=user_id)
    return (DeliveryDetailSerializer(row).data for row in in_pages(rows))


def items_of(tenant: Tenant, user_id: str) -> Iterator[Any]:
    """What the user's inbox shows, archived items too, as the inbox's own API shows them."""
    rows = Delivery.objects.for_tenant(tenant).filter(user_id=user_id, channel=Channel.IN_APP, status__in=SHOWN)
    return (ItemSerializer(row).data for row in in_pages(rows))


def status_messages_of(tenant: Tenant, user_id: str) -> Iterator[Any]:
    """What was, or is to be, posted to the tenant's own servers about the user."""
    rows = StatusMessage.objects.for_tenant(tenant).alias(about=KeyTextTransform("userId", "payload")).filter(about=user_id)
    return (StatusMessageExport(row).data for row in in_pages_of_ids(rows))
