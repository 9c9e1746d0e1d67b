"""`python -m bench.floor NUMBER EVENTS`: the pipeline's own statements on prepared rows, and nothing else.

What it leaves out is what the service is made of: HTTP, decoding, Django, Celery, preferences, rendering. What it keeps is
durable: each chunk is stored, claimed, moved on with its deliveries, published and recorded, in as many transactions as the
service uses. Says `ready` when its rows are prepared, begins when it is sent a line, prints the seconds it took as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import django
import msgspec
import psycopg
import redis

from bench.workload import BULK, SUBJECT, TEMPLATE, USERS, event

Columns = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The parameters of each statement, and the messages to publish."""

    store: Columns
    move_on: Columns
    create: Columns
    messages: Sequence[tuple[str, bytes]]
    record: Columns
    attempts: Columns


class Floor:
    """One process's share of the work; `tenant_id` is its own, so that processes do not claim from one another."""

    def __init__(self, tenant_id: int, events: int) -> None:
        self.tenant_id = tenant_id
        self.now = datetime.now(UTC)
        self.chunks = list(self._prepare(events))
        self.store_s = 0.0
        self.cpu_s = 0.0
        # Planned anew for each chunk, as the service's are: a plan for any number of rows is a bad one for 500.
        self._connection = psycopg.connect(os.environ["BENCH_FLOOR_DATABASE"], autocommit=True, prepare_threshold=None)
        self._redis = redis.Redis.from_url(os.environ["BENCH_FLOOR_REDIS"])

    def work(self) -> float:
        """Do all chunks; returns the seconds."""
        started, cpu_started = time.perf_counter(), time.process_time()
        for chunk in self.chunks:
            self._store(chunk)
            self._route(chunk, self._claim())
            self._publish(chunk)
            self._record(chunk)
        self.cpu_s = time.process_time() - cpu_started
        return time.perf_counter() - started

    def close(self) -> None:
        self._connection.close()
        self._redis.close()

    def _store(self, chunk: _Chunk) -> None:
        from notifications.services import _STORE

        started = time.perf_counter()
        self._connection.execute(_STORE, chunk.store).fetchall()
        self.store_s += time.perf_counter() - started

    def _claim(self) -> UUID:
        from notifications import claims, taking

        lease_id = UUID(int=time.perf_counter_ns())
        waiting = self._connection.execute(claims._WAITING, {"now": self.now, "limit": BULK}).fetchall()
        priority, tenant_id, count = next(row for row in waiting if row[1] == self.tenant_id)
        claim = {"priorities": [priority], "tenants": [tenant_id], "shares": [count], "lease_id": lease_id}
        claim["most_bytes"] = claims.MOST_BYTES
        self._connection.execute(claims._CLAIM, claim | {"now": self.now, "lease_until": self.now + taking.LEASE}).fetchall()
        return lease_id

    def _route(self, chunk: _Chunk, lease_id: UUID) -> None:
        from deliveries.services import _CREATE
        from notifications.ledger import _MOVE_ON

        with self._connection.transaction():
            self._connection.execute(_MOVE_ON, chunk.move_on | {"lease_id": lease_id}).fetchall()
            self._connection.execute(_CREATE, chunk.create | {"now": self.now}).fetchall()

    def _publish(self, chunk: _Chunk) -> None:
        pipeline = self._redis.pipeline(transaction=True)
        for channel, message in chunk.messages:
            pipeline.publish(channel, message)
        pipeline.execute()

    def _record(self, chunk: _Chunk) -> None:
        from deliveries.services import _ATTEMPTS, _RECORD

        with self._connection.transaction():
            self._connection.execute(_RECORD, chunk.record).fetchall()
            self._connection.execute(_ATTEMPTS, chunk.attempts)

    def _prepare(self, events: int) -> Iterator[_Chunk]:
        from notifications.intake import read_event

        for start in range(0, events, BULK):
            numbers = range(start, min(start + BULK, events))
            posted = [event(f"floor-{self.tenant_id}", USERS[number % len(USERS)], number) for number in numbers]
            yield self._chunk([read_event(msgspec.json.encode(one), now=self.now) for one in posted])

    def _chunk(self, events: Sequence[Any]) -> _Chunk:
        from deliveries.services import NewAttempt, NewDelivery, Recorded
        from notifications.intake import NewEvent
        from notifications.models import EventStatus
        from tenants import columns

        deliveries = [self._delivery(one) for one in events]
        return _Chunk(
            store=columns.columns_of(NewEvent, events) | {"tenant_id": self.tenant_id, "sandbox": False, "now": self.now},
            move_on={
                "id": columns.uuid_array([one.id for one in events]),
                "status": columns.int_array([EventStatus.PROCESSED] * len(events)),
                "next_cursor": columns.int_array([None] * len(events)),
                "plan": columns.text_array([None] * len(events)),
                "processed_at": columns.time_array([self.now] * len(events)),
                "reason": columns.text_array([""] * len(events)),
                "recipients": columns.int_array([1] * len(events)),
            },
            create=columns.columns_of(NewDelivery, deliveries),
            messages=[(f"floor.{one.user_id}", (one.subject + one.body + one.data).encode()) for one in deliveries],
            record=columns.columns_of(Recorded, [self._recorded(one) for one in deliveries]),
            attempts=columns.columns_of(NewAttempt, [self._attempt(one) for one in deliveries]),
        )

    def _delivery(self, posted: Any) -> Any:
        from uuid_utils.compat import uuid7

        from deliveries.claims import LEASE
        from deliveries.services import NewDelivery
        from deliveries.states import Status
        from tenants.vocabulary import Channel

        return NewDelivery(
            id=uuid7(),
            tenant_id=self.tenant_id,
            event_id=posted.event_id,
            event_type=posted.event_type,
            user_id=posted.user_id,
            channel=Channel.IN_APP.value,
            priority=2,
            status=Status.SENDING.value,
            reason="",
            explanation=None,
            sandbox=False,
            address="",
            locale="en",
            template_version_id=uuid7(),
            subject=SUBJECT,
            body=TEMPLATE,
            html="",
            data=posted.data,
            attempt_count=1,
            lease_until=self.now + LEASE,
            expires_at=None,
            error="",
            accepted_at=self.now,
        )

    def _recorded(self, delivery: Any) -> Any:
        from deliveries.services import Recorded
        from deliveries.states import Status

        return Recorded(
            id=delivery.id,
            lease_until=delivery.lease_until,
            status=Status.SENT.value,
            provider="in_app",
            sent_at=self.now,
        )

    def _attempt(self, delivery: Any) -> Any:
        from uuid_utils.compat import uuid7

        from deliveries.services import NewAttempt

        return NewAttempt(
            id=uuid7(),
            delivery_id=delivery.id,
            number=1,
            outcome=0,
            provider="in_app",
            provider_account_id=None,
            sandbox=False,
            code="",
            response="",
            detail=None,
            started_at=self.now,
            duration_ms=1,
        )


def main(number: int, events: int) -> None:
    floor = Floor(number, events)
    print("ready", flush=True)
    sys.stdin.readline()
    total_s = floor.work()
    floor.close()
    print(json.dumps({"totalS": total_s, "storeS": floor.store_s, "cpuS": floor.cpu_s}), flush=True)


if __name__ == "__main__":
    django.setup()
    main(int(sys.argv[1]), int(sys.argv[2]))
