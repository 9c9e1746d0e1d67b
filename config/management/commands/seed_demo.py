"""`manage.py seed_demo`"""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand

from config.demo.seed import seed


class Command(BaseCommand):
    help = "Make the demo tenant, or complete it, and print what there is to show as one JSON object."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(json.dumps(seed()))
