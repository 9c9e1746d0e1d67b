"""In which order the pipeline's messages are taken from the broker."""

from __future__ import annotations

from config.celery import app
from deliveries import bells
from deliveries.queues import ENRICH_TASK, PIPELINE
from notifications import tasks
from notifications.queues import FILTER_TASK, ROUTE_TASK, SERIALIZER
from tenants import redis

PATIENCE_S = 20


def test_what_is_on_its_way_goes_before_what_is_not_begun():
    """Else chunks of a flood that were taken up long ago would stand before an urgent event that comes now."""
    redis.client().flushdb()
    assert bells.ring_enrich(again=True)
    assert bells.ring_enrich(again=True)
    tasks.filter_.apply_async((b"a chunk",), serializer=SERIALIZER)
    tasks.route.apply_async((b"a chunk",), serializer=SERIALIZER)
    with app.connection_for_read() as connection, connection.SimpleQueue(PIPELINE) as queue:
        taken = []
        for _ in range(4):
            message = queue.get(timeout=PATIENCE_S)
            message.ack()
            taken.append(message.headers["task"])
    assert taken == [FILTER_TASK, ROUTE_TASK, ENRICH_TASK, ENRICH_TASK]
