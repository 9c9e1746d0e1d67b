"""What a caller may do, declared on the view.

A view sets `scopes = {"GET": (Scope.X,), "POST": (Scope.Y,)}` (any one of them is enough) and, if users may call it with
their token, `user_token_methods = {"GET", …}`. A method that is not declared is refused.
"""

from __future__ import annotations

from typing import Any

from rest_framework import exceptions, permissions
from rest_framework.request import Request

from tenants.principal import Principal


class HasScope(permissions.BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        principal: Any = request.user
        if not isinstance(principal, Principal):
            raise exceptions.NotAuthenticated("Send an API key in X-API-Key, or a user token in Authorization: Bearer.")
        method = "GET" if request.method == "HEAD" else str(request.method)
        if method == "OPTIONS":
            return True
        if method.lower() not in view.http_method_names or not hasattr(view, method.lower()):
            raise exceptions.MethodNotAllowed(method)
        if principal.user_id is not None:
            if method in getattr(view, "user_token_methods", ()):
                return True
            raise exceptions.PermissionDenied("A user token does not reach this.")
        wanted = getattr(view, "scopes", {}).get(method, ())
        if any(principal.may(scope) for scope in wanted):
            return True
        if not wanted and hasattr(view, "user_token_methods"):
            raise exceptions.PermissionDenied("This needs a user token.")
        raise exceptions.PermissionDenied(f"The API key lacks the scope {' or '.join(wanted)}.")
