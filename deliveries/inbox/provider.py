"""In-app: the item is in PostgreSQL already; handing over is telling the user's open sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import ClassVar

from django.utils.timezone import now as clock

from deliveries.inbox.frames import InboxFrame
from deliveries.inbox.publisher import InboxUnavailableError, publish
from deliveries.providers.base import Provider
from deliveries.providers.messages import Answer, Failed, Failure, Message, Outcome, Refusal, Sent, never
from tenants.vocabulary import Channel


class InAppProvider(Provider):
    name: ClassVar[str] = "in_app"
    channel: ClassVar[Channel] = Channel.IN_APP

    def send(self, message: Message) -> Outcome:
        return self._publish([message])

    def send_all(self, messages: Sequence[Message], *, refusal: Refusal = never) -> Iterator[Answer]:
        """One trip to Redis for the chunk. There is no vendor, so there are no addresses to check and no secrets to hide."""
        started_at, started = clock(), time.perf_counter()
        outcome = refusal() or self._publish(messages)
        duration_ms = round((time.perf_counter() - started) * 1000)
        return (Answer(index, outcome, started_at, duration_ms) for index in range(len(messages)))

    @staticmethod
    def _publish(messages: Sequence[Message]) -> Outcome:
        try:
            return Sent(at=publish([_frame(message) for message in messages]))
        except InboxUnavailableError as error:
            return Failed(failure=Failure.TRANSIENT, code="redis_unavailable", message=str(error), is_begun=False)


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
