"""How much of a vendor's answer is kept, and in what form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tenants.columns import storable

LONGEST_EXCERPT: Final = 1000
"""Characters kept of a provider's answer or an error's text."""
LONGEST_CODE: Final = 60
LONGEST_MESSAGE_ID: Final = 255


def fit(value: Any, scrub: Callable[[str], str], longest: int = LONGEST_EXCERPT) -> Any:
    """A JSON value whose texts are scrubbed, and such as the database takes: with what it refuses, the outcomes of others would
    go unrecorded. Keys are ours, and stay.
    """
    if isinstance(value, Mapping):
        return {key: fit(one, scrub, longest) for key, one in value.items()}
    return storable(scrub(value))[:longest] if isinstance(value, str) else value
