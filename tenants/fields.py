"""Model fields whose values are encrypted at rest with `ENCRYPTION_KEYS` (Fernet: AES-128-CBC and HMAC-SHA256).

The first key encrypts; every key decrypts, so keys are rotated by putting a new one in front. Values are bound to nothing
but the key: do not filter on these fields.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models


@functools.lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(plain: str) -> str:
    return _fernet(tuple(settings.ENCRYPTION_KEYS)).encrypt(plain.encode()).decode("ascii")


def decrypt(token: str) -> str:
    """Raises ValidationError if no key in ENCRYPTION_KEYS fits."""
    try:
        return _fernet(tuple(settings.ENCRYPTION_KEYS)).decrypt(token.encode("ascii")).decode()
    except InvalidToken as error:
        raise ValidationError("encrypted with a key that is not in ENCRYPTION_KEYS") from error


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """Text, encrypted in the column; the empty string stays empty."""

    def get_prep_value(self, value: Any) -> Any:
        return encrypt(str(value)) if value else value

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> Any:
        return decrypt(value) if value else value


class EncryptedJSONField(models.TextField):  # type: ignore[type-arg]
    """A JSON object, encrypted in the column."""

    def get_prep_value(self, value: Any) -> Any:
        return encrypt(json.dumps(value)) if value is not None else None

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> Any:
        return json.loads(decrypt(value)) if value else {}

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str):
            try:
                return json.loads(value) if value.strip() else {}
            except ValueError as error:
                raise ValidationError(f"not JSON: {error}") from error
        return value

    def value_to_string(self, obj: models.Model) -> str:
        return json.dumps(self.value_from_object(obj))
