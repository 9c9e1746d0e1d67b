"""Providers kept between chunks, so that connections, access tokens and parsed keys serve the next chunk too."""

from __future__ import annotations

import atexit
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings

from deliveries.providers.base import Provider

_MOST_KEPT: Final = 256
"""Beyond it, the one unused for longest goes; it closes when the chunks that still use it are done."""

_kept: OrderedDict[str, Provider] = OrderedDict()
_lock = threading.Lock()


def provider_for(provider_class: type[Provider], credentials: Mapping[str, Any]) -> Provider:
    """The kept instance for exactly these credentials, so a changed account has a new one; raises ProviderConfigError."""
    key = _fingerprint(provider_class, credentials)
    with _lock:
        provider = _kept.get(key)
        if provider is None:
            provider = _kept[key] = provider_class.from_credentials(credentials)
        _kept.move_to_end(key)
        if len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return provider


def forget_providers() -> None:
    """Drop all of them. Their connections close, once nobody uses them."""
    with _lock:
        _kept.clear()


atexit.register(forget_providers)


def _fingerprint(provider_class: type[Provider], credentials: Mapping[str, Any]) -> str:
    """Hashed, so that no second copy of a secret is kept. The settings are those that providers read when they are made."""
    surroundings = (
        settings.TWILIO_API_URL,
        settings.FCM_API_URL,
        settings.TELEGRAM_API_URL,
        settings.DEBUG,
        list(settings.WEBHOOK_ALLOWED_NETWORKS),
    )
    name = f"{provider_class.__module__}.{provider_class.__qualname__}"
    text = json.dumps([name, dict(credentials), surroundings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
