"""The links of an event's recipients, each made when a message asks for it. No statement: what signs came with the chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from notifications.wire import TenantFacts, Work
from preferences.centre.links import Signer, UnsubscribeLink, links_for, signer_of
from tenants.vocabulary import Channel


class RecipientLinks(msgspec.Struct, frozen=True, gc=False):
    signer: Signer | None
    """None if the tenant's secret cannot be read: then there are no links."""
    work: Work
    now_s: int

    @classmethod
    def of(cls, work: Work, tenant: TenantFacts, now: datetime) -> RecipientLinks:
        return cls(signer_of(tenant.link_secret), work, int(now.timestamp()))

    def unsubscribe_token(self, user_id: str, channel: Channel, addresses: Sequence[str]) -> str:
        """For a recipient without a user id it speaks of the address."""
        if self.signer is None:
            return ""
        address = "" if user_id else " ".join(addresses)
        work = self.work
        return self.signer.token(UnsubscribeLink(work.tenant_id, self.now_s, channel, work.event_type, user_id, address))

    def header_token(self, user_id: str, channel: Channel, addresses: Sequence[str]) -> str:
        """For the header of an e-mail; empty on other channels, and for what is required."""
        if channel is not Channel.EMAIL or self.work.required:
            return ""
        return self.unsubscribe_token(user_id, channel, addresses)

    def named(self, names: frozenset[str], user_id: str, channel: Channel, addresses: Sequence[str]) -> Mapping[str, str]:
        """Those that a template mentions."""
        if self.signer is None:
            return {}
        token = self.unsubscribe_token(user_id, channel, addresses)
        return links_for(
            self.signer, names, tenant_id=self.work.tenant_id, user_id=user_id, now_s=self.now_s, unsubscribe_token=token
        )
