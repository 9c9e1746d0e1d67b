"""Who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from rest_framework.request import Request

from tenants.models import Tenant
from tenants.vocabulary import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The caller of a request: a tenant's server, one of its users, or staff acting for it."""

    tenant: Tenant
    scopes: frozenset[Scope] = frozenset()
    user_id: str | None = None
    """Set for a user token: the only user whose data it reaches."""
    sandbox: bool = False
    """Whether what this caller posts is recorded and never sent."""
    name: str = ""
    """For the audit: the key's prefix, the user id or the staff member's name."""

    is_authenticated = True
    is_active = True

    @property
    def pk(self) -> str:
        return f"{self.tenant.pk}:{self.name}"

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


def caller(request: Request) -> Principal:
    """Who sent an authenticated request. DRF calls it `user`, and its types know only Django's."""
    return cast("Principal", request.user)
