"""Chat by any service that apprise knows: Slack, Discord, Teams and the rest of https://appriseit.com/services/"""

from __future__ import annotations

import warnings
from functools import partial
from typing import ClassVar
from urllib.parse import quote

from apprise import Apprise, NotifyFormat
from apprise.exception import AppriseImproperlyConfigured
from apprise.manager_plugins import NotificationManager
from apprise.plugins import NotifyBase

from deliveries.providers import chat
from deliveries.providers.base import Provider
from deliveries.providers.credentials import Field, ProviderConfigError
from deliveries.providers.messages import Failed, Failure, Message, Outcome
from tenants.vocabulary import Channel

with warnings.catch_warnings():
    # Done here, since it happens at the first URL otherwise: apprise loads all its plugins, one of which imports a module
    # that Python has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    NotificationManager().load_modules()  # type: ignore[no-untyped-call]

_ADDRESS = "{address}"
_SCHEMES = frozenset(
    # Chat services at their vendors' addresses, and self-hosted ones at an address that the company names itself. Not listed:
    # what acts on this very machine (dbus, syslog, …), what posts to any URL (json, xml, form: there is the webhook channel),
    # and what is another channel.
    (
        *("discord", "feishu", "gchat", "guilded", "lark", "line", "matrix", "matrixs", "mmost", "mmosts", "msteams"),
        *("nctalk", "nctalks", "rocket", "rockets", "ryver", "signal", "signals", "slack", "twist", "webex", "whatsapp"),
        *("workflow", "workflows", "wxteams", "zulip"),
    )
)


class AppriseProvider(Provider):
    name = "apprise"
    channel = Channel.CHAT
    fields = (
        Field(
            "url",
            secret=True,
            help=f"An apprise URL, e.g. slack://TokenA/TokenB/TokenC/#channel. {_ADDRESS} in it is the recipient's chat id.",
        ),
    )

    time_limits_s: ClassVar[tuple[float, float]] = (5, 10)
    """To connect, to answer."""

    def __init__(self, *, url: str) -> None:
        self._url = url
        self._asset = chat.asset()
        if url.partition("://")[0].lower() not in _SCHEMES:
            raise ProviderConfigError("url", f"Begin with one of {', '.join(f'{one}://' for one in sorted(_SCHEMES))}.")
        if self._plugin("1") is None:
            raise ProviderConfigError("url", "apprise does not understand this URL.")

    def send(self, message: Message) -> Outcome:
        refused = chat.empty(message)
        if refused is not None:
            return refused
        plugin = self._plugin(message.address)
        if plugin is None:
            text = f"{message.address!r} does not fit into the account's URL."
            return Failed(failure=Failure.PERMANENT, code="invalid_chat_id", message=text)
        title, body = (message.subject, message.body) if message.body else ("", message.subject)
        post = partial(plugin.notify, title=title, body=body, body_format=NotifyFormat.TEXT)
        return chat.ask(plugin, post, self.time_limits_s)

    def _plugin(self, address: str) -> NotifyBase | None:
        url = self._url.replace(_ADDRESS, quote(address, safe=""))
        try:
            plugin = Apprise.instantiate(url, asset=self._asset, suppress_exceptions=False)
        except (AppriseImproperlyConfigured, TypeError):
            return None
        return plugin if isinstance(plugin, NotifyBase) else None
