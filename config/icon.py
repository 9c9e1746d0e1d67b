"""The service's icon, also where browsers look for one unasked."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

_DAY_S = 24 * 60 * 60


def address(_request: HttpRequest) -> str:
    """For unfold's `SITE_FAVICONS`."""
    return static("favicon.svg")


@require_safe
@cache_control(public=True, max_age=_DAY_S)
def favicon(request: HttpRequest) -> HttpResponse:
    """`/favicon.ico`, for pages that link no icon: answers of the API that are opened in a browser, say."""
    return redirect(address(request))
