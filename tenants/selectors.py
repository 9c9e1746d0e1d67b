"""Reads of tenants and their credentials."""

from __future__ import annotations

import jwt
from django.db.models import Q
from django.utils import timezone

from tenants.models import ApiKey, Tenant
from tenants.services import TOKEN_AUDIENCE, hash_key


class InvalidCredential(Exception):  # noqa: N818 - a state of the credential, not a fault
    """The key or token is not valid; the message may be shown to the caller."""


def api_key_by_text(text: str) -> ApiKey:
    """The live key with this text; raises InvalidCredential."""
    live = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
    key = ApiKey.objects.filter(live, key_hash=hash_key(text), tenant__is_active=True).select_related("tenant").first()
    if key is None:
        raise InvalidCredential("The API key is unknown, expired or revoked.")
    return key


def user_of_token(token: str) -> tuple[Tenant, str]:
    """The tenant and user id a user token speaks for; raises InvalidCredential."""
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss", "")
        tenant = Tenant.objects.filter(slug=issuer, is_active=True).first() if _is_text(issuer) else None
        if tenant is None:
            raise InvalidCredential("The token's issuer is not a tenant.")
        claims = jwt.decode(
            token,
            tenant.user_token_secret,
            algorithms=["HS256"],
            audience=TOKEN_AUDIENCE,
            issuer=tenant.slug,
            leeway=5,
            options={"require": ["exp", "sub", "iss", "aud"]},
        )
    except jwt.PyJWTError as error:
        raise InvalidCredential(f"The token is not valid: {error}") from error
    user_id = claims["sub"]
    if not _is_text(user_id):
        raise InvalidCredential("The token's subject is not a user id.")
    return tenant, user_id


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 255 and "\x00" not in value
