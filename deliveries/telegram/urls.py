from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

import tenants.http.paths  # noqa: F401 - its converters
from deliveries.telegram.views import TelegramLinkView, TelegramUpdatesView

urlpatterns: list[URLPattern | URLResolver] = [
    path("recipients/<name:user_id>/telegram-link", TelegramLinkView.as_view(), name="telegram-link"),
    path("telegram/<str:bot>/<str:key>", TelegramUpdatesView.as_view(), name="telegram-updates"),
]
