"""Writes to tenants and their credentials."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

import jwt
from django.utils import timezone

from tenants.models import ApiKey, Tenant
from tenants.vocabulary import Scope

KEY_PREFIX = "nk_"
TOKEN_AUDIENCE = "notifications"  # noqa: S105 - a claim, not a secret
LONGEST_TOKEN_TTL = timedelta(days=1)


def create_tenant(*, slug: str, name: str = "", sandbox: bool = False) -> Tenant:
    """A new tenant; raises ValidationError for a bad or taken slug."""
    tenant = Tenant(slug=slug, name=name or slug, sandbox=sandbox)
    tenant.full_clean()
    tenant.save()
    return tenant


def hash_key(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def create_api_key(
    *,
    tenant: Tenant,
    scopes: Iterable[Scope],
    name: str = "",
    sandbox: bool = False,
    rate_limit: str = "",
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its text, which is shown this once and kept nowhere."""
    text = KEY_PREFIX + secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        tenant=tenant,
        name=name,
        prefix=text[:10],
        key_hash=hash_key(text),
        scopes=[scope.value for scope in scopes],
        sandbox=sandbox,
        rate_limit=rate_limit,
        expires_at=expires_at,
    )
    return key, text


def revoke_api_keys(*, keys: Iterable[ApiKey]) -> None:
    ApiKey.objects.filter(pk__in=[key.pk for key in keys], revoked_at=None).update(revoked_at=timezone.now())


def create_user_token(*, tenant: Tenant, user_id: str, ttl: timedelta) -> str:
    """A JWT (RFC 7519, HS256) that opens `user_id`'s inbox and preferences for `ttl`, at most a day."""
    now = timezone.now()
    claims = {
        "iss": tenant.slug,
        "sub": user_id,
        "aud": TOKEN_AUDIENCE,
        "iat": now,
        "exp": now + min(ttl, LONGEST_TOKEN_TTL),
    }
    return jwt.encode(claims, tenant.user_token_secret, algorithm="HS256")
