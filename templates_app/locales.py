"""Which of several locales serves a recipient best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from templates_app.names import FALLBACK_LOCALE, fallbacks

ValueT = TypeVar("ValueT")


def best(by_locale: Mapping[str, ValueT], locale: str, default_locale: str) -> ValueT | None:
    """The value for `locale`; keys are in lower case. Else for its language, then the same for the tenant's default, then
    English, then the first in the alphabet: words in a strange language are better than none.
    """
    for candidate in _chain(locale, default_locale):
        if candidate in by_locale:
            return by_locale[candidate]
    return by_locale[min(by_locale)] if by_locale else None


def _chain(locale: str, default_locale: str) -> Iterator[str]:
    yield from fallbacks(locale)
    yield from fallbacks(default_locale)
    yield FALLBACK_LOCALE
