"""In-app: the item is in PostgreSQL already; handing over is telling the user's open sockets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from deliveries.inbox.frames import InboxFrame
from deliveries.inbox.publisher import InboxUnavailableError, publish
from deliveries.providers.base import Failed, Failure, Message, Outcome, Provider, Sent
from tenants.vocabulary import Channel


class InAppProvider(Provider):
    name: ClassVar[str] = "in_app"
    channel: ClassVar[Channel] = Channel.IN_APP

    def send(self, message: Message) -> Outcome:
        return self.send_all([message])[0]

    def send_all(self, messages: Sequence[Message], *, begin_until: float = math.inf) -> list[Outcome]:
        """One trip to Redis for the chunk. There is no vendor, so there are no addresses to check and no secrets to hide."""
        try:
            moment = publish([_frame(message) for message in messages])
        except InboxUnavailableError as error:
            failed = Failed(failure=Failure.TRANSIENT, code="redis_unavailable", message=str(error), is_begun=False)
            return [failed] * len(messages)
        return [Sent(at=moment)] * len(messages)


def _frame(message: Message) -> InboxFrame:
    return InboxFrame(
        tenant_id=message.tenant_id,
        user_id=message.user_id,
        delivery_id=message.delivery_id,
        event_type=message.event_type,
        title=message.subject,
        body=message.body,
        data=message.data,
        created_at=message.created_at,
    )
