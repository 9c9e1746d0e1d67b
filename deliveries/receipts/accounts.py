"""Whose receipts a URL takes, and by which credentials they are verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from deliveries.providers.installation import installation_account
from deliveries.receipts.addresses import INSTALLATION
from deliveries.receipts.errors import UnsignedError
from tenants.models import ProviderAccount
from tenants.vocabulary import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivingAccount:
    credentials: Mapping[str, Any]
    tenant_id: int | None
    """None: the installation's account, which sends for every tenant."""


def receiving_account(channel: Channel, kind: str, name: str) -> ReceivingAccount:
    """The account that a URL names, switched off or not: what it sent before still comes back.

    Raises UnsignedError if there is none: nobody can have signed for it.
    """
    if name == INSTALLATION:
        own = installation_account(channel)
        if own is None or own.kind != kind:
            raise UnsignedError
        return ReceivingAccount(credentials=own.credentials, tenant_id=None)
    try:
        account = ProviderAccount.objects.get(pk=UUID(name), channel=channel, kind=kind)
    except (ValueError, ProviderAccount.DoesNotExist) as error:
        raise UnsignedError from error
    return ReceivingAccount(credentials=account.credentials, tenant_id=account.tenant_id)
