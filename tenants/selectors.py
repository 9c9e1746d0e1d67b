"""Reads of tenants and their credentials."""

from __future__ import annotations

import re

import jwt
from django.db import connection, models
from django.utils import timezone

from tenants.fields import EncryptedTextField
from tenants.models import ApiKey, Tenant
from tenants.services import TOKEN_AUDIENCE, hash_key


class InvalidCredential(Exception):  # noqa: N818 - a state of the credential, not a fault
    """The key or token is not valid; the message may be shown to the caller."""


def _plain_fields(model: type[models.Model]) -> list[str]:
    """The model's columns but its secrets and its JSON, which are read again, and decoded, when they are asked for."""
    return [
        field.attname for field in model._meta.concrete_fields if not isinstance(field, EncryptedTextField | models.JSONField)
    ]


_KEY_FIELDS, _TENANT_FIELDS = _plain_fields(ApiKey), _plain_fields(Tenant)

# By hand: every request begins with it, and making this statement from a queryset takes four times as long as running it.
_LIVE_KEY = f"""
SELECT {", ".join(f"key.{name}" for name in _KEY_FIELDS)}, {", ".join(f"tenant.{name}" for name in _TENANT_FIELDS)}
FROM tenants_apikey key JOIN tenants_tenant tenant ON tenant.id = key.tenant_id
WHERE key.key_hash = %(key_hash)s AND key.revoked_at IS NULL AND (key.expires_at IS NULL OR key.expires_at > %(now)s)
    AND tenant.is_active
"""  # noqa: S608  made of the models' own column names


def api_key_by_text(text: str) -> ApiKey:
    """The live key with this text, its tenant at hand; raises InvalidCredential."""
    with connection.cursor() as cursor:
        cursor.execute(_LIVE_KEY, {"key_hash": hash_key(text), "now": timezone.now()})
        row = cursor.fetchone()
    if row is None:
        raise InvalidCredential("The API key is unknown, expired or revoked.")
    key = ApiKey.from_db(connection.alias, _KEY_FIELDS, row[: len(_KEY_FIELDS)])
    key.tenant = Tenant.from_db(connection.alias, _TENANT_FIELDS, row[len(_KEY_FIELDS) :])
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
    # A lone surrogate, which JSON can spell, is no character: PostgreSQL takes it as little as NUL.
    return isinstance(value, str) and 0 < len(value) <= 255 and "\x00" not in value and not _SURROGATE.search(value)


_SURROGATE = re.compile("[\ud800-\udfff]")
