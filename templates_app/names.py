"""The names templates go by: event types, locales, variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tenants.vocabulary import ANY

EVENT_TYPE_PATTERN: Final = r"[A-Za-z0-9_.:-]{1,200}"
VARIABLE_PATTERN: Final = r"[A-Za-z_][A-Za-z0-9_-]{0,99}"
FALLBACK_LOCALE: Final = "en"
LINKS: Final = frozenset({"unsubscribe_url", "preferences_url"})
"""Variables that hold a link of the recipient's own. Who renders makes those that a version uses, and no others."""

_EVENT_TYPE = re.compile(EVENT_TYPE_PATTERN)
# Language, script, region and variants of a BCP 47 tag (RFC 5646, section 2.1). Extensions say how to format, not which
# words to use, so they have no place here.
_LOCALE = re.compile(
    r"(?P<language>[a-z]{2,3})"
    r"(?:-(?P<script>[a-z]{4}))?"
    r"(?:-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?P<variants>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3})){0,2})",
    re.IGNORECASE | re.ASCII,
)


def clean_event_type(name: str) -> str:
    """`name` if it is an event type's, or `*`; raises ValueError."""
    if name != ANY and not _EVENT_TYPE.fullmatch(name):
        raise ValueError("must be * or a dotted name of up to 200 letters, digits and _ . : -, like order.shipped")
    return name


def clean_locale(tag: str) -> str:
    """`de_at` → `de-AT`, `ZH-hant-tw` → `zh-Hant-TW`; raises ValueError for what is not a locale."""
    found = _LOCALE.fullmatch(tag.strip().replace("_", "-"))
    if not found:
        raise ValueError("must be a BCP 47 language tag, like en, de-AT or zh-Hant-TW")
    script, region = found["script"] or "", found["region"] or ""
    parts = [found["language"].lower(), script.title(), region.upper(), found["variants"].lower().lstrip("-")]
    return "-".join(part for part in parts if part)


def fallbacks(locale: str) -> Iterator[str]:
    """`de-AT-1996` → `de-at-1996`, `de-at`, `de`: the order of RFC 4647's lookup, in lower case."""
    parts = [part for part in locale.replace("_", "-").lower().split("-") if part]
    for length in range(len(parts), 0, -1):
        yield "-".join(parts[:length])
