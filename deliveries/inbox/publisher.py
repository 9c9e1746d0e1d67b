"""From a worker to the open sockets: frames published straight in the wire format of Channels' pub/sub layer.

The layer's own `group_send` is one round trip on one connection per message; a chunk goes in one, for all its users.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
import structlog
from channels.layers import get_channel_layer
from channels_redis.pubsub import RedisPubSubChannelLayer, RedisPubSubLoopLayer

from deliveries.inbox.frames import InboxFrame, group_of, notification_text
from tenants.redis import client

logger = structlog.get_logger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class InboxUnavailableError(Exception):
    """Redis did not take the frames; none, or in a broken connection all, were published."""


def publish(frames: Sequence[InboxFrame]) -> datetime:
    """Publish a chunk in one round trip; returns the moment of publication by Redis's clock. Raises InboxUnavailableError.

    The chunk is one Redis transaction and goes out in the order of its ids, so (moment, id) is the order in which every
    socket hears of all items of all workers. Record it as the deliveries' `sent_at`: a reconnecting client is brought what
    it missed in that order.
    """
    ordered = sorted(frames, key=lambda frame: frame.delivery_id)
    return _publish(
        (
            group_of(frame.tenant_id, frame.user_id),
            {"type": "inbox.notification", "id": str(frame.delivery_id), "text": notification_text(frame)},
        )
        for frame in ordered
    )


def publish_mark(group: str, token: str) -> datetime:
    """Publish a mark to a group; what a socket of it hears before the mark was published by the moment returned, what it hears
    afterwards later. Raises InboxUnavailableError.
    """
    return _publish([(group, {"type": "inbox.mark", "token": token})])


def announce_change(*, tenant_id: int, user_id: str) -> None:
    """Tell the user's open sockets that its counts changed. Without Redis they learn it with their next change."""
    try:
        _publish([(group_of(tenant_id, user_id), {"type": "inbox.changed"})])
    except InboxUnavailableError as error:
        logger.warning("inbox_change_not_announced", error=str(error))


def _publish(messages: Iterable[tuple[str, Mapping[str, Any]]]) -> datetime:
    layer = _layer()
    pipeline = client().pipeline(transaction=True)
    pipeline.time()
    for group, message in messages:
        pipeline.publish(layer._get_group_channel_name(group), layer.channel_layer.serialize(message))
    try:
        seconds, microseconds = pipeline.execute()[0]
    except redis.RedisError as error:
        raise InboxUnavailableError(f"{type(error).__name__}: {error}") from error
    return _EPOCH + timedelta(seconds=seconds, microseconds=microseconds)


def _layer() -> RedisPubSubLoopLayer:
    return _names_of(get_channel_layer())


@functools.lru_cache(maxsize=1)
def _names_of(layer: RedisPubSubChannelLayer) -> RedisPubSubLoopLayer:
    """The layer's half that knows names. It opens connections on first use only, and here has none."""
    return RedisPubSubLoopLayer(*layer._args, **layer._kwargs, channel_layer=layer)
