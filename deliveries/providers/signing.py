"""Standard Webhooks signatures (https://www.standardwebhooks.com): the secret's form, and the headers of a signed request."""

from __future__ import annotations

import base64
from datetime import datetime

from standardwebhooks import Webhook

PREFIX = "whsec_"


def signing_secret(stored: str) -> str:
    """The form in which a receiver's library takes a tenant's secret: `whsec_` and standard base64 of the key's bytes.

    `stored` is `Tenant.webhook_secret`: the same bytes as URL-safe base64 without padding, as `secrets.token_urlsafe` makes it.
    """
    key = base64.urlsafe_b64decode(stored + "=" * (-len(stored) % 4))
    return PREFIX + base64.b64encode(key).decode("ascii")


def signed_headers(*secrets: str, message_id: str, at: datetime, body: str) -> dict[str, str]:
    """Secrets have the `whsec_` form; `at` is in UTC.

    With several secrets there are as many signatures, separated by spaces: the receiver takes the request if one of them is
    by a secret it knows, so a secret is changed without a gap (Standard Webhooks, "Signature scheme").
    """
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, at, body) for secret in secrets),
    }
