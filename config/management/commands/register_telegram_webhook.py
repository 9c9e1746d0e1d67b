"""`manage.py register_telegram_webhook [TENANT]`"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from deliveries.telegram.api import TelegramError
from deliveries.telegram.bots import Bot, every_bot
from deliveries.telegram.webhook import register
from tenants.models import Tenant


class Command(BaseCommand):
    help = "Have Telegram post what users say to the bots under PUBLIC_URL, and print each bot."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "tenant", nargs="?", help="a tenant's slug: its bots only. Left out: those of all tenants, and TELEGRAM_BOT_TOKEN's"
        )

    def handle(self, *args: Any, tenant: str | None, **options: Any) -> None:
        bots = every_bot()
        if tenant is not None:
            found = Tenant.objects.filter(slug=tenant).first()
            if found is None:
                raise CommandError(f"There is no tenant {tenant!r}.")
            bots = [bot for bot in bots if bot.tenant_id == found.pk]
        if not bots:
            raise CommandError("There is no Telegram bot: no provider account in use, and no TELEGRAM_BOT_TOKEN.")
        faults = [fault for fault in map(self._registered, bots) if fault]
        if faults:
            raise CommandError("\n".join(faults))

    def _registered(self, bot: Bot) -> str:
        """What is wrong with one; the others are registered all the same."""
        try:
            server = register(bot)
        except TelegramError as error:
            return f"{bot.label}: {error}"
        self.stdout.write(f"{bot.label} ({bot.name}): {server}")
        return ""
