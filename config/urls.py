"""Every HTTP route."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView

from config.icon import favicon
from tenants.http.problems import not_found

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("notifications.urls")),
    path("api/", include("notifications.heartbeats.urls")),
    path("api/", include("deliveries.urls")),
    path("api/", include("deliveries.inbox.urls")),
    path("api/", include("deliveries.receipts.urls")),
    path("api/", include("deliveries.status_webhooks.urls")),
    path("api/", include("deliveries.telegram.urls")),
    path("api/", include("templates_app.urls")),
    path("api/", include("preferences.urls")),
    path("api/", include("tenants.urls")),
    path("api/", include("config.operations.urls")),
    # Also while developing, when Django would show a page of its own.
    re_path("^api/", csrf_exempt(not_found)),
    path("", include("preferences.centre.urls")),
    path("", include("config.demo.urls")),
    path("favicon.ico", favicon),
    path("", RedirectView.as_view(pattern_name="demo" if settings.DEBUG else "admin:index")),
]

handler400 = "tenants.http.problems.bad_request"
handler403 = "tenants.http.problems.forbidden"
handler404 = "tenants.http.problems.not_found"
handler500 = "tenants.http.problems.server_error"
