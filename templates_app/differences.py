"""What a version says that the one before it did not."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

PARTS = ("subject", "body", "html", "variables")


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Lines with their kind: `part` (a heading), `same`, `gone`, `new`, `skip`."""
    for part in PARTS:
        if before[part] != after[part]:
            yield "part", part
            yield from _lines(_text(before[part]), _text(after[part]))


def _lines(before: str, after: str) -> Iterator[tuple[str, str]]:
    kinds = {"-": "gone", "+": "new", "@": "skip"}
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)
    for index, line in enumerate(diff):
        if index > 1:  # the two file names
            yield kinds.get(line[0], "same"), line if line[0] != "@" else "⋯"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "\n".join(json.dumps(each, ensure_ascii=False) for each in value)
