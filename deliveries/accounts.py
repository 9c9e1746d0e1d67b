"""Who sends: for each tenant and channel, the configured providers in the order in which to ask them.

Sandbox, if the delivery or its tenant is; else the tenant's own accounts; else the installation's, from the settings; else,
while developing, the sandbox; else nobody: the delivery fails as `not_configured`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings

from deliveries.providers import registry
from deliveries.providers.base import Provider
from deliveries.providers.credentials import ProviderConfigError
from deliveries.providers.installation import SETTINGS, installation_account
from deliveries.providers.kept import provider_for
from deliveries.providers.messages import Answer, Message, Refusal
from deliveries.providers.signing import signing_secret
from deliveries.providers.simulator import is_simulator
from tenants.models import ProviderAccount, Tenant
from tenants.vocabulary import Channel

logger = structlog.get_logger(__name__)


class AccountKey(NamedTuple):
    tenant_id: int
    channel: Channel
    sandbox: bool


def in_sandbox(channel: Channel, address: str, *, sandbox: bool) -> bool:
    """Whether a delivery belongs in the sandbox, marked so or not.

    While developing, channels without credentials are in it. A webhook has none to lack, so there its simulator
    addresses make the difference.
    """
    return sandbox or (settings.DEBUG and channel is Channel.WEBHOOK and is_simulator(channel, address))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredProvider:
    """A provider with an account; `account_id` is None for the installation's own and for the sandbox."""

    provider: Provider
    account_id: UUID | None = None
    account_name: str = ""

    @property
    def name(self) -> str:
        return self.provider.name

    @property
    def label(self) -> str:
        """For people: what the tenant calls the account."""
        return self.account_name or self.provider.name

    @property
    def is_sandbox(self) -> bool:
        return self.provider.is_sandbox

    def send_all(self, messages: Sequence[Message], *, refusal: Refusal) -> Iterator[Answer]:
        return self.provider.send_all(messages, refusal=refusal)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotConfigured:
    """Nobody can send; `message` says what to do about it."""

    message: str


Accounts = list[ConfiguredProvider] | NotConfigured


def providers_for(keys: Collection[AccountKey], *, rng: random.Random | None = None) -> dict[AccountKey, Accounts]:
    """Two queries, however many keys. Among a tenant's accounts lower priority goes first; equals are drawn by weight."""
    tenants = _tenants({key.tenant_id for key in keys if not key.sandbox and key.channel is not Channel.IN_APP})
    own = _own_accounts({key for key in keys if not key.sandbox and key.channel not in registry.OURS})
    draw = rng or random.Random()  # noqa: S311 - shares load, guards nothing
    return {key: _accounts(key, tenants.get(key.tenant_id), own.get((key.tenant_id, key.channel), []), draw) for key in keys}


def _tenants(ids: set[int]) -> dict[int, Tenant]:
    return Tenant.objects.only("sandbox", "webhook_secret").in_bulk(ids) if ids else {}


def _own_accounts(keys: set[AccountKey]) -> dict[tuple[int, Channel], list[ProviderAccount]]:
    found: dict[tuple[int, Channel], list[ProviderAccount]] = defaultdict(list)
    if keys:
        accounts = ProviderAccount.objects.filter(
            tenant_id__in={key.tenant_id for key in keys}, channel__in={key.channel for key in keys}, is_active=True
        )
        for account in accounts.order_by("priority", "id"):
            found[account.tenant_id, Channel(account.channel)].append(account)
    return found


def _accounts(key: AccountKey, tenant: Tenant | None, own: Sequence[ProviderAccount], draw: random.Random) -> Accounts:
    if key.channel is Channel.IN_APP:
        return [_configured(Channel.IN_APP, registry.IN_APP, {})]
    if key.sandbox or (tenant is not None and tenant.sandbox):
        return [_sandbox()]
    if tenant is None:
        return NotConfigured(message="The tenant is gone.")
    if key.channel is Channel.WEBHOOK:
        return [_webhook(tenant)]
    if own:
        return _of_tenant(in_drawn_order(own, draw))
    return _of_installation(key.channel)


def in_drawn_order(accounts: Iterable[ProviderAccount], draw: random.Random) -> list[ProviderAccount]:
    """By priority; within it, each next one drawn with a chance proportional to its weight (Efraimidis and Spirakis, 2006)."""
    # A weight of 0 goes last among its equals.
    return sorted(accounts, key=lambda one: (one.priority, draw.expovariate(one.weight) if one.weight else float("inf")))


def _of_tenant(accounts: Iterable[ProviderAccount]) -> Accounts:
    """A faulty account is passed over. If all are, nobody sends: the installation's account would speak in another name."""
    usable, faults = [], []
    for account in accounts:
        try:
            channel = Channel(account.channel)
            usable.append(_configured(channel, account.kind, account.credentials, account_id=account.pk, name=account.name))
        except ProviderConfigError as error:
            logger.warning("provider_account_faulty", provider_account_id=str(account.pk), kind=account.kind, field=error.field)
            faults.append(f"{account.name}: {error}")
    return usable or NotConfigured(message="; ".join(faults))


def _of_installation(channel: Channel) -> Accounts:
    account = installation_account(channel)
    if account is not None:
        try:
            return [_configured(channel, account.kind, account.credentials)]
        except ProviderConfigError as error:
            logger.warning("installation_account_faulty", channel=channel.label, field=error.field)
            return NotConfigured(message=f"{SETTINGS[channel]}: {error}")
    if settings.DEBUG:
        return [_sandbox()]
    return NotConfigured(message=f"Nothing is configured for {channel.label}: set {SETTINGS[channel]}, or add an account.")


def _configured(
    channel: Channel, kind: str, credentials: Mapping[str, Any], *, account_id: UUID | None = None, name: str = ""
) -> ConfiguredProvider:
    provider_class = registry.provider_class(channel, kind)
    return ConfiguredProvider(provider=provider_for(provider_class, credentials), account_id=account_id, account_name=name)


def _sandbox() -> ConfiguredProvider:
    return ConfiguredProvider(provider=provider_for(registry.sandbox_class(), {}))


def _webhook(tenant: Tenant) -> ConfiguredProvider:
    return _configured(Channel.WEBHOOK, registry.WEBHOOK, {"secret": signing_secret(tenant.webhook_secret)})
