"""Rows as PostgreSQL array literals, one per column: the form in which one statement writes a whole chunk with `unnest`.

psycopg dumps lists element by element through its adapters, which costs more than everything else a chunk does. A struct's
annotations say once what each column holds, so its literal is one join (the manual, section 8.15.6, has the syntax).
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

Dumper = Callable[[Iterable[Any]], str]


def columns_of(kind: type[msgspec.Struct], rows: Sequence[msgspec.Struct]) -> dict[str, str]:
    """Each field of `kind` with the array literal of its values in `rows`."""
    return {name: dump([getattr(row, name) for row in rows]) for name, dump in _dumpers(kind)}


@functools.cache
def _dumpers(kind: type[msgspec.Struct]) -> list[tuple[str, Dumper]]:
    return [(field.name, _dumper(field.type)) for field in msgspec.structs.fields(kind)]


def _dumper(annotation: Any) -> Dumper:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        (annotation,) = [argument for argument in typing.get_args(annotation) if argument is not types.NoneType]
    return _DUMPERS[annotation]


def text_array(values: Iterable[str | None]) -> str:
    """A `text[]` literal."""
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"


def _quoted(value: str) -> str:
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


def storable(text: str) -> str:
    """What PostgreSQL can keep of a stranger's text: no U+0000, and no lone surrogates, which are not UTF-8."""
    text = text.replace("\x00", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def uuid_array(values: Iterable[UUID | None]) -> str:
    return "{" + ",".join(["NULL" if value is None else value.hex for value in values]) + "}"


def int_array(values: Iterable[int | None]) -> str:
    return "{" + ",".join(["NULL" if value is None else f"{value:d}" for value in values]) + "}"


def bool_array(values: Iterable[bool | None]) -> str:
    return "{" + ",".join(["NULL" if value is None else "t" if value else "f" for value in values]) + "}"


def time_array(values: Iterable[datetime | None]) -> str:
    # A chunk has few distinct times: the moment it was written, and those of its events.
    texts: dict[datetime | None, str] = {None: "NULL"}
    values = list(values)  # read twice
    for value in values:
        if value not in texts:
            texts[value] = typing.cast("datetime", value).isoformat()
    return "{" + ",".join([texts[value] for value in values]) + "}"


def bytes_array(values: Iterable[bytes | None]) -> str:
    return "{" + ",".join(["NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values]) + "}"


_DUMPERS: dict[Any, Dumper] = {
    str: text_array,
    UUID: uuid_array,
    int: int_array,
    bool: bool_array,
    datetime: time_array,
    bytes: bytes_array,
}
