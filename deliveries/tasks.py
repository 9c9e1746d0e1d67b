"""The Celery task of the status webhooks; those of the pipeline are in `notifications.tasks`."""

from __future__ import annotations

from celery import shared_task

from deliveries import bells, desks
from deliveries.queues import STATUS_WEBHOOKS_TASK
from deliveries.status_webhooks.claims import CLAIM_SIZE
from deliveries.status_webhooks.sending import dispatch


@shared_task(name=STATUS_WEBHOOKS_TASK)
def send_status_webhooks() -> None:
    """Answer the bell: tell tenants' own servers what is due, until nothing is."""
    bells.answer_status_webhooks()
    while not desks.is_closed() and (claimed := dispatch()):
        if claimed == CLAIM_SIZE:
            bells.ring_status_webhooks()  # others may join in
