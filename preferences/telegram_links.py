"""Links by which users join their Telegram chat to what the tenant knows of them.

A link holds a token, which Telegram hands to the bot when its user opens it:
https://core.telegram.org/bots/features#deep-linking
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db import transaction
from django.db.models import QuerySet
from django.utils.timezone import now as clock

from preferences.models import Recipient, TelegramLink
from preferences.services import ensure_recipients, patch_recipient
from tenants.models import Tenant
from tenants.services import hash_key

GOOD_FOR: Final = timedelta(hours=1)
_TOKEN_BYTES: Final = 32
"""43 characters of `A-Za-z0-9_-`; Telegram takes 64."""


class NewLink(NamedTuple):
    token: str
    """Shown this once and kept nowhere."""
    expires_at: datetime


@transaction.atomic
def create_link(*, tenant: Tenant, user_id: str, bot: str, make_known: bool) -> NewLink:
    """A link for the bot of this name; raises Recipient.DoesNotExist, unless the user is to be made known."""
    if make_known:
        ensure_recipients([(tenant.pk, user_id)])
    # The lock keeps a recipient that is being erased at the same moment from getting one.
    recipient = Recipient.objects.for_tenant(tenant).select_for_update().get(user_id=user_id)
    now = clock()
    TelegramLink.objects.for_tenant(tenant).filter(expires_at__lte=now).delete()
    link = NewLink(secrets.token_urlsafe(_TOKEN_BYTES), now + GOOD_FOR)
    TelegramLink.objects.create(
        tenant=tenant, recipient=recipient, bot=bot, token_hash=hash_key(link.token), expires_at=link.expires_at
    )
    return link


@transaction.atomic
def use_link(*, bot: str, token: str, chat_id: str) -> Tenant | None:
    """Make the chat the recipient's, and the link void; says whose. None: it is no link of this bot, was used or is too old."""
    found = TelegramLink.objects.select_related("recipient__tenant").filter(token_hash=hash_key(token), bot=bot).first()
    if found is None:
        return None
    # The recipient first, as when it is erased.
    Recipient.objects.select_for_update().filter(pk=found.recipient_id).first()
    count, _ = TelegramLink.objects.filter(pk=found.pk, expires_at__gt=clock()).delete()
    if not count:
        return None
    recipient = found.recipient
    patch_recipient(tenant=recipient.tenant, user_id=recipient.user_id, changes={"telegram_chat_id": chat_id})
    return recipient.tenant


def unlink_chat(*, tenants: QuerySet[Tenant], chat_id: str) -> int:
    """Take the chat from those of the tenants' recipients that have it; returns their number."""
    having = Recipient.objects.filter(tenant__in=tenants, telegram_chat_id=chat_id)
    return having.update(telegram_chat_id="", updated_at=clock())
