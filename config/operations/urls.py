from __future__ import annotations

from django.urls import path
from drf_spectacular.views import SpectacularSwaggerView

from config.operations.views import HealthView, LiveView, MetricsView, SchemaView

urlpatterns = [
    path("health", HealthView.as_view(), name="health"),
    path("health/live", LiveView.as_view(), name="live"),
    path("metrics", MetricsView.as_view(), name="metrics"),
    path("schema", SchemaView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
]
