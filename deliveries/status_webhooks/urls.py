from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from deliveries.status_webhooks.views import (
    EndpointsView,
    EndpointView,
    MessagesView,
    ReplayView,
    RotateSecretView,
    TestView,
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("status-webhooks", EndpointsView.as_view(), name="status-endpoints"),
    path("status-webhooks/<str:id>", EndpointView.as_view(), name="status-endpoint"),
    path("status-webhooks/<str:id>/rotate-secret", RotateSecretView.as_view(), name="status-endpoint-secret"),
    path("status-webhooks/<str:id>/messages", MessagesView.as_view(), name="status-messages"),
    path("status-webhooks/<str:id>/replay", ReplayView.as_view(), name="status-replay"),
    path("status-webhooks/<str:id>/test", TestView.as_view(), name="status-test"),
]
