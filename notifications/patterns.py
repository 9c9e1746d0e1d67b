"""Patterns of event types: dotted names, with `*` for any characters (`order.*`)."""

from __future__ import annotations

import fnmatch
import functools
import re
from typing import Final

from django.core.exceptions import ValidationError

PATTERN: Final = re.compile(r"^[A-Za-z0-9_*][A-Za-z0-9_.:*\-]*$")


@functools.lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))


def fits(pattern: str, event_type: str) -> bool:
    """Whether an event type is one of the pattern's."""
    return _compiled(pattern).match(event_type) is not None


def validate_pattern(pattern: str) -> None:
    """Raises ValidationError unless `pattern` is an event type or a pattern of one."""
    if not PATTERN.fullmatch(pattern) or len(pattern) > 200:
        raise ValidationError("Use a dotted name, with * for any characters: order.*", code="pattern")
