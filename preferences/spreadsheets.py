"""Recipients as CSV (RFC 4180): a header row that names fields as the JSON body does, then a row for each recipient.

A cell is plain text, whatever it looks like: a formula is never evaluated, a number never becomes one. An empty cell is as a
field left out. `pushTokens` are separated by spaces; a column `attributes.plan` is the attribute `plan`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from django.conf import settings
from rest_framework import exceptions, parsers

from preferences.serializers import MOST_RECIPIENTS, RecipientRow
from tenants.http.problems import FieldError, InvalidRequest, PayloadTooLarge

MOST_COLUMNS: Final = 100
_ATTRIBUTE: Final = "attributes."
_NAME: Final = "userId"
_ENCODINGS: Final = {"utf-8", "utf8", "us-ascii"}


@dataclass(frozen=True, slots=True)
class Sheet:
    """The rows of a body, each as the JSON body would have it, or what is wrong with its shape; and the line it begins on."""

    rows: list[dict[str, Any] | FieldError]
    lines: list[int]
    """From 1, which is the header's. A quoted cell may have several."""


class CSVParser(parsers.BaseParser):
    """Decodes a body of at most `MAX_BODY_BYTES` to a `Sheet`.

    What makes the whole of it doubtful is a 400 that names the line or the column.
    """

    media_type = "text/csv"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        if _charset(media_type or "") not in _ENCODINGS:
            raise exceptions.UnsupportedMediaType(media_type or "", "CSV is taken in UTF-8.")
        return read_sheet(stream.read(settings.MAX_BODY_BYTES + 1))


def read_sheet(body: bytes) -> Sheet:
    """Raises InvalidRequest, ParseError or PayloadTooLarge if it is no such sheet at all."""
    if len(body) > settings.MAX_BODY_BYTES:
        raise PayloadTooLarge
    numbered = _records(_text(body))
    _, header = next(numbered, (1, []))
    _check_header(header)
    sheet = Sheet([], [])
    for line, cells in numbered:
        if len(sheet.rows) == MOST_RECIPIENTS:
            raise InvalidRequest.field("", f"There may be {MOST_RECIPIENTS} recipients at most.", "count")
        sheet.rows.append(_row(header, cells))
        sheet.lines.append(line)
    if not sheet.rows:
        raise InvalidRequest.field("", "There is no row below the header.", "count")
    return sheet


def _charset(media_type: str) -> str:
    for parameter in media_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return "utf-8"


def _text(body: bytes) -> str:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise exceptions.ParseError(f"The body is not UTF-8: line {line}.") from error
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise InvalidRequest.field("", f"Line {line}: the character U+0000 cannot be stored.", "nul")
    return text


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line it begins on; empty lines are passed over."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise exceptions.ParseError(f"The body is not valid CSV: line {line}: {error}.") from error


def _check_header(header: Sequence[str]) -> None:
    if len(header) > MOST_COLUMNS:
        raise InvalidRequest.field("", f"There may be {MOST_COLUMNS} columns at most.", "count")
    known = RecipientRow().fields.keys() - {"attributes"}
    faults = [
        FieldError(name, "unknown", "The header names no such field.")
        for name in header
        if name not in known and (not name.startswith(_ATTRIBUTE) or name == _ATTRIBUTE)
    ]
    faults += [
        FieldError(name, "repeated", "The header names this field twice.")
        for name in dict.fromkeys(header)
        if header.count(name) > 1
    ]
    if _NAME not in header:
        faults.append(FieldError(_NAME, "required", "The header, which is the first row, must name this field."))
    if faults:
        raise InvalidRequest(faults)


def _row(header: Sequence[str], cells: Sequence[str]) -> dict[str, Any] | FieldError:
    if len(cells) != len(header):
        return FieldError("", "columns", f"The row has {len(cells)} cells; the header has {len(header)}.")
    row: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=True):
        if not cell:
            continue
        if name.startswith(_ATTRIBUTE):
            row.setdefault("attributes", {})[name.removeprefix(_ATTRIBUTE)] = cell
        else:
            row[name] = cell.split() if name == "pushTokens" else cell
    return row
