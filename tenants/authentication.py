"""The three ways in: an API key, a user token, a staff session."""

from __future__ import annotations

from django.utils import timezone
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from tenants.models import ApiKey, Tenant
from tenants.principal import Principal
from tenants.selectors import InvalidCredential, api_key_by_text, user_of_token
from tenants.throttling import requests as throttling
from tenants.vocabulary import Scope

_USE_RECORDED_EVERY_S = 60


class ApiKeyAuthentication(authentication.BaseAuthentication):
    """`X-API-Key: nk_…`"""

    def authenticate(self, request: Request) -> tuple[Principal, ApiKey] | None:
        text = request.headers.get("X-API-Key")
        if text is None:
            return None
        try:
            key = api_key_by_text(text)
        except InvalidCredential as error:
            throttling.count_failure(request._request)
            raise exceptions.AuthenticationFailed(str(error)) from error
        throttling.count_key(request._request, key)
        _record_use(key)
        principal = Principal(
            tenant=key.tenant,
            scopes=frozenset(Scope(scope) for scope in key.scopes),
            sandbox=key.sandbox or key.tenant.sandbox,
            name=key.prefix,
        )
        return principal, key

    def authenticate_header(self, request: Request) -> str:
        return 'ApiKey realm="api"'


class UserTokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer <JWT>` minted for one user."""

    def authenticate(self, request: Request) -> tuple[Principal, str] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            tenant, user_id = user_of_token(token.strip())
        except InvalidCredential as error:
            throttling.count_failure(request._request)
            raise exceptions.AuthenticationFailed(str(error)) from error
        throttling.count_user(request._request, tenant, user_id)
        return Principal(tenant=tenant, user_id=user_id, sandbox=tenant.sandbox, name=user_id), token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


class StaffSessionAuthentication(authentication.SessionAuthentication):
    """A superuser signed in to the admin, acting for the tenant named by `X-Tenant` (or the only one there is)."""

    def authenticate(self, request: Request) -> tuple[Principal, None] | None:
        user = getattr(request._request, "user", None)
        if user is None or not user.is_active or not user.is_superuser:
            return None
        throttling.count_staff(request._request, user.pk)
        self.enforce_csrf(request)
        tenants = Tenant.objects.filter(is_active=True)
        slug = request.headers.get("X-Tenant", "")
        candidates = list((tenants.filter(slug=slug) if slug and "\x00" not in slug else tenants)[:2])
        if len(candidates) != 1:
            raise exceptions.AuthenticationFailed("Name the tenant to act for in the header X-Tenant.")
        (tenant,) = candidates
        return Principal(tenant=tenant, scopes=frozenset({Scope.ADMIN}), sandbox=tenant.sandbox, name=user.get_username()), None


def _record_use(key: ApiKey) -> None:
    now = timezone.now()
    if key.last_used_at is None or (now - key.last_used_at).total_seconds() > _USE_RECORDED_EVERY_S:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
