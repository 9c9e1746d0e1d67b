"""Sending status events: claim → post side by side → record as answers come. No order is promised between events.

A worker that dies in here leaves leases behind; when they run out, its messages are claimed again, under the same ids.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog

from deliveries.patience import BEYOND_LEASE, patiently
from deliveries.providers.excerpts import LONGEST_EXCERPT
from deliveries.providers.kept import provider_for
from deliveries.providers.messages import PROVIDER_FAULT, Failed, Failure, Outcome, Sent
from deliveries.providers.webhook import WebhookProvider
from deliveries.status_webhooks.claims import (
    CLAIM_SIZE,
    ClaimedMessage,
    RecordedMessage,
    claim_messages,
    record_messages,
)
from deliveries.status_webhooks.metadata import EventKey, metadata_of
from deliveries.status_webhooks.models import MessageState, event_name
from deliveries.status_webhooks.schedule import wait_s

logger = structlog.get_logger(__name__)

_RECORD_EVERY_S: Final = 0.25
"""How long answers wait for one another to be recorded together: an endpoint that hangs holds up nobody else's."""
_GONE: Final = "http_410"


def dispatch() -> int:
    """Send what is due, one claim's worth; returns how many messages were claimed."""
    claimed = claim_messages()
    if claimed:
        metadata = metadata_of({_event_of(message) for message in claimed})
        _send(claimed, metadata)
    return len(claimed)


def _send(claimed: Sequence[ClaimedMessage], metadata: Mapping[EventKey, dict[str, Any]]) -> None:
    with ThreadPoolExecutor(min(len(claimed), CLAIM_SIZE), thread_name_prefix="status_webhook") as pool:
        under_way: dict[Future[Outcome], ClaimedMessage] = {
            pool.submit(_post, message, metadata.get(_event_of(message))): message for message in claimed
        }
        while under_way:
            answered, _ = wait(under_way, timeout=_RECORD_EVERY_S)
            _record([(under_way.pop(future), future.result()) for future in answered])


def _post(message: ClaimedMessage, metadata: Mapping[str, Any] | None) -> Outcome:
    data = message.payload if metadata is None else {**message.payload, "metadata": metadata}
    body = body_of(event_name(message.status), message.created_at, data)
    return post(message.url, message.secret, message_id=str(message.id), body=body, old_secret=message.old_secret)


def post(url: str, secret: str, *, message_id: str, body: str, old_secret: str = "") -> Outcome:
    """One POST, signed with both secrets if there are two, within the time limits of the webhook channel. Never raises."""
    try:
        provider = provider_for(WebhookProvider, {"secret": secret})
        assert isinstance(provider, WebhookProvider)
        return provider.post(url, message_id=message_id, body=body, old_secret=old_secret)
    except Exception as error:
        logger.exception("status_webhook_fault", webhook_id=message_id)
        return Failed(failure=Failure.TRANSIENT, code=PROVIDER_FAULT, message=type(error).__name__)


def body_of(name: str, at: datetime, data: Mapping[str, Any]) -> str:
    """The JSON text that is signed and posted: `{type, timestamp, data}`, the payload Standard Webhooks recommends."""
    return msgspec.json.encode({"type": name, "timestamp": at.astimezone(UTC), "data": data}).decode()


def excerpt_of(outcome: Outcome) -> str:
    """What the other side answered; if it did not, why."""
    answer = outcome.response if isinstance(outcome, Sent) else outcome.response or outcome.message
    return answer[:LONGEST_EXCERPT]


def _event_of(message: ClaimedMessage) -> EventKey:
    return message.tenant_id, message.payload["eventId"]


def _record(answered: Sequence[tuple[ClaimedMessage, Outcome]]) -> None:
    if not answered:
        return
    rows = [_judged(message, outcome) for message, outcome in answered]
    until = min(message.lease_until for message, _ in answered) + BEYOND_LEASE
    disabled = patiently(lambda: record_messages(rows=rows), until=until)
    for one in disabled:
        logger.warning("status_endpoint_disabled", endpoint_id=str(one.endpoint_id), tenant_id=one.tenant_id, reason=one.reason)
    for message, outcome in answered:
        if isinstance(outcome, Failed):
            logger.info(
                "status_webhook_failed",
                webhook_id=str(message.id),
                endpoint_id=str(message.endpoint_id),
                attempt=message.attempt,
                code=outcome.code,
            )


def _judged(message: ClaimedMessage, outcome: Outcome) -> RecordedMessage:
    """2xx is success; whatever else is tried again, for as long as the schedule goes."""
    state, delay_s, gone = MessageState.SENT, None, False
    if isinstance(outcome, Failed):
        gone = outcome.code == _GONE
        chance = random.random()  # noqa: S311 - spreads retries
        if not gone:
            delay_s = wait_s(attempt=message.attempt, chance=chance, retry_after_s=outcome.retry_after_s)
        state = MessageState.FAILED if delay_s is None else MessageState.PENDING
    return RecordedMessage(
        id=message.id,
        lease_until=message.lease_until,
        state=state.value,
        wait_ms=None if delay_s is None else round(delay_s * 1000),
        code=outcome.code,
        excerpt=excerpt_of(outcome),
        gone=gone,
    )
