"""Pages for recipients. The token in a page's address is all the authority there is: without a cookie, nothing can be forged
across sites, so forms need no CSRF token, and a mailbox's one-click POST needs none either (RFC 8058, 3.2).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.timezone import now as clock
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from preferences import event_types
from preferences.centre import services, sheet
from preferences.centre.choices import Changes, end_silence, fulfil, is_silenced, silence, state_of
from preferences.centre.lines import Group, groups_of
from preferences.centre.links import CENTRE_LIFETIME, EXAMPLE, BadLinkError, CentreLink, Signer, UnsubscribeLink, centre_url
from preferences.centre.pages import page, plain, redirect
from preferences.centre.visits import ExpiredLinkError, language_of, read_centre, read_unsubscribe, visitor
from preferences.choices import LONGEST_LADDER
from preferences.errors import LadderFullError
from preferences.models import PreferenceSource
from preferences.resolver import Ladder
from preferences.selectors import Contact
from tenants.models import Tenant
from tenants.selectors import InvalidCredential, user_of_token
from tenants.vocabulary import Channel

ONE_CLICK: Final = "One-Click"
_EXCHANGED_LIFETIME: Final = timedelta(hours=1)
"""How long the centre stays open to who came with a user token."""

View = Callable[[HttpRequest, str], HttpResponse]


def _with_good_link(view: View) -> View:
    """Example, bad and expired links lead to pages that say so."""

    @functools.wraps(view)
    def answer(request: HttpRequest, token: str) -> HttpResponse:
        try:
            return page(request, "example", {}, language=language_of(request)) if token == EXAMPLE else view(request, token)
        except BadLinkError:
            return page(request, "bad", {}, language=language_of(request), status=404)
        except ExpiredLinkError as error:
            context = {"tenant": error.tenant}
            return page(request, "expired", context, language=language_of(request, error.tenant), status=410)

    return answer


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
@_with_good_link
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """GET changes nothing: mail scanners follow links. A POST does, whether a mailbox's own or that of the page's button."""
    tenant, link = read_unsubscribe(token)
    if request.method == "POST" and request.POST.get("List-Unsubscribe") == ONE_CLICK:
        by_page = "page" in request.POST
        try:
            services.unsubscribe(tenant=tenant, link=link, way="page" if by_page else "one_click")
        except services.RequiredTypeError:
            if not by_page:
                return plain("These messages cannot be turned off.", status=409)
        else:
            return redirect(f"{token}") if by_page else plain("Unsubscribed.")
    return _unsubscribe_page(request, tenant, link)


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
@_with_good_link
def centre(request: HttpRequest, token: str) -> HttpResponse:
    """A user's choices, to look at and to change."""
    tenant, link = read_centre(token, now=clock())
    contact = visitor(tenant, link.user_id)
    groups = groups_of(event_types.all_facts(tenant.pk))
    if request.method != "POST":
        return _centre_page(request, tenant, contact, groups)
    try:
        changed = _save(request, tenant, contact, groups)
    except sheet.BadFormError:
        return _centre_page(request, tenant, contact, groups, error="form")
    except LadderFullError:
        return _centre_page(request, tenant, contact, groups, error="full")
    return redirect(f"{token}?{'saved' if changed else 'unchanged'}")


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def with_user_token(request: HttpRequest) -> HttpResponse:
    """From a tenant's own page: a user token, as `token` in the form or the query, becomes a link to the centre.

    The redirection takes it out of the address, and the link opens less than the token does.
    """
    given = request.POST if request.method == "POST" else request.GET
    try:
        tenant, user_id = user_of_token(given.get("token", ""))
    except InvalidCredential:
        return page(request, "bad", {}, language=language_of(request), status=404)
    return redirect(_centre_link(tenant, user_id, _EXCHANGED_LIFETIME))


def _unsubscribe_page(request: HttpRequest, tenant: Tenant, link: UnsubscribeLink) -> HttpResponse:
    contact = visitor(tenant, link.user_id)
    language = language_of(request, tenant, contact)
    context = {"tenant": tenant, "channel": sheet.CHANNEL_NAMES[link.channel], "address": ""}
    if not link.user_id:
        context["address"] = sheet.masked(link.channel, link.address)
        return page(request, "unsubscribe", {**context, "is_off": services.is_suppressed(tenant, link)}, language=language)
    issued_before = clock().timestamp() - link.issued_at
    if issued_before < CENTRE_LIFETIME.total_seconds():  # an old mail that was passed on opens no more than it says
        context["centre"] = _centre_link(tenant, link.user_id, _EXCHANGED_LIFETIME)
    try:
        line = services.line_of(tenant, link)
    except services.RequiredTypeError:
        return page(request, "required", context, language=language)
    is_off = not state_of(line, link.channel, services.ladder_of(tenant, link.user_id)).is_on
    return page(request, "unsubscribe", {**context, "line": line, "is_off": is_off}, language=language)


@transaction.atomic
def _save(request: HttpRequest, tenant: Tenant, contact: Contact, groups: list[Group]) -> bool:
    """Whether there was anything to change; raises BadFormError, LadderFullError."""
    ladder = services.ladder_of(tenant, contact.user_id)
    changes = _changes(request, ladder, sheet.channels_of(contact, ladder), groups)
    most = None if "everything" in request.POST else LONGEST_LADDER  # silence is one preference more, and never refused
    services.apply_changes(tenant=tenant, user_id=contact.user_id, changes=changes, source=PreferenceSource.CENTRE, most=most)
    return bool(changes)


def _changes(request: HttpRequest, ladder: Ladder, channels: list[Channel], groups: list[Group]) -> Changes:
    everything = request.POST.get("everything")
    if everything == "off":
        return silence(ladder)
    if everything == "on":
        return end_silence(ladder)
    lines = [line for group in groups for line in group.lines]
    return fulfil(sheet.wishes_of(request.POST, lines, channels), ladder)


def _centre_page(
    request: HttpRequest, tenant: Tenant, contact: Contact, groups: list[Group], *, error: str = ""
) -> HttpResponse:
    ladder = services.ladder_of(tenant, contact.user_id)
    channels = sheet.channels_of(contact, ladder)
    sections = sheet.sections_of(groups, channels, ladder)
    context = {
        "tenant": tenant,
        "reach": sheet.reach_of(contact, channels),
        "sections": sections,
        "shown": sheet.shown(sections),
        "is_silenced": is_silenced(ladder),
        "error": error,
        "result": next((name for name in ("saved", "unchanged") if name in request.GET), "") if not error else "",
    }
    return page(request, "centre", context, language=language_of(request, tenant, contact), status=400 if error else 200)


def _centre_link(tenant: Tenant, user_id: str, lifetime: timedelta) -> str:
    expires_at = int((clock() + lifetime).timestamp())
    return centre_url(Signer(tenant.link_secret).token(CentreLink(tenant.pk, expires_at, user_id)))
