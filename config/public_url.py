"""The address under which others reach this installation: what it must look like, and what it should be in production."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")


def checked_public_url(url: str) -> str:
    """Addresses are made by putting a path behind it, so it has nothing there but, perhaps, a prefix of its own."""
    parts = urlsplit(url)
    if parts.query or parts.fragment or "@" in parts.netloc or not _PREFIX.fullmatch(parts.path):
        raise ImproperlyConfigured(
            "PUBLIC_URL must be a scheme, a host and at most a path, such as https://example.com/notify: "
            "no user, no query, no fragment"
        )
    return url


def check_public_url(*, app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Links in messages lead there: in production over HTTPS, without which no mailbox unsubscribes by a click (RFC 8058)."""
    if settings.DEBUG or settings.PUBLIC_URL.startswith("https://"):
        return []
    return [
        checks.Warning(
            "PUBLIC_URL does not begin with https://.",
            hint="Set it to the address that browsers use. The links in messages lead there, and carry what opens them.",
            id="config.W001",
        )
    ]
