"""Gunicorn's settings for REST and admin. `WEB_CONCURRENCY` sets the number of processes."""

import os

bind = "0.0.0.0:8000"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY") or 2 * (os.cpu_count() or 1))
threads = 4
# The application is loaded once, before the workers are forked: faster, smaller, and wrong settings stop the start.
preload_app = True
# The proxy keeps its connections for 60 s; whoever accepts them must not be the first to hang up.
keepalive = 75
timeout = 60
graceful_timeout = 30
worker_tmp_dir = "/dev/shm"  # noqa: S108 - the heartbeat file, which on a disk can block a worker
control_socket_disable = True  # nothing may be written beside /tmp, and nobody would use it
