"""What a digest says where its tenant has no template for it: a heading, what is in it and when that was, in three languages.

An item is called by its data's `title`, if it has one, else by its event type. Nothing else of an item is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final, NamedTuple
from uuid import UUID, uuid5

from templates_app.compiled import CompiledVersion, compile_version
from templates_app.locales import best
from tenants.vocabulary import Channel

VARIABLES: Final = ("items", "count", "more", "digestKey", "since", "until")
"""The data of a digest's event; `items` are `{eventId, eventType, createdAt, data}`."""
SHOWN_IF_SHORT: Final = 3
"""Items that an SMS or a push names."""

_NAMESPACE: Final = UUID("0f4c1a52-7d0b-5a3e-9a51-3f0a5c6f2d10")
_SHORT: Final = frozenset({Channel.SMS, Channel.PUSH})
_TITLED: Final = frozenset({Channel.EMAIL, Channel.PUSH, Channel.IN_APP, Channel.WEBHOOK})
_TITLE: Final = "{{ item.data.title | default: item.eventType | truncate: 200 }}"
_TIME: Final = '{{ item.createdAt | datetime: "short" }}'


class _Words(NamedTuple):
    heading: tuple[str, str]
    """Of one message, and of several."""
    others: tuple[str, str]

    def heading_text(self) -> str:
        return _counted("count", *self.heading)

    def others_text(self, variable: str) -> str:
        return _counted(variable, *self.others)


_LANGUAGES: Final[Mapping[str, _Words]] = {
    "en": _Words(("new message", "new messages"), ("and {} more", "and {} more")),
    "de": _Words(("neue Nachricht", "neue Nachrichten"), ("und {} weitere", "und {} weitere")),
    "fr": _Words(("nouveau message", "nouveaux messages"), ("et {} autre", "et {} autres")),
}


def digest_version(channel: Channel, locale: str, default_locale: str) -> CompiledVersion:
    """The built-in words in the language that fits best; compiled once in a process."""
    version = best(_versions(channel), locale, default_locale)
    assert version is not None
    return version


@functools.cache
def _versions(channel: Channel) -> Mapping[str, CompiledVersion]:
    return {locale: _version(channel, locale, words) for locale, words in _LANGUAGES.items()}


def _version(channel: Channel, locale: str, words: _Words) -> CompiledVersion:
    titled = channel in _TITLED
    body = _short(words) if channel in _SHORT else _list(words)
    return compile_version(
        version_id=uuid5(_NAMESPACE, f"{channel.label}/{locale}"),
        channel=channel,
        locale=locale,
        number=1,
        subject=words.heading_text() if titled else "",
        body=body if titled else f"{words.heading_text()}:{' ' if channel in _SHORT else chr(10)}{body}",
        html=_html(words) if channel is Channel.EMAIL else "",
        variables=[{"name": name} for name in VARIABLES],
    )


def _counted(variable: str, one: str, several: str) -> str:
    """`{}` is where the number goes, else it goes first."""
    first, second = (text if "{}" in text else f"{{}} {text}" for text in (one, several))
    number = f"{{{{ {variable} | number }}}}"
    first, second = (text.replace("{}", number) for text in (first, second))
    return first if first == second else f"{{% if {variable} == 1 %}}{first}{{% else %}}{second}{{% endif %}}"


def _list(words: _Words) -> str:
    return (
        f"{{% for item in items %}}- {_TITLE} ({_TIME})\n{{% endfor %}}"
        f"{{% if more > 0 %}}{words.others_text('more')}{{% endif %}}"
    )


def _short(words: _Words) -> str:
    return (
        f"{{% for item in items limit: {SHOWN_IF_SHORT} %}}"
        f"{{% unless forloop.first %}}, {{% endunless %}}{_TITLE}{{% endfor %}}"
        f"{{% assign rest = count | minus: {SHOWN_IF_SHORT} %}}{{% assign unshown = more %}}"
        f"{{% if rest > more %}}{{% assign unshown = rest %}}{{% endif %}}"
        f"{{% if unshown > 0 %}} {words.others_text('unshown')}{{% endif %}}"
    )


def _html(words: _Words) -> str:
    return (
        f"<h2>{words.heading_text()}</h2>\n<ul>\n"
        f"{{% for item in items %}}<li>{_TITLE} <small>{_TIME}</small></li>\n{{% endfor %}}"
        f"</ul>\n{{% if more > 0 %}}<p>{words.others_text('more')}</p>{{% endif %}}"
    )
