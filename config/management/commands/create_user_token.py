"""`manage.py create_user_token TENANT USER_ID [--ttl SECONDS]`"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants.models import Tenant
from tenants.services import LONGEST_TOKEN_TTL, create_user_token


class Command(BaseCommand):
    help = "Mint a token that opens one user's inbox and preferences, and print it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="the tenant's slug")
        parser.add_argument("user_id", help="the tenant's own id of the user")
        parser.add_argument("--ttl", type=int, default=3600, help="seconds until it expires, at most a day")

    def handle(self, *args: Any, tenant: str, user_id: str, ttl: int, **options: Any) -> None:
        found = Tenant.objects.filter(slug=tenant).first()
        if found is None:
            raise CommandError(f"There is no tenant {tenant!r}.")
        if not 0 < ttl <= LONGEST_TOKEN_TTL.total_seconds():
            raise CommandError(f"--ttl must be from 1 to {LONGEST_TOKEN_TTL.total_seconds():.0f} seconds.")
        if not 0 < len(user_id) <= 255:
            raise CommandError("A user id has 1 to 255 characters.")
        self.stdout.write(create_user_token(tenant=found, user_id=user_id, ttl=timedelta(seconds=ttl)))
