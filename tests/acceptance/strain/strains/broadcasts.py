"""A broadcast to a topic: it grows by pages, survives the death of a worker, and can be stopped half-way."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil

from config.stack.parts import wait_until
from tests.acceptance.stand import Stand, strike_all
from tests.acceptance.strain.strains.base import Outcome, not_final, seconds
from tests.acceptance.strain.world import STRAINED, World

_FINAL_WITHIN_S = 300.0
_BEGUN_WITHIN_S = 60.0
_SAMPLE_EVERY_S = 0.2
_STRUCK_AT = 0.4
_CANCELED_AT = 0.2

_SUBSCRIBERS = """
WITH tenant AS (SELECT id FROM tenants_tenant WHERE slug = %(tenant)s),
topic AS (
    INSERT INTO preferences_topic (id, tenant_id, key, name, created_at)
    SELECT gen_random_uuid(), id, %(topic)s, '', now() FROM tenant RETURNING id
), people AS (
    INSERT INTO preferences_recipient (
        id, tenant_id, user_id, email, phone, telegram_chat_id, webhook_url, locale, timezone, attributes, created_at,
        updated_at
    )
    SELECT gen_random_uuid(), tenant.id, %(topic)s || '-' || n, '', '', '', '', '', '', '{}', now(), now()
    FROM tenant, generate_series(1, %(count)s) n RETURNING id
)
INSERT INTO preferences_subscription (topic_id, recipient_id, created_at)
SELECT topic.id, people.id, now() FROM topic, people RETURNING 1
"""
_WRITTEN = "SELECT count(*), count(DISTINCT user_id) FROM deliveries_delivery WHERE event_id = %s"
_ATTEMPTED_TWICE = """
SELECT count(*) FROM (
    SELECT FROM deliveries_attempt a JOIN deliveries_delivery d ON d.id = a.delivery_id
    WHERE d.event_id = %s AND a.outcome = 0 GROUP BY d.id HAVING count(*) > 1
) twice
"""


def broadcast(world: World, run: str, count: int) -> Outcome:
    """Twice to the same topic: the first loses a worker on its way, the second is canceled."""
    assert len(world.stand.rows(_SUBSCRIBERS, {"tenant": STRAINED, "topic": run, "count": count})) == count
    with world.client(STRAINED) as api, _memory_of(world.stand) as memory:
        words, failures = _whole(world, api, f"{run}all", run, count)
        more_words, more_failures = _half(world, api, f"{run}half", run, count)
    memory_words = f"the largest pipeline process grew by {memory['grown'] / 2**20:.0f} MB"
    return Outcome(f"{words}; {memory_words}; {more_words}", failures + more_failures)


def _whole(world: World, api: httpx.Client, event_id: str, topic: str, count: int) -> tuple[str, list[str]]:
    begun = time.monotonic()
    _post(api, event_id, topic)
    struck = _wait_for(world.stand, event_id, int(count * _STRUCK_AT))
    *_, child = world.stand.family_of("pipeline")
    strike_all([child], signal.SIGKILL)
    final_s = world.stand.wait_final_of(event_id, begun, _FINAL_WITHIN_S)
    failures = not_final(final_s)
    ((written, people),) = world.stand.rows(_WRITTEN, [event_id])
    ((twice,),) = world.stand.rows(_ATTEMPTED_TWICE, [event_id])
    if (written, people, twice) != (count, count, 0):
        failures.append(f"{count} subscribers, {written} deliveries to {people} people, {twice} sent twice")
    progress = _progress(api, event_id)
    if (progress["recipients"], progress["of"]) != (count, count):
        failures.append(f"{count} subscribers, and in the end {progress}")
    return f"{count:,} deliveries, a worker killed at {struck:,}, {seconds(final_s)}, none twice", failures


def _half(world: World, api: httpx.Client, event_id: str, topic: str, count: int) -> tuple[str, list[str]]:
    _post(api, event_id, topic)
    _wait_for(world.stand, event_id, int(count * _CANCELED_AT))
    reply = api.delete(f"/api/events/{event_id}").raise_for_status().json()
    ((written, _),) = world.stand.rows(_WRITTEN, [event_id])
    failures = [] if reply["status"] == "canceled" else [f"the cancel was answered {reply}"]
    failures += not_final(world.stand.wait_final_of(event_id, time.monotonic(), _FINAL_WITHIN_S))
    ((in_the_end, _),) = world.stand.rows(_WRITTEN, [event_id])
    if in_the_end != written or written >= count:
        failures.append(f"{written} deliveries when the cancel was answered, and in the end {in_the_end}")
    return f"a second one canceled at {written:,}, none after", failures


def _post(api: httpx.Client, event_id: str, topic: str) -> None:
    event = {"eventId": event_id, "eventType": "strain", "to": {"topic": topic}, "channels": ["in_app"]}
    api.post("/api/events", json=event).raise_for_status()


def _progress(api: httpx.Client, event_id: str) -> dict[str, Any]:
    progress: dict[str, Any] = api.get(f"/api/events/{event_id}").raise_for_status().json()["progress"]
    return progress


def _wait_for(stand: Stand, event_id: str, recipients: int) -> int:
    """Until the event has come to so many; returns to how many."""
    reached = 0

    def far_enough() -> bool:
        nonlocal reached
        ((reached,),) = stand.rows("SELECT recipient_count FROM notifications_event WHERE event_id = %s", [event_id])
        return reached >= recipients

    assert wait_until(far_enough, _BEGUN_WITHIN_S), f"{event_id} came to {reached} of {recipients}"
    return reached


@contextlib.contextmanager
def _memory_of(stand: Stand) -> Iterator[dict[str, int]]:
    """How much memory the largest of the pipeline's processes takes more than the largest before; known after the block."""
    before, most, ended = _largest(stand), [0], threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_EVERY_S):
            most.append(_largest(stand))

    watcher = threading.Thread(target=watch, name="memory", daemon=True)
    watcher.start()
    found: dict[str, int] = {}
    try:
        yield found
    finally:
        ended.set()
        watcher.join()
        found["grown"] = max(max(most) - before, 0)


def _largest(stand: Stand) -> int:
    sizes = [0]
    with contextlib.suppress(psutil.Error):
        for process in stand.family_of("pipeline"):
            with contextlib.suppress(psutil.Error):
                sizes.append(int(process.memory_info().rss))
    return max(sizes)
