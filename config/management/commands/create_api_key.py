"""`manage.py create_api_key TENANT [--scope S …]`"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants.models import Tenant
from tenants.services import create_api_key
from tenants.vocabulary import Scope

_USUAL = [scope for scope in Scope if scope is not Scope.ADMIN]


class Command(BaseCommand):
    help = "Create an API key and print it: it is shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="the tenant's slug")
        parser.add_argument(
            "--scope",
            action="append",
            choices=[scope.value for scope in Scope],
            help="repeat for more; all but admin if left out",
        )
        parser.add_argument("--name", default="", help="to tell keys apart")
        parser.add_argument("--sandbox", action="store_true", help="what this key posts is recorded and never sent")

    def handle(self, *args: Any, tenant: str, scope: list[str] | None, name: str, sandbox: bool, **options: Any) -> None:
        found = Tenant.objects.filter(slug=tenant).first()
        if found is None:
            raise CommandError(f"There is no tenant {tenant!r}.")
        scopes = [Scope(one) for one in scope] if scope else _USUAL
        _, text = create_api_key(tenant=found, scopes=scopes, name=name, sandbox=sandbox)
        self.stdout.write(text)
