"""Who opens a socket.

There is no check of the `Origin` header: it guards credentials that browsers send by themselves, and this takes no cookies. A
page that has a user's token may use it, wherever it was served from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

import jwt

from deliveries.inbox.selectors import Inbox
from tenants.selectors import user_of_token

SUBPROTOCOL: Final = "bearer"
_KEPT: Final = "inbox.token"

Scope = dict[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    inbox: Inbox
    expires_at: float
    """Seconds since 1970."""


def keep_token_out_of_logs(application: Application) -> Application:
    """Takes `?token=` out of what servers write into their logs as the request's path."""

    async def wrapped(scope: Scope, receive: Any, send: Any) -> None:
        query = scope.get("query_string", b"").decode("latin-1")
        scope[_KEPT] = parse_qs(query).get("token", [""])[0]
        scope["query_string"] = b""
        await application(scope, receive, send)

    return wrapped


def token_of(scope: Scope) -> tuple[str, str | None]:
    """The token, and the subprotocol to accept: `?token=TOKEN`, or the subprotocols `bearer, TOKEN`."""
    offered = scope.get("subprotocols", [])
    if len(offered) > 1 and offered[0] == SUBPROTOCOL:
        return offered[1], SUBPROTOCOL
    return scope.get(_KEPT, ""), None


def grant(token: str) -> Access:
    """What a token opens; raises tenants.selectors.InvalidCredential."""
    tenant, user_id = user_of_token(token)
    # Verified by the line above.
    expires_at = jwt.decode(token, options={"verify_signature": False})["exp"]
    return Access(inbox=Inbox(tenant_id=tenant.pk, user_id=user_id), expires_at=float(expires_at))
