"""How many sockets are open."""

from __future__ import annotations

from prometheus_client import Gauge

WEBSOCKETS = Gauge("notifications_websockets_live", "Open inbox websockets.", multiprocess_mode="livesum")
