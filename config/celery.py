"""The Celery application: which queues there are, and what goes where.

Messages are doorbells or chunks that can be made again from PostgreSQL, so they are acknowledged early and keep no
results. Each channel has its own queue: a slow provider holds up its own channel only.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, Task
from celery.signals import task_prerun, worker_shutting_down

from config import broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


@task_prerun.connect
def _look_at_connections(task: Task[Any, Any], **_: Any) -> None:
    """Drop a database connection that has died: kept ones are not Celery's care."""
    from django.db import close_old_connections

    from tenants.database.limits import TASK_S, limit_statements

    limit_statements(TASK_S)
    if not task.request.is_eager:  # run inside its caller, whose transaction may be open
        close_old_connections()


@worker_shutting_down.connect
def _begin_nothing(**_: Any) -> None:
    """What waits in PostgreSQL is for the next worker: a task that answers a bell would go on for as long as there is work."""
    from deliveries import desks

    desks.close()


broker.register()
app = Celery("notifications")
app.set_default()  # for every thread: by itself an application is current only in the thread that made it
app.config_from_object("config.celery_settings")
app.autodiscover_tasks()
app.autodiscover_tasks(["config.operations"], related_name="probes")
