"""JSON in: size, syntax and the characters PostgreSQL cannot store are checked before any view sees the body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO, Any

import msgspec
from django.conf import settings
from django.http import HttpRequest
from rest_framework import exceptions, parsers

from tenants.http.problems import FieldError, InvalidRequest, PayloadTooLarge

NUL_ESCAPE = b"\\u0000"
_DEEPEST = 64


class JSONParser(parsers.BaseParser):
    """Decodes a body of at most `MAX_BODY_BYTES` with msgspec."""

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        return decode_json(stream.read(settings.MAX_BODY_BYTES + 1))


def read_body(request: HttpRequest, limit: int | None = None) -> bytes:
    """The raw body; 413 beyond `limit` bytes, by default `MAX_BODY_BYTES`."""
    most = settings.MAX_BODY_BYTES if limit is None else limit
    declared = request.META.get("CONTENT_LENGTH") or "0"
    if declared.isdecimal() and int(declared) > most:
        raise PayloadTooLarge.than(most)
    body = request.body
    if len(body) > most:
        raise PayloadTooLarge.than(most)
    return body


def decode_json(body: bytes) -> Any:
    """Decode any JSON value; 400 with the position of a syntax error, or the field holding a NUL character."""
    if len(body) > settings.MAX_BODY_BYTES:
        raise PayloadTooLarge
    if not body.strip():
        return {}
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise exceptions.ParseError(f"The body is not valid JSON: {error}") from error
    check_text(body, value)
    return value


def check_text(body: bytes, value: Any) -> None:
    """Refuse U+0000 in any string or key: PostgreSQL's text and jsonb cannot hold it (its manual, section 8.14)."""
    if NUL_ESCAPE in body:
        errors = [FieldError(path, "nul", "The character U+0000 cannot be stored.") for path in _nul_paths(value, "")]
        if errors:
            raise InvalidRequest(errors)


def _nul_paths(value: Any, path: str, depth: int = 0) -> Iterator[str]:
    if depth > _DEEPEST or (isinstance(value, str) and "\x00" in value):
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            inner_path = f"{path}.{key}" if path else str(key)
            if "\x00" in str(key):
                yield inner_path.replace("\x00", "\\u0000")
            yield from _nul_paths(inner, inner_path, depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _nul_paths(inner, f"{path}[{index}]", depth + 1)
