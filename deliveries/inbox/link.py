"""Tells sockets that this process's link to Redis was made anew: what was published in between did not reach them.

The layer reconnects and subscribes again by itself, but says nothing, and a gap shorter than any heartbeat loses messages too.
So this listens where redis-py itself does, on the connection that the layer subscribes with.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet

import structlog
from channels_redis.pubsub import RedisPubSubChannelLayer

logger = structlog.get_logger(__name__)


class Listener(Protocol):
    def link_renewed(self) -> None: ...


class Link:
    """One for each event loop, as is the layer's connection."""

    def __init__(self) -> None:
        self._listeners: WeakSet[Listener] = WeakSet()

    def watch(self, listener: Listener, layer: RedisPubSubChannelLayer) -> None:
        """Call `listener.link_renewed` from now on. To be called once it has subscribed, so that there is a connection."""
        self._listeners.add(listener)
        for shard in layer._get_layer()._shards:
            if shard._pubsub is not None and shard._pubsub.connection is not None:
                shard._pubsub.connection.register_connect_callback(self._renewed)  # once, however often it is called

    def _renewed(self, _connection: Any) -> None:
        logger.warning("inbox_link_renewed", sockets=len(self._listeners))
        for listener in list(self._listeners):
            listener.link_renewed()


_links: WeakKeyDictionary[AbstractEventLoop, Link] = WeakKeyDictionary()


def link() -> Link:
    """The running loop's."""
    return _links.setdefault(asyncio.get_running_loop(), Link())
