"""The centre's pages as responses: translated, kept by nobody, framed by nobody, without a script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.utils import translation

# The token in a page's address is all that its bearer needs: it goes into no cache, no index and no Referer.
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
}


def page(request: HttpRequest, name: str, context: Mapping[str, Any], *, language: str, status: int = 200) -> HttpResponse:
    """`name` is a template in `preferences/centre/`."""
    with translation.override(language):
        shown = {"language": language, "stylesheet": _prefix() + static("preferences/centre.css"), **context}
        text = render_to_string(f"preferences/centre/{name}.html", shown)
    response = HttpResponse(text, status=status, headers=_HEADERS)
    response["Content-Language"] = language
    return response


def plain(text: str, *, status: int = 200) -> HttpResponse:
    """For programs: a mailbox that unsubscribes its owner."""
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8", headers=_HEADERS)


def redirect(location: str) -> HttpResponse:
    """To be fetched with GET (RFC 9110, 15.4.4)."""
    return HttpResponse(status=303, headers={**_HEADERS, "Location": location})


def _prefix() -> str:
    """What stands before every path for those outside: a proxy takes it away."""
    return urlsplit(settings.PUBLIC_URL).path
