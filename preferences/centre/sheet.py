"""The preference centre as one sees it, and what comes back when it is saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from preferences.centre.choices import State, Wish, state_of
from preferences.centre.lines import Group, Line, readable
from preferences.models import DeliveryMode
from preferences.resolver import Ladder
from preferences.selectors import Contact
from tenants.vocabulary import Channel

CHANNEL_NAMES: Final[Mapping[Channel, Promise]] = {
    Channel.EMAIL: _("E-mail"),
    Channel.SMS: _("Text message"),
    Channel.PUSH: _("Push"),
    Channel.IN_APP: _("In the app"),
    Channel.CHAT: _("Chat"),
    Channel.WEBHOOK: _("Webhook"),
}
_MODES: Final = {str(mode) for mode in DeliveryMode}


class BadFormError(Exception):
    """What came back is not what the page sends."""


class Shown(msgspec.Struct, forbid_unknown_fields=True):
    """How the page stood when it was sent out: only what differs from it is a change."""

    on: list[str]
    when: dict[str, str]


@dataclass(frozen=True, slots=True)
class Cell:
    """A line on a channel."""

    key: str
    name: Promise
    state: State


@dataclass(frozen=True, slots=True)
class Row:
    line: Line
    cells: Sequence[Cell]
    when: str
    """`immediate`, `digest`, or `mixed` where the channels or event types differ."""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    rows: Sequence[Row]
    required: Sequence[tuple[str, str]]
    """Titles and descriptions of what cannot be turned off."""


def channels_of(contact: Contact, ladder: Ladder) -> list[Channel]:
    """Those that reach the user, and those that the user has chosen about before."""
    chosen = {place[0] for place in ladder.user}
    return [channel for channel in Channel if contact.address_for(channel) or channel.value in chosen]


def sections_of(groups: Sequence[Group], channels: Sequence[Channel], ladder: Ladder) -> list[Section]:
    return [
        Section(
            group.title,
            [_row(line, channels, ladder) for line in group.lines],
            [(readable(name), facts.description) for name, facts in group.required.items()],
        )
        for group in groups
    ]


def shown(sections: Sequence[Section]) -> str:
    """What the page carries along, as JSON."""
    rows = [row for section in sections for row in section.rows]
    on = [cell.key for row in rows for cell in row.cells if cell.state.is_on]
    return msgspec.json.encode(Shown(on, {row.line.key: row.when for row in rows})).decode()


def wishes_of(form: QueryDict, lines: Sequence[Line], channels: Sequence[Channel]) -> Iterator[Wish]:
    """What was changed on the page; raises BadFormError."""
    try:
        before = msgspec.json.decode(form.get("shown", ""), type=Shown)
    except msgspec.DecodeError as error:
        raise BadFormError from error
    on = set(form.getlist("on"))
    changed = on ^ set(before.on)
    cells = {_key(line, channel): (line, channel) for line in lines for channel in channels}
    for key, (line, channel) in cells.items():
        if key in changed:
            yield Wish(line=line, channel=channel, enabled=key in on)
    for key, (line, channel) in cells.items():
        when = form.get(f"when-{line.key}", "")
        if key in on and when in _MODES and when != before.when.get(line.key):
            yield Wish(line=line, channel=channel, delivery=when)


@dataclass(frozen=True, slots=True)
class Reach:
    """A channel, and as much of its address as its owner needs to know it by; for push the number of devices."""

    name: Promise
    address: str = ""
    devices: int = 0


def reach_of(contact: Contact, channels: Sequence[Channel]) -> list[Reach]:
    """In-app has no address; nor has, perhaps, a channel that the user chose about before."""
    return [reach for channel in channels if (reach := _reach(contact, channel)).address or reach.devices]


def masked(channel: Channel, address: str) -> str:
    """`ada@example.com` → `a•••@example.com`, `+4915112345678` → `•••78`"""
    if channel is Channel.EMAIL:
        name, _at, domain = address.rpartition("@")
        return f"{name[:1]}•••@{domain}"
    if channel is Channel.WEBHOOK:
        return f"{'/'.join(address.split('/')[:3])}/•••"
    return f"•••{address[-2:]}"


def _reach(contact: Contact, channel: Channel) -> Reach:
    found = contact.address_for(channel)
    if channel is Channel.PUSH:
        return Reach(CHANNEL_NAMES[channel], devices=len(found))
    is_hidden = channel is Channel.IN_APP or not found
    return Reach(CHANNEL_NAMES[channel], "" if is_hidden else masked(channel, found[0]))


def _row(line: Line, channels: Sequence[Channel], ladder: Ladder) -> Row:
    cells = [Cell(_key(line, channel), CHANNEL_NAMES[channel], state_of(line, channel, ladder)) for channel in channels]
    modes = set().union(*(cell.state.deliveries for cell in cells)) or {DeliveryMode.IMMEDIATE.value}
    return Row(line, cells, modes.pop() if len(modes) == 1 else "mixed")


def _key(line: Line, channel: Channel) -> str:
    return f"{channel.label} {line.key}"
