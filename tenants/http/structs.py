"""Bodies as msgspec structs: decoded in one pass, and in a second, slow one explained field by field if they are wrong."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from tenants.http.parsers import decode_json
from tenants.http.problems import FieldError, InvalidRequest

StructT = TypeVar("StructT", bound=msgspec.Struct)

_PLACE = re.compile(r" - at `(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")
_PLAIN = {
    "Expected": "type",
    "Invalid enum": "choice",
    "Object missing": "required",
    "Object contains": "unknown",
    "Invalid RFC3339": "datetime",
}


class StructError(InvalidRequest):
    """A body that does not fit its struct."""


def decode_struct(kind: type[StructT], body: bytes) -> StructT:
    """Decode `body`; raises StructError with every faulty field, or ParseError for what is not JSON at all."""
    value = decode_json(body)
    if not isinstance(value, dict):
        raise StructError([FieldError("", "type", "The body must be a JSON object.")])
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise StructError(list(_faults(kind, value)) or [_fault(error, "")]) from error


def _faults(kind: type[msgspec.Struct], value: dict[str, Any]) -> Iterator[FieldError]:
    """Every fault of `value`, one per field: each field is converted by itself."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in value:
        if name not in fields:
            yield FieldError(name, "unknown", "This field is not known.")
    for name, field in fields.items():
        if name not in value:
            if field.required:
                yield FieldError(name, "required", "This field is required.")
            continue
        try:
            msgspec.convert(value[name], field.type)
        except msgspec.ValidationError as error:
            nested = list(_nested(field.type, value[name], name))
            yield from nested or [_fault(error, name)]


def _nested(annotation: Any, value: Any, path: str) -> Iterator[FieldError]:
    for kind in dict.fromkeys(_structs_in(annotation)):
        entries = [(path, value)] if isinstance(value, dict) else []
        if isinstance(value, list):
            entries = [(f"{path}[{index}]", entry) for index, entry in enumerate(value) if isinstance(entry, dict)]
        for place, entry in entries:
            for fault in _faults(kind, entry):
                yield FieldError(f"{place}.{fault.field}", fault.code, fault.message)


def _structs_in(annotation: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield annotation
    for argument in typing.get_args(annotation):
        if isinstance(argument, type | types.UnionType | types.GenericAlias) or typing.get_origin(argument):
            yield from _structs_in(argument)


def _fault(error: msgspec.ValidationError, path: str) -> FieldError:
    text = str(error)
    place = _PLACE.search(text)
    inner = place["path"].removeprefix("$") if place else ""
    message = _PLACE.sub("", text)
    for pattern in (_UNKNOWN, _MISSING):
        if found := pattern.match(message):
            inner = f"{inner}.{found['name']}"
    code = next((code for start, code in _PLAIN.items() if message.startswith(start)), "invalid")
    return FieldError((path + inner).lstrip("."), code, message + ".")
