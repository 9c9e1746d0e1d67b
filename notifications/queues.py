"""The Celery queues, and the serializer of what travels on them. Imported before Django is set up: no models here."""

from __future__ import annotations

import msgspec
from kombu.serialization import register

from deliveries.queues import (
    DIGESTS_TASK,
    ENRICH_TASK,
    PIPELINE,
    QUEUES,
    RELEASE_TASK,
    STATUS_WEBHOOKS,
    STATUS_WEBHOOKS_TASK,
    send_queue,
)
from tenants.vocabulary import Channel

FILTER_TASK = "notifications.filter"
ROUTE_TASK = "notifications.route"
SEND_IN_APP_TASK = "notifications.send_in_app"

ROUTES = {
    ENRICH_TASK: {"queue": PIPELINE},
    RELEASE_TASK: {"queue": PIPELINE},
    DIGESTS_TASK: {"queue": PIPELINE},
    FILTER_TASK: {"queue": PIPELINE},
    ROUTE_TASK: {"queue": PIPELINE},
    SEND_IN_APP_TASK: {"queue": send_queue(Channel.IN_APP)},
    STATUS_WEBHOOKS_TASK: {"queue": STATUS_WEBHOOKS},
}
"""Tasks with a queue of their own; `notifications.send` names its channel's queue at every call."""

SERIALIZER = "chunk"
"""MessagePack through msgspec."""

register(
    SERIALIZER,
    msgspec.msgpack.encode,  # type: ignore[arg-type] # the stubs know only serializers to text
    msgspec.msgpack.decode,  # type: ignore[arg-type]
    content_type="application/x-notification-chunk",
    content_encoding="binary",
)

__all__ = ["PIPELINE", "QUEUES", "send_queue"]
