"""The scheduler: every second, ring for due work, show a sign of life, probe the queues, prune what is past.

It holds nothing and decides nothing, so two may run, and one may be missing for a while.
"""

from __future__ import annotations

import signal
import threading
from typing import Any

import structlog
from django.core.management.base import BaseCommand
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection
from django.utils.timezone import now as clock

from config.operations.probes import Prober, beat
from deliveries.status_webhooks.claims import prune_messages
from deliveries.status_webhooks.services import forget_old_secrets
from notifications.backpressure import Counting
from notifications.sweep import sweep
from tenants.database.limits import REQUEST_S, limit_statements

logger = structlog.get_logger(__name__)

_EVERY_S = 1.0


class Command(BaseCommand):
    help = "Ring for due work every second, until SIGTERM or SIGINT."

    def handle(self, *args: Any, **options: Any) -> None:
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        limit_statements(REQUEST_S)
        prober, counting = Prober(), Counting()
        logger.info("scheduler_started")
        while not stopped.wait(_EVERY_S):
            _turn(prober, counting)
        logger.info("scheduler_stopped")


def _turn(prober: Prober, counting: Counting) -> None:
    beat()
    prober.send_probes()
    try:
        sweep(now=clock())
        prune_messages()
        forget_old_secrets()
        counting.turn()
    except DatabaseError as error:
        logger.warning("sweep_failed", error=type(error).__name__)
        connection.close()
    finally:
        close_old_connections()
