"""Template versions and layouts, parsed and ready to render, and the process's store of them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from liquid import Environment

from templates_app.liquid import ABSENT, HTML, TEXT, Source, SourceError, parse
from templates_app.names import LINKS
from tenants.vocabulary import Channel

MOST_KEPT: Final = 64_000_000
"""Bytes, roughly, of compiled versions that a process keeps, and of layouts as many again."""
_NODE_BYTES: Final = 500

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledLayout:
    html: Source | None = None
    text: Source | None = None
    broken: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledVersion:
    """One version and the layout around it. Immutable, shared between threads."""

    id: UUID
    channel: Channel
    locale: str
    """The template's."""
    number: int
    variables: tuple[tuple[str, Any], ...]
    """Names, and what stands in for an optional one that was not given; None for a required one."""
    sources: Mapping[str, Source] = field(repr=False)
    """`subject`, `body` and `html`, as far as it has them."""
    layout: CompiledLayout | None = None
    links: frozenset[str] = frozenset()
    """Those of `LINKS` that it or its layout mentions."""
    broken: str = ""
    """Why it cannot be rendered: saved texts are checked, so only a change of the language itself comes to this."""


def compile_version(
    *,
    version_id: UUID,
    channel: Channel,
    locale: str,
    number: int,
    subject: str,
    body: str,
    html: str,
    variables: Iterable[Mapping[str, Any]],
    layout: CompiledLayout | None = None,
) -> CompiledVersion:
    """Parse a stored version. Never raises: one broken template must not stop a chunk of deliveries."""
    sources, broken = _parsed((("subject", subject, TEXT), ("body", body, TEXT), ("html", html, HTML)))
    around = (layout.html, layout.text) if layout else ()
    used = frozenset[str]().union(*(source.used for source in (*sources.values(), *around) if source))
    return CompiledVersion(
        id=version_id,
        channel=channel,
        locale=locale,
        number=number,
        variables=tuple((variable["name"], _stand_in(variable)) for variable in variables),
        sources=sources,
        layout=layout,
        links=LINKS & used,
        broken=broken,
    )


def compile_layout(*, html: str, text: str) -> CompiledLayout:
    """Parse a stored layout. Never raises."""
    sources, broken = _parsed((("html", html, HTML), ("text", text, TEXT)))
    return CompiledLayout(**sources, broken=broken and f"layout: {broken}")


def size_of(*sources: Source | None) -> int:
    """Roughly the bytes that parsed texts take."""
    return sum(_NODE_BYTES * source.weight + source.length for source in sources if source)


def _stand_in(variable: Mapping[str, Any]) -> Any:
    default = variable.get("default")
    if default is not None:
        return default
    return None if variable.get("required", True) else ABSENT


def _parsed(texts: Iterable[tuple[str, str, Environment]]) -> tuple[dict[str, Source], str]:
    sources: dict[str, Source] = {}
    broken = ""
    for name, text, environment in texts:
        if text.strip():
            try:
                sources[name] = parse(environment, text)
            except SourceError as error:
                broken = broken or f"{name}, line {error.line}: {error}"
    return sources, broken


class Store(Generic[KeyT, ValueT]):
    """The most recently used values, up to a total size; safe between threads."""

    def __init__(self, room: int = MOST_KEPT) -> None:
        self._values: OrderedDict[KeyT, tuple[ValueT, int]] = OrderedDict()
        self._room = room
        self._lock = threading.Lock()

    def get(self, key: KeyT) -> ValueT | None:
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: KeyT, value: ValueT, size: int) -> None:
        with self._lock:
            _, former = self._values.pop(key, (None, 0))
            self._values[key] = value, size
            self._room += former - size
            while self._room < 0 and len(self._values) > 1:
                _, (_, freed) = self._values.popitem(last=False)
                self._room += freed

    def clear(self) -> None:
        with self._lock:
            self._room += sum(size for _, size in self._values.values())
            self._values.clear()
