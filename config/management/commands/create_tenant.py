"""`manage.py create_tenant SLUG`"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.provisioning import provision_tenant


class Command(BaseCommand):
    help = "Create a tenant with its catch-all templates, and print its slug."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="letters, digits, hyphens and underscores, at most 63")
        parser.add_argument("--name", default="", help="shown to people; the slug if left out")
        parser.add_argument("--sandbox", action="store_true", help="record every message, send none")

    def handle(self, *args: Any, slug: str, name: str, sandbox: bool, **options: Any) -> None:
        try:
            tenant = provision_tenant(slug=slug, name=name, sandbox=sandbox)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(tenant.slug)
