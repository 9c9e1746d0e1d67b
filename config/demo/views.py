"""The demo page: send an event, watch it arrive. It carries the demo tenant's API key, so it exists while developing only."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import View

from config.demo.content import KINDS, RECIPIENTS, USER
from config.demo.seed import demo_api_key, demo_tenant
from tenants.services import create_user_token
from tenants.vocabulary import Channel, Priority

_TOKEN_TTL = timedelta(hours=12)
# Everything comes from here; the e-mail's frame is sandboxed besides.
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"
_LOOPBACK = frozenset({"127.0.0.1", "::1"})


class DemoView(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        tenant = demo_tenant() if settings.DEBUG and _is_at_home(request) else None
        if tenant is None:
            raise Http404
        users = [recipient.user_id for recipient in RECIPIENTS]
        user = request.GET.get("user", USER)
        if user not in users:
            raise Http404
        page = _page(demo_api_key(tenant), create_user_token(tenant=tenant, user_id=user, ttl=_TOKEN_TTL), user)
        context = {"page": page, "users": users, "user": user, "kinds": KINDS, "channels": Channel, "priorities": Priority}
        response = render(request, "demo/index.html", context)
        response["Content-Security-Policy"] = _POLICY
        response["Referrer-Policy"] = "no-referrer"
        response["Cache-Control"] = "no-store"
        return response


def _is_at_home(request: HttpRequest) -> bool:
    """Asked from this machine, under its own name: a foreign name that resolves to it (DNS rebinding) could read the key."""
    name = urlsplit(f"//{request.get_host()}").hostname
    return request.META.get("REMOTE_ADDR") in _LOOPBACK and (name == "localhost" or name in _LOOPBACK)


def _page(api_key: str, token: str, user: str) -> dict[str, Any]:
    """What the script needs."""
    return {
        "apiKey": api_key,
        "token": token,
        "user": user,
        "kinds": {
            kind.name: {
                "about": kind.description,
                "data": kind.variables,
                "channels": [str(channel.label) for channel in kind.channels],
                "priority": str(kind.priority.label),
            }
            for kind in KINDS
        },
    }
