"""The sandbox's simulator addresses: what they look like on each channel, and which outcome each asks for.

They exist in the sandbox only; no real provider ever gets one (`base.Provider.send_all` sees to it).
"""

from __future__ import annotations

import enum
import re
from urllib.parse import urlsplit

from tenants.vocabulary import Channel

DOMAIN = "simulator.invalid"
"""Never resolves (RFC 2606, section 2)."""
_PREFIX = "simulator-"
_PHONE = re.compile(r"\+1500555000(\d)")


class Scenario(enum.Enum):
    OK = "ok"
    BOUNCE = "bounce"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    SLOW = "slow"
    DOWN = "down"


_BY_WORD = {scenario.value: scenario for scenario in Scenario}
_BY_DIGIT = dict(enumerate(Scenario))


def is_simulator(channel: Channel, address: str) -> bool:
    """Whether the address belongs to the simulator, with or without a known outcome."""
    return _word(channel, address) is not None


def scenario_of(channel: Channel, address: str) -> Scenario | None:
    """The outcome a simulator address asks for: its local part (up to a `+`), digit, suffix, sub-domain or path.

    None for an ordinary address, and for a simulator address that names no known outcome.
    """
    word = _word(channel, address)
    return _BY_WORD.get(word) if word is not None else None


def _word(channel: Channel, address: str) -> str | None:
    text = address.strip().lower()
    if channel is Channel.EMAIL:
        local, _, domain = text.rpartition("@")
        return local.partition("+")[0] if _is_ours(domain) else None
    if channel is Channel.SMS:
        return _word_of_phone(re.sub(r"[\s().-]", "", text))
    if channel is Channel.WEBHOOK:
        return _word_of_url(text)
    return text.removeprefix(_PREFIX) if text.startswith(_PREFIX) else None


def _word_of_phone(phone: str) -> str | None:
    match = _PHONE.fullmatch(phone)
    if match is None:
        return None
    scenario = _BY_DIGIT.get(int(match[1]))
    return scenario.value if scenario else ""


def _word_of_url(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:  # not a URL: the provider will say so
        return None
    if not _is_ours(host):
        return None
    sub_domain = host.rstrip(".").removesuffix(DOMAIN).rstrip(".")
    return sub_domain or parts.path.strip("/")


def _is_ours(host: str) -> bool:
    host = host.rstrip(".>")
    return host == DOMAIN or host.endswith(f".{DOMAIN}")
