from __future__ import annotations

from django.urls import path

import tenants.http.paths  # noqa: F401 - its converters
from notifications.heartbeats import views

urlpatterns = [
    path("heartbeats", views.HeartbeatsView.as_view()),
    path("heartbeats/<uuid:id>", views.HeartbeatView.as_view()),
    path("heartbeats/<uuid:id>/keys", views.HeartbeatKeysView.as_view()),
    path("heartbeats/<uuid:id>/keys/<name:key>", views.HeartbeatKeyView.as_view()),
]
