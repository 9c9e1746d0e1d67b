"""Which class serves which kind of account. A class is imported when first asked for: the vendors' SDKs are heavy, and
processes that send nothing never load them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.utils.module_loading import import_string

from deliveries.providers.base import Provider
from deliveries.providers.credentials import ProviderConfigError, check_credentials
from tenants.vocabulary import Channel

SANDBOX: Final = "deliveries.providers.sandbox.SandboxProvider"
IN_APP: Final = "in_app"
WEBHOOK: Final = "webhook"

PROVIDERS: Final[Mapping[tuple[Channel, str], str]] = {
    (Channel.EMAIL, "smtp"): "deliveries.providers.smtp.SmtpProvider",
    (Channel.EMAIL, "brevo"): "deliveries.providers.esp.BrevoProvider",
    (Channel.EMAIL, "mailgun"): "deliveries.providers.esp.MailgunProvider",
    (Channel.EMAIL, "postmark"): "deliveries.providers.esp.PostmarkProvider",
    (Channel.EMAIL, "resend"): "deliveries.providers.esp.ResendProvider",
    (Channel.EMAIL, "sendgrid"): "deliveries.providers.esp.SendGridProvider",
    (Channel.EMAIL, "sparkpost"): "deliveries.providers.esp.SparkPostProvider",
    (Channel.SMS, "twilio"): "deliveries.providers.twilio.TwilioProvider",
    (Channel.PUSH, "fcm"): "deliveries.providers.fcm.FcmProvider",
    (Channel.IN_APP, IN_APP): "deliveries.inbox.provider.InAppProvider",
    (Channel.CHAT, "telegram"): "deliveries.providers.telegram.TelegramProvider",
    (Channel.CHAT, "apprise"): "deliveries.providers.apprise.AppriseProvider",
    (Channel.WEBHOOK, WEBHOOK): "deliveries.providers.webhook.WebhookProvider",
}

OURS: Final = frozenset({Channel.IN_APP, Channel.WEBHOOK})
"""Channels that need no vendor: always configured, without provider accounts."""


def kinds(channel: Channel | None = None) -> list[str]:
    """The kinds of account that a tenant may have, for one channel or all."""
    return [kind for of, kind in PROVIDERS if of not in OURS and channel in (None, of)]


def provider_class(channel: Channel, kind: str) -> type[Provider]:
    """Raises ProviderConfigError for a kind that the channel has not."""
    path = PROVIDERS.get((channel, kind))
    if path is None:
        raise ProviderConfigError(
            "kind", f"There is no {kind!r} for {channel.label}; there is {', '.join(kinds(channel)) or 'none'}."
        )
    return _imported(path)


def sandbox_class() -> type[Provider]:
    return _imported(SANDBOX)


def validate_credentials(kind: str, channel: Channel, credentials: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with an account, as (field, message); no connection is made. The field `kind` is the account's own."""
    try:
        provider = provider_class(channel, kind)
        errors = check_credentials(provider.fields, credentials)
        if not errors:
            provider.from_credentials(credentials).close()
    except ProviderConfigError as error:
        return [(error.field, error.message)]
    return errors


def _imported(path: str) -> type[Provider]:
    return import_string(path)  # type: ignore[no-any-return]
