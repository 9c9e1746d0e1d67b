"""Requests that end."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from tenants.database.limits import REQUEST_S, statements_within


class StatementLimitMiddleware:
    """No statement of a request takes longer than `REQUEST_S`; the API then answers 503 with `Retry-After`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with statements_within(REQUEST_S):
            return self.get_response(request)
