"""One ASGI application: the inbox's websockets, and REST and admin for a run in one process."""

from __future__ import annotations

import os
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.wsgi import get_wsgi_application
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django_application = get_wsgi_application()  # sets Django up, so it comes before any import of the project's

from django.conf import settings  # noqa: E402

from config.threaded_wsgi import Receive, Send, ThreadedWSGI  # noqa: E402
from deliveries.inbox.access import keep_token_out_of_logs  # noqa: E402
from deliveries.inbox.routing import websocket_urlpatterns  # noqa: E402

# The threads share the interpreter, so more of them only wait for one another; each keeps a database connection.
_HTTP_THREADS = 8


async def no_such_socket(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Refuses the handshake of an unknown path (the server makes it HTTP 403)."""
    await receive()
    await send({"type": "websocket.close"})


sockets = URLRouter([*websocket_urlpatterns, re_path("", no_such_socket)])  # type: ignore[arg-type] # its types know views only

application = ProtocolTypeRouter(
    {
        "http": ThreadedWSGI(django_application, threads=_HTTP_THREADS, most_body=settings.DATA_UPLOAD_MAX_MEMORY_SIZE),
        "websocket": keep_token_out_of_logs(sockets),
    }
)
