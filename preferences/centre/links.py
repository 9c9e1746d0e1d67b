"""Links that speak for one recipient, without a login: the token in them is signed, and says all there is to know.

A token is URL-safe base64 of a MessagePack array and the first 16 bytes of its HMAC-SHA256 (RFC 2104, section 5). Each tenant
signs with a secret of its own, kept encrypted in its row: so links outlast a change of SECRET_KEY and of ENCRYPTION_KEYS, and
no tenant's link can be made into another's. Each kind of link has a key of its own, so that one is never taken for the other.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hmac
from datetime import timedelta
from typing import Annotated, Final, TypeVar

import msgspec
import structlog
from django.conf import settings
from django.core.exceptions import ValidationError

from tenants.fields import decrypt
from tenants.vocabulary import Channel

CENTRE_LIFETIME: Final = timedelta(days=90)
"""How long after it was made a link opens the preference centre. Links to unsubscribe do not expire."""
EXAMPLE: Final = "example"
"""The token in links of previews."""

_MAC_BYTES: Final = 16
_LONGEST: Final = 16_384
"""Characters: an address may be all push tokens of somebody."""

logger = structlog.get_logger(__name__)

_TenantId = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class UnsubscribeLink(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """Takes a user off what a message was about, on its channel; or, without a user, an address off its channel."""

    tenant_id: _TenantId
    issued_at: _Seconds
    """Seconds since 1970."""
    channel: Channel
    event_type: str
    user_id: str
    address: str
    """As on the delivery; empty if there is a user."""


class CentreLink(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """Opens a user's preference centre."""

    tenant_id: _TenantId
    expires_at: _Seconds
    """Seconds since 1970."""
    user_id: str


LinkT = TypeVar("LinkT", UnsubscribeLink, CentreLink)
_PURPOSES: Final[dict[type, bytes]] = {
    UnsubscribeLink: b"notifications: unsubscribe",
    CentreLink: b"notifications: preferences",
}
_encoder: Final = msgspec.msgpack.Encoder()


class BadLinkError(Exception):
    """Not a link that this installation made."""


class Signer:
    """Makes and checks the links of one tenant."""

    def __init__(self, secret: str) -> None:
        if not secret:
            raise ValueError("Without a secret anybody could sign.")
        self._keys = {kind: hmac.digest(secret.encode(), purpose, "sha256") for kind, purpose in _PURPOSES.items()}

    def token(self, link: UnsubscribeLink | CentreLink) -> str:
        payload = _encoder.encode(link)
        mac = hmac.digest(self._keys[type(link)], payload, "sha256")[:_MAC_BYTES]
        return base64.urlsafe_b64encode(payload + mac).decode("ascii").rstrip("=")

    def has_signed(self, token: str, kind: type[UnsubscribeLink | CentreLink]) -> bool:
        payload, mac = _halves(token)
        return hmac.compare_digest(hmac.digest(self._keys[kind], payload, "sha256")[:_MAC_BYTES], mac)


@functools.lru_cache(maxsize=4096)
def signer_of(sealed: str) -> Signer | None:
    """The signer of a tenant by its secret as the database has it, encrypted; None if there is none or no key opens it."""
    if not sealed:
        return None
    try:
        return Signer(decrypt(sealed))
    except ValidationError:
        logger.exception("link_secret_unreadable")
        return None


def unverified(token: str, kind: type[LinkT]) -> LinkT:
    """What a token claims, to find the tenant that can tell whether it is true; raises BadLinkError."""
    payload, _ = _halves(token)
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadLinkError from error


def unsubscribe_url(token: str) -> str:
    return f"{settings.PUBLIC_URL}/u/{token}"


def centre_url(token: str) -> str:
    return f"{settings.PUBLIC_URL}/preferences/{token}"


def links_for(
    signer: Signer, names: frozenset[str], *, tenant_id: int, user_id: str, now_s: int, unsubscribe_token: str
) -> dict[str, str]:
    """The links that a template asks for by `names`. Who has no user id has no centre: both lead to the one page there is."""
    found = {}
    if "unsubscribe_url" in names or not user_id:
        found["unsubscribe_url"] = found["preferences_url"] = unsubscribe_url(unsubscribe_token)
    if "preferences_url" in names and user_id:
        expires_at = now_s + int(CENTRE_LIFETIME.total_seconds())
        found["preferences_url"] = centre_url(signer.token(CentreLink(tenant_id, expires_at, user_id)))
    return found


def _halves(token: str) -> tuple[bytes, bytes]:
    """Payload and signature; raises BadLinkError for what no token looks like."""
    if len(token) > _LONGEST or not token.isascii():
        raise BadLinkError
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise BadLinkError from error
    # Of the last character some bits mean nothing: there is one way to write a token, not four.
    if len(raw) <= _MAC_BYTES or base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=") != token:
        raise BadLinkError
    return raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
