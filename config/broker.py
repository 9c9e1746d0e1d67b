"""kombu's Redis transport, for messages that may be lost.

All our messages are doorbells, or chunks of work that PostgreSQL holds under a lease.
"""

from __future__ import annotations

from typing import Any

import structlog
from kombu.transport import TRANSPORT_ALIASES, redis
from redis.exceptions import RedisError

logger = structlog.get_logger(__name__)


class Channel(redis.Channel):
    # By default the transport notes in Redis what a worker holds, and gives the worker's slot back only when Redis confirms
    # that the note is gone. Two confirmations lost with a server, and a worker of two slots reads no more, for good.
    ack_emulation = False

    def _restore(self, message: Any, leftmost: bool = False) -> None:
        """Give back what was received and not begun. kombu would write what it cannot give back into a file."""
        try:
            super()._restore(message)
        except (RedisError, OSError) as error:
            logger.info("message_dropped", error=type(error).__name__)


class Transport(redis.Transport):
    Channel = Channel


class SentinelChannel(Channel, redis.SentinelChannel):
    pass


class SentinelTransport(redis.SentinelTransport):
    Channel = SentinelChannel


def register() -> None:
    """Make these the transports of `redis://`, `rediss://` and `sentinel://`."""
    TRANSPORT_ALIASES.update(
        {
            "redis": f"{__name__}:Transport",
            "rediss": f"{__name__}:Transport",
            "sentinel": f"{__name__}:SentinelTransport",
        }
    )
