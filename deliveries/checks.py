"""What is wrong with this room's settings, said when a process starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks

from deliveries.providers.installation import SETTINGS, installation_account


def check_channels(*, app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """In production a channel without credentials fails its deliveries, for every tenant without an account of its own."""
    if settings.DEBUG:
        return []
    return [
        checks.Warning(
            f"The channel {channel.label} has no provider.",
            hint=f"Set {names}. Until then only tenants with a provider account of their own can use it.",
            id="deliveries.W001",
        )
        for channel, names in SETTINGS.items()
        if installation_account(channel) is None
    ]
