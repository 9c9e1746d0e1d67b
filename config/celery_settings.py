"""Celery's own settings, lower-case as it names them."""

from __future__ import annotations

from kombu import Queue

from config.settings import CELERY_BROKER_URL
from notifications.queues import PIPELINE, QUEUES, ROUTES, SERIALIZER

broker_url = CELERY_BROKER_URL
task_ignore_result = True
task_store_errors_even_if_ignored = False
task_serializer = "json"
accept_content = ["json", SERIALIZER]
task_default_queue = PIPELINE
task_queues = [Queue(name) for name in QUEUES]
task_routes = ROUTES
task_create_missing_queues = False

# Early acknowledgement: losing a message costs a second (the sweep rings again), never an event.
task_acks_late = False
worker_prefetch_multiplier = 1
worker_enable_remote_control = False
worker_send_task_events = False
worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_cancel_long_running_tasks_on_connection_loss = False

# Celery would open a database connection for every task. Ours are kept, and looked at before each task (config.celery).
CELERY_DB_REUSE_MAX = 10**9

broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # keep trying, with the back-off of the transport
broker_transport_options = {
    "socket_connect_timeout": 2,
    "socket_timeout": 10,
    "socket_keepalive": True,
    "health_check_interval": 10,
}
# A publisher that cannot reach the broker gives up at once: PostgreSQL has the work, the sweep will ring.
task_publish_retry = False
