"""The service that is struck, with a tenant whose events are posted and a mail server that counts."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.acceptance.stand import Stand, state_folder
from tests.doubles.smtp import SmtpDouble

EVENT_TYPE = "chaos.struck"
_MAIL_TAKES_S = 0.02
"""So that mails are under way at any moment of a load; eight at a time are 400 a second."""


class StruckStand(Stand):
    """A running stack with a tenant and its templates."""

    def __init__(self, state: Path, smtp: SmtpDouble) -> None:
        super().__init__(state, EMAIL_URL=smtp.url)
        self.smtp = smtp
        self.api_key = ""

    def prepare(self) -> None:
        """Wait for the service, and give it the tenant whose events will be posted."""
        self.run.wait_ready()
        self.run.manage("create_tenant", "chaos")
        self.api_key = self.run.manage("create_api_key", "chaos", "--scope", "admin")
        with self.own_client() as api:
            for channel in ("email", "in_app"):
                template = {
                    "channel": channel,
                    "eventType": EVENT_TYPE,
                    "locale": "en",
                    "subject": "{{ number }}",
                    "body": "This is {{ number }}.",
                    "variables": ["number"],
                }
                api.post("/api/admin/templates", json=template).raise_for_status()

    def own_client(self) -> httpx.Client:
        return self.client(self.api_key)

    def mails(self) -> Counter[tuple[str, str]]:
        """How often the mail server took what, by recipient and subject, which is the event's id."""
        return Counter((mail.recipients[0], str(mail.message["Subject"])) for mail in list(self.smtp.received))


@contextlib.contextmanager
def running_stand() -> Iterator[StruckStand]:
    """A stand in a folder of its own, for as long as the block lasts; nothing of it stays."""
    with state_folder() as state, SmtpDouble() as smtp:
        smtp.behave(delay_s=_MAIL_TAKES_S)
        stand = StruckStand(state, smtp)
        try:
            stand.prepare()
            yield stand
        finally:
            stand.stop()
