"""Query parameters, checked as bodies are: a wrong, unknown or repeated one is a 400 that names it."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework.request import Request

from tenants.http.pagination import KeysetPagination
from tenants.http.problems import FieldError, InvalidRequest
from tenants.http.serializers import CamelSerializer


class Query(CamelSerializer):
    """The parameters that a view takes, declared as a serializer's fields."""

    paged: ClassVar[bool] = False
    """Whether the list's own parameters may stand beside them; the pagination reads and checks those."""

    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        """The checked values by their inner names; raises InvalidRequest or ValidationError."""
        given = dict(request.query_params.lists())
        if cls.paged:
            for name in (KeysetPagination.cursor_query_param, KeysetPagination.page_size_query_param):
                given.pop(name, None)
        repeated = [name for name, values in given.items() if len(values) > 1]
        if repeated:
            raise InvalidRequest([FieldError(name, "repeated", "This parameter is given more than once.") for name in repeated])
        query = cls(data={name: values[0] for name, values in given.items()})
        query.is_valid(raise_exception=True)
        return dict(query.validated_data)
