"""Messages for tests of providers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from uuid_utils.compat import uuid7

from deliveries.accounts import ConfiguredProvider
from deliveries.providers.base import Provider
from deliveries.providers.messages import Message, Outcome, Refusal, never
from tenants.vocabulary import Channel, Priority

ADDRESSES = {
    Channel.EMAIL: "ada@example.com",
    Channel.SMS: "+4915112345678",
    Channel.PUSH: "token-1",
    Channel.IN_APP: "user_1",
    Channel.CHAT: "4711",
    Channel.WEBHOOK: "https://example.com/hook",
}


def a_message(channel: Channel, *addresses: str, **values: Any) -> Message:
    defaults: dict[str, Any] = {
        "delivery_id": uuid7(),
        "attempt": 1,
        "channel": channel,
        "tenant_id": 1,
        "priority": Priority.NORMAL,
        "addresses": addresses or (ADDRESSES[channel],),
        "subject": "Your order",
        "body": "It has shipped.",
        "html": "",
        "data": {"orderId": "o-1"},
        "event_id": "evt_1",
        "event_type": "order.shipped",
        "user_id": "user_1",
        "created_at": datetime(2026, 11, 21, 3, 0, tzinfo=UTC),
    }
    return Message(**{**defaults, **values})


def send_all(
    provider: Provider | ConfiguredProvider, messages: Sequence[Message], *, refusal: Refusal = never
) -> list[Outcome]:
    """One outcome for each message, in their order."""
    answers = sorted(provider.send_all(messages, refusal=refusal), key=lambda answer: answer.place)
    assert [answer.place for answer in answers] == list(range(len(messages)))
    return [answer.outcome for answer in answers]
