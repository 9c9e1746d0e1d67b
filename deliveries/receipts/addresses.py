"""Where vendors send their receipts: URLs under PUBLIC_URL, one for each account.

Twilio is told with each message, and signs the very URL that it was told; so it is made here for both. It is never read off
a request, which behind a proxy came under another name.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings

INSTALLATION: Final = "installation"
"""Stands for the id of an account that the settings hold."""

_NOWHERE: Final = ("localhost", "local", "internal", "test", "invalid", "home.arpa")
"""Domains that no vendor can reach (RFC 6761, 6762, 8375, and ICANN's reservation of `internal`)."""


def twilio_callback(account_id: UUID | None, delivery_id: UUID) -> str:
    """What Twilio is told; empty if Twilio could not reach it, which it answers with an error (21609)."""
    return twilio_url(str(account_id or INSTALLATION), str(delivery_id)) if is_public(settings.PUBLIC_URL) else ""


def twilio_url(account: str, delivery_id: str) -> str:
    return f"{settings.PUBLIC_URL}/api/receipts/twilio/{account}/{delivery_id}"


def email_url(kind: str, account: str) -> str:
    """What an admin enters at an e-mail vendor."""
    return f"{settings.PUBLIC_URL}/api/receipts/email/{kind}/{account}"


@functools.cache
def is_public(url: str) -> bool:
    """Whether it may be reached from outside: a public IP address, or a host in a domain that is not reserved."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        # Twilio takes no name with an underscore in it.
        return "." in host and "_" not in host and not any(host == name or host.endswith(f".{name}") for name in _NOWHERE)
