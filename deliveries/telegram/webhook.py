"""Telling Telegram where to post a bot's updates."""

from __future__ import annotations

from urllib.parse import urlsplit

from deliveries.telegram import api
from deliveries.telegram.bots import Bot


def register(bot: Bot) -> str:
    """Returns the server that Telegram was told, without the secret path. Raises api.TelegramError."""
    api.set_webhook(bot.token, url=bot.webhook_url, secret=bot.secret)
    parts = urlsplit(bot.webhook_url)
    return f"{parts.scheme}://{parts.netloc}"
