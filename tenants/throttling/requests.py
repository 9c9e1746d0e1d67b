"""The limit of each caller, and the headers that tell of it.

Requests are counted where the caller becomes known, in `tenants.authentication`: REST framework's own hook comes after the
permissions, and would let through whoever asks again and again for what he may not have.

The headers are those of the IETF's draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy` as in its 10th version, and the
three of its 6th, which most clients read.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import Counter

from tenants.http.problems import TooManyRequests
from tenants.models import ApiKey, Tenant
from tenants.throttling.buckets import Level, take
from tenants.throttling.limits import RateLimit, parse_rate_limit

THROTTLED = Counter("notifications_requests_throttled", "Requests turned away because their caller made too many.", ["caller"])

FAILURES: Final = RateLimit(600, 60)
"""Credentials that are not valid, from one address."""
_IPV6_SITE: Final = 64
"""Bits: whoever has one address of such a network has all."""


def count_key(request: HttpRequest, key: ApiKey) -> None:
    """Raises TooManyRequests, as all of these."""
    limit = parse_rate_limit(key.rate_limit) if key.rate_limit else settings.API_RATE_LIMIT
    _count(request, "key", key.pk.hex, limit)


def count_user(request: HttpRequest, tenant: Tenant, user_id: str) -> None:
    _count(request, "user", f"{tenant.pk}:{user_id}", settings.USER_RATE_LIMIT)


def count_staff(request: HttpRequest, user_pk: Any) -> None:
    _count(request, "staff", str(user_pk), settings.API_RATE_LIMIT)


def count_failure(request: HttpRequest) -> None:
    """For a credential that is not valid. A valid one is never asked for its address: others may share it."""
    if settings.API_RATE_LIMIT is not None:
        _count(request, "address", client_address(request), FAILURES)


def client_address(request: HttpRequest) -> str:
    """Who is at the other end: what the proxy says, if it is trusted, else the connection. Of IPv6, the /64 network.

    A proxy adds to `X-Forwarded-For` at the end, so only the last address there is its own word.
    """
    text = request.META.get("REMOTE_ADDR", "")
    if settings.TRUST_PROXY_HEADERS:
        text = request.headers.get("X-Forwarded-For", text).rpartition(",")[2].strip()
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""  # a Unix socket, or a proxy that says something else: they all count together
    if address.version == 6:
        return str(ipaddress.ip_network((address.packed, _IPV6_SITE), strict=False))
    return str(address)


def _count(request: HttpRequest, caller: str, name: str, limit: RateLimit | None) -> None:
    if limit is None:
        return
    level = take(f"{caller}:{name}", limit)
    if level is None:
        return
    request.rate_limit = level  # type: ignore[attr-defined] # for the middleware
    if not level.allowed:
        THROTTLED.labels(caller).inc()
        raise TooManyRequests(level.wait_s)


class RateLimitHeadersMiddleware:
    """Puts the headers on every answer to a caller that has a limit."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        level: Level | None = getattr(request, "rate_limit", None)
        if level is not None:
            limit = level.limit
            response["RateLimit-Limit"] = str(limit.count)
            response["RateLimit-Remaining"] = str(level.remaining)
            response["RateLimit-Reset"] = str(level.reset_s)
            response["RateLimit-Policy"] = f'"default";q={limit.count};w={limit.seconds}'
        return response
