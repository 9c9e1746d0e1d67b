"""The names of the Celery queues and of the tasks that are called by name from rooms below the one that defines them."""

from __future__ import annotations

from tenants.vocabulary import Channel

PIPELINE = "pipeline"
ENRICH_TASK = "notifications.enrich"
RELEASE_TASK = "notifications.release"
DIGESTS_TASK = "notifications.close_digests"
SEND_TASK = "notifications.send"
STATUS_WEBHOOKS = "status_webhooks"
STATUS_WEBHOOKS_TASK = "deliveries.send_status_webhooks"


def send_queue(channel: Channel) -> str:
    """The queue on which deliveries of `channel` are sent: a slow provider holds up its own channel only."""
    return f"send.{channel.label}"


QUEUES = (PIPELINE, *(send_queue(channel) for channel in Channel), STATUS_WEBHOOKS)
