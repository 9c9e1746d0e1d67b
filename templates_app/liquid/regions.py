"""For whom a text is written: the locale and the time zone that dates, numbers and money are shown in."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError, localedata

from templates_app.names import FALLBACK_LOCALE, fallbacks

MOST_LOCALES: Final = 256
"""That a process keeps the data of, 0.2 MB each; CLDR has some 1,100."""
_LONGEST_TAG: Final = 35
_LONGEST_ZONE: Final = 64
_NARROW_SPACES: Final = str.maketrans("\u00a0\u202f\u2009", "   ")


class Region(NamedTuple):
    """Made for every message, so it only holds names: what they stand for is looked up when a filter asks."""

    locales: tuple[str, ...] = ()
    """BCP 47 tags, the most wanted first; empty ones are passed over."""
    timezone: str = "UTC"
    """An IANA name."""
    plain_spaces: bool = False
    """Whether a plain space takes the place of those that never break a line: one of them makes a whole SMS UCS-2, with 70
    characters to a part where there were 160 (3GPP TS 23.038).
    """

    @property
    def locale(self) -> Locale:
        for tag in (*self.locales, FALLBACK_LOCALE):
            if found := known_locale(tag):
                return found
        raise LookupError(FALLBACK_LOCALE)

    def text(self, formatted: str) -> str:
        return formatted.translate(_NARROW_SPACES) if self.plain_spaces else formatted


@lru_cache(maxsize=MOST_LOCALES)
def known_locale(tag: str) -> Locale | None:
    """CLDR's locale for a tag, or for what is left of it without its last parts: `de-AT`, `de-XX` → `de`. None: it knows
    not even the language.
    """
    if len(localedata._cache) > MOST_LOCALES:  # Babel itself would keep them all
        localedata._cache.clear()
    if len(tag) > _LONGEST_TAG or not tag.isascii():
        return None
    for candidate in fallbacks(tag):
        try:
            return Locale.parse(candidate, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    return None


@lru_cache(maxsize=1024)
def known_zone(name: str) -> ZoneInfo | None:
    """The IANA zone of that name, or None."""
    if not name or len(name) > _LONGEST_ZONE:
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return None
