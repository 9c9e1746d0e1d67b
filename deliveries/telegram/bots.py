"""Which bot a tenant's users talk to, and where Telegram posts what they say to it.

The webhook's path and secret are derived from the bot's token: nothing more is kept, and a new token has new ones.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from deliveries.providers.installation import installation_account
from deliveries.receipts.addresses import INSTALLATION
from tenants.models import ProviderAccount, Tenant
from tenants.vocabulary import Channel

KIND: Final = "telegram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    name: str
    """The provider account's id, or `installation`."""
    label: str
    """For people."""
    token: str = field(repr=False)
    tenant_id: int | None
    """None: the installation's, which speaks for every tenant without a chat account of its own."""

    @property
    def path_key(self) -> str:
        """The part of the webhook's path that nobody can guess."""
        return self._derived("path")

    @property
    def secret(self) -> str:
        """What Telegram sends in `X-Telegram-Bot-Api-Secret-Token`: 1 to 256 characters of `A-Za-z0-9_-`."""
        return self._derived("secret")

    @property
    def webhook_url(self) -> str:
        return f"{settings.PUBLIC_URL}/api/telegram/{self.name}/{self.path_key}"

    def is_genuine(self, path_key: str, secret: str) -> bool:
        """Whether an update came from Telegram; takes as long for what is nearly right."""
        matches = [
            hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
            for given, expected in ((path_key, self.path_key), (secret, self.secret))
        ]
        return all(matches)

    def _derived(self, purpose: str) -> str:
        digest = hmac.digest(self.token.encode(), f"telegram webhook {purpose}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def bot_for(tenant: Tenant) -> Bot | None:
    """Who sends the tenant's messages on Telegram, as `deliveries.accounts` chooses: of several bots the first in order."""
    own = list(_chat_accounts().filter(tenant=tenant).order_by("priority", "id"))
    if own:
        return next(iter(filter(None, map(bot_of, own))), None)
    return _installations()


def bot_named(name: str) -> Bot | None:
    """The bot that a webhook's path names, of an account that is switched off too: its users may still end it."""
    if name == INSTALLATION:
        return _installations()
    try:
        account = ProviderAccount.objects.filter(pk=UUID(name), channel=Channel.CHAT).first()
    except ValueError:
        return None
    return bot_of(account) if account else None


def every_bot() -> list[Bot]:
    """The installation's, and those of all accounts in use."""
    accounts = _chat_accounts().filter(kind=KIND).select_related("tenant").order_by("tenant__slug", "priority", "id")
    return [bot for bot in (_installations(), *map(bot_of, accounts)) if bot is not None]


def tenants_of(bot: Bot) -> QuerySet[Tenant]:
    """Whose users the bot speaks to now."""
    if bot.tenant_id is None:
        return Tenant.objects.exclude(pk__in=_chat_accounts().values("tenant_id"))
    tenant = Tenant.objects.get(pk=bot.tenant_id)
    return Tenant.objects.filter(pk=tenant.pk) if bot_for(tenant) == bot else Tenant.objects.none()


def _chat_accounts() -> QuerySet[ProviderAccount]:
    return ProviderAccount.objects.filter(channel=Channel.CHAT, is_active=True)


def _installations() -> Bot | None:
    account = installation_account(Channel.CHAT)
    return _bot(INSTALLATION, "the installation's bot", account.credentials, None) if account else None


def bot_of(account: ProviderAccount) -> Bot | None:
    """None: it is no Telegram account, or has no token."""
    if account.kind != KIND:
        return None
    return _bot(str(account.pk), account.name, account.credentials, account.tenant_id)


def _bot(name: str, label: str, credentials: Mapping[str, Any], tenant_id: int | None) -> Bot | None:
    token = credentials.get("bot_token")
    return Bot(name=name, label=label, token=token, tenant_id=tenant_id) if isinstance(token, str) and token else None
