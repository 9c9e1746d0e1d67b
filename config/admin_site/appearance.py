"""The admin's stylesheet beside unfold's own."""

from __future__ import annotations

from django.http import HttpRequest
from django.templatetags.static import static


def stylesheet(_request: HttpRequest) -> str:
    """For unfold's `STYLES`."""
    return static("admin_site/admin.css")
