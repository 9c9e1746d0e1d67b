"""The installation's own accounts, as the settings hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from django.conf import settings

from tenants.vocabulary import Channel


class InstallationAccount(NamedTuple):
    kind: str
    credentials: Mapping[str, Any]


SETTINGS: Final[Mapping[Channel, str]] = {
    Channel.EMAIL: "EMAIL_URL",
    Channel.SMS: "TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_FROM_NUMBER",
    Channel.PUSH: "FCM_CREDENTIALS",
    Channel.CHAT: "TELEGRAM_BOT_TOKEN",
}
"""What to set, for the channels that need a vendor."""


def installation_account(channel: Channel) -> InstallationAccount | None:
    """The account that serves every tenant without its own; None if the settings hold none."""
    return _READERS[channel]()


def _email() -> InstallationAccount | None:
    """`settings.EMAIL` is django-environ's reading of EMAIL_URL."""
    email = settings.EMAIL
    if not email:
        return None
    security = "starttls" if email.get("EMAIL_USE_TLS") else "tls" if email.get("EMAIL_USE_SSL") else "none"
    credentials = {
        "host": email["EMAIL_HOST"],
        "port": email.get("EMAIL_PORT"),
        "username": email.get("EMAIL_HOST_USER"),
        "password": email.get("EMAIL_HOST_PASSWORD"),
        "security": security,
    }
    return InstallationAccount("smtp", credentials)


def _sms() -> InstallationAccount | None:
    if not settings.TWILIO_ACCOUNT_SID:
        return None
    credentials = {
        "account_sid": settings.TWILIO_ACCOUNT_SID,
        "auth_token": settings.TWILIO_AUTH_TOKEN,
        "from_number": settings.TWILIO_FROM_NUMBER,
    }
    return InstallationAccount("twilio", credentials)


def _push() -> InstallationAccount | None:
    return InstallationAccount("fcm", settings.FCM_CREDENTIALS) if settings.FCM_CREDENTIALS else None


def _chat() -> InstallationAccount | None:
    token = settings.TELEGRAM_BOT_TOKEN
    return InstallationAccount("telegram", {"bot_token": token}) if token else None


_READERS: Final[Mapping[Channel, Callable[[], InstallationAccount | None]]] = {
    Channel.EMAIL: _email,
    Channel.SMS: _sms,
    Channel.PUSH: _push,
    Channel.CHAT: _chat,
}
