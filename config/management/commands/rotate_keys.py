"""`manage.py rotate_keys`"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand
from django.db import models, transaction

from tenants.fields import EncryptedJSONField, EncryptedTextField

_AT_ONCE = 500


class Command(BaseCommand):
    help = "Encrypt every secret in the database anew, with the first of ENCRYPTION_KEYS, and print how many rows that were."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(str(sum(map(_encrypt_anew, apps.get_models()))))


def _encrypt_anew(model: type[models.Model]) -> int:
    names = [field.name for field in model._meta.fields if isinstance(field, EncryptedTextField | EncryptedJSONField)]
    done, last = 0, None
    while names:
        with transaction.atomic():
            rows = model._default_manager.select_for_update().order_by("pk")
            chunk = list((rows if last is None else rows.filter(pk__gt=last)).only(*names)[:_AT_ONCE])
            if not chunk:
                break
            model._default_manager.bulk_update(chunk, names)
        done, last = done + len(chunk), chunk[-1].pk
    return done
