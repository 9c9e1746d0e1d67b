"""Google's service account for Firebase Cloud Messaging, from the setting `FCM_CREDENTIALS`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config.stack.paths import PROJECT_DIR


def service_account(value: str) -> Mapping[str, Any] | None:
    """The account, given as JSON or as the path of a file that holds it; None where none is given."""
    value = value.strip()
    if not value:
        return None
    if not value.startswith("{"):
        try:
            value = (PROJECT_DIR / value).read_text()
        except (OSError, ValueError) as error:
            raise ImproperlyConfigured(f"FCM_CREDENTIALS names a file that cannot be read: {value}") from error
    try:
        account = json.loads(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"FCM_CREDENTIALS is not JSON: {error}") from error
    fields = account.keys() if isinstance(account, dict) else set()
    missing = {"project_id", "client_email", "private_key", "token_uri"} - fields
    if missing:
        raise ImproperlyConfigured(f"FCM_CREDENTIALS is not a service account: {', '.join(sorted(missing))} missing")
    return dict(account)
