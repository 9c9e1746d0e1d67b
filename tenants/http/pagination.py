"""Lists: `{results, next, previous}`, newest first, by keyset. Ids are UUIDv7, so the id alone is a (time, id) cursor."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from tenants.http.problems import InvalidRequest


class KeysetPagination(CursorPagination):
    ordering = "-id"
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200

    def get_page_size(self, request: Request) -> int | None:
        value = request.query_params.get("limit")
        if value is not None and not (value.isascii() and value.isdecimal() and 1 <= int(value) <= self.max_page_size):
            raise InvalidRequest.field("limit", f"must be a number from 1 to {self.max_page_size}")
        return super().get_page_size(request)

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            cursor = super().decode_cursor(request)
            if cursor is not None and cursor.position is not None:
                UUID(str(cursor.position))
        except Exception as error:
            raise InvalidRequest.field("cursor", "is not a cursor of this list") from error
        return cursor

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["results", "next", "previous"],
            "properties": {"results": schema, "next": link, "previous": link},
        }
