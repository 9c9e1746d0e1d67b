"""What is wrong with the address under which others reach this installation, said when a process starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks


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
