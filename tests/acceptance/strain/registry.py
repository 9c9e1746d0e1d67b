"""All strains, by name."""

from __future__ import annotations

from tests.acceptance.strain.strains import broadcasts, database, floods, providers, schedule
from tests.acceptance.strain.strains.base import Strain
from tests.acceptance.strain.world import BYSTANDER, STRAINED

STRAINS = {
    "hanging provider": Strain(
        "two e-mail servers take connections and answer nothing for 45 s, with 1,000 mails due at each", providers.hang, 2000
    ),
    "failing provider": Strain(
        "the first of a tenant's two e-mail accounts answers 451, then hangs up, then is well", providers.fail_over, 1000
    ),
    "flood": Strain(
        "one tenant posts 50,000 low-priority events in bulk, over in-app and every tenth over e-mail",
        floods.flood,
        50_000,
        bystanders={BYSTANDER: ("normal", "urgent"), STRAINED: ("urgent",)},
    ),
    "broadcast": Strain(
        "an event to a topic with 100,000 subscribers; a pipeline worker is killed half-way, a second event is canceled",
        broadcasts.broadcast,
        100_000,
        worst_s=35.0,  # what the killed worker had in hand waits for its lease of 30 s
        bystanders={BYSTANDER: ("urgent",), STRAINED: ("urgent",)},
    ),
    "schedule": Strain(
        "500 events for moments of the next seconds; every second one is canceled at about its time", schedule.on_time, 500
    ),
    "schedule alone": Strain(
        "the same while nobody else posts, so that only the scheduler rings", schedule.on_time, 500, bystanders={}
    ),
    "too late": Strain(
        "the workers are stopped for 6 s, in which events expire",
        schedule.too_late,
        200,
        worst_s=12.0,
    ),
    "locked tables": Strain("somebody locks the tables of events and deliveries for 5 s", database.locked, 600, worst_s=12.0),
    "stop": Strain(
        "SIGTERM and a new start while an e-mail server takes 10 s for each mail",
        providers.stop_in_order,
        200,
        worst_s=60.0,
    ),
    "far database": Strain(
        "PostgreSQL is 20 ms away, each way; 3,000 events of another tenant",
        database.far_away,
        3000,
        worst_s=10.0,
        far_database=True,
    ),
    "backlog limit": Strain(
        f"BACKLOG_LIMIT is {floods.BACKLOG_LIMIT:,}; one tenant posts low-priority events until it is told 503",
        floods.overflow,
        200_000,
        settings={"BACKLOG_LIMIT": str(floods.BACKLOG_LIMIT)},
    ),
}
