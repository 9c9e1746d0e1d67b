"""Websocket routes of the inbox."""

from __future__ import annotations

from django.urls import URLPattern, path

from deliveries.inbox.consumers import InboxConsumer

websocket_urlpatterns: list[URLPattern] = [path("ws/notifications/", InboxConsumer.as_asgi())]
