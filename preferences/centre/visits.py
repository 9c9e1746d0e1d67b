"""Who opens a link: the tenant and what the token says, once it is known to be true."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

from django.http import HttpRequest
from django.utils.translation import get_supported_language_variant
from django.utils.translation.trans_real import parse_accept_lang_header

from preferences.centre.links import BadLinkError, CentreLink, Signer, UnsubscribeLink, unverified
from preferences.selectors import Contact, recipients_by_user
from tenants.models import Tenant

LinkT = TypeVar("LinkT", UnsubscribeLink, CentreLink)


class ExpiredLinkError(Exception):
    """A link that this installation made, and whose time is over."""

    def __init__(self, tenant: Tenant) -> None:
        super().__init__(tenant)
        self.tenant = tenant


def read_unsubscribe(token: str) -> tuple[Tenant, UnsubscribeLink]:
    """Raises BadLinkError; these links do not expire."""
    return _verified(token, UnsubscribeLink)


def read_centre(token: str, *, now: datetime) -> tuple[Tenant, CentreLink]:
    """Raises BadLinkError, ExpiredLinkError."""
    tenant, link = _verified(token, CentreLink)
    if datetime.fromtimestamp(link.expires_at, UTC) <= now:
        raise ExpiredLinkError(tenant)
    return tenant, link


def visitor(tenant: Tenant, user_id: str) -> Contact:
    """The user as far as known: who is not known yet has no address."""
    found = recipients_by_user([(tenant.pk, user_id)]) if user_id else {}
    return found.get((tenant.pk, user_id)) or Contact(user_id=user_id)


def language_of(request: HttpRequest, tenant: Tenant | None = None, contact: Contact | None = None) -> str:
    """The recipient's own, else the browser's, else the tenant's, as far as there are translations; else English."""
    if contact is not None and (own := _supported(contact.locale)):
        return own
    asked = [tag for tag, _ in parse_accept_lang_header(request.headers.get("Accept-Language", ""))]
    others = [*asked, tenant.default_locale if tenant is not None else ""]
    return next(filter(None, map(_supported, others)), "en")


def _verified(token: str, kind: type[LinkT]) -> tuple[Tenant, LinkT]:
    link = unverified(token, kind)
    tenant = Tenant.objects.filter(pk=link.tenant_id, is_active=True).first()
    if tenant is None or not Signer(tenant.link_secret).has_signed(token, kind):
        raise BadLinkError
    return tenant, link


def _supported(locale: str) -> str:
    try:
        return get_supported_language_variant(locale) if locale else ""
    except LookupError:
        return ""
