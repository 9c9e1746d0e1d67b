"""The sweep: ring for whatever is due and in nobody's hands. It makes a lost doorbell, or a lost Redis, cost a second."""

from __future__ import annotations

from datetime import datetime

from deliveries import bells
from deliveries.claims import channels_with_due_deliveries
from deliveries.status_webhooks.claims import messages_are_due
from notifications.claims import events_are_due
from notifications.digests.claims import digests_are_due
from notifications.heartbeats.sweeping import sweep_heartbeats
from notifications.holds.claims import holds_are_due


def sweep(*, now: datetime) -> None:
    """Six statements, however much is waiting. Running it twice at once only rings twice."""
    if events_are_due(now=now):
        bells.ring_enrich()
    if holds_are_due(now=now):
        bells.ring_release()
    if digests_are_due(now=now):
        bells.ring_digests()
    bells.ring_all(channels_with_due_deliveries(now=now))
    if messages_are_due():
        bells.ring_status_webhooks()
    if sweep_heartbeats(now=now):
        bells.ring_enrich()
