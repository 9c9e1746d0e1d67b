"""The shape of the API: camelCase outside, snake_case inside, unknown fields refused."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from tenants.http.problems import camel
from tenants.vocabulary import Coded


class CamelSerializer(serializers.Serializer):  # type: ignore[type-arg] # not generic at run time
    """Declares fields in snake_case and shows them in camelCase; what is inside a JSON field is left alone.

    Unknown fields are an error that names them, so a misspelt one is never silently dropped.
    """

    def get_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, field in super().get_fields().items():
            outer = camel(name)
            if outer != name and field.source is None:
                field.source = name
            fields[outer] = field
        return fields

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            writable = {name for name, field in self.fields.items() if not field.read_only}
            unknown = {name: ["This field is not known."] for name in data if name not in writable and name not in self.fields}
            if unknown:
                raise serializers.ValidationError(unknown, code="unknown")
        return super().to_internal_value(data)


class CodedField(serializers.ChoiceField):
    """A `Coded` value by its API name."""

    def __init__(self, kind: type[Coded], **kwargs: Any) -> None:
        self.kind = kind
        super().__init__(choices=kind.api_names(), **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        return self.kind.from_label(super().to_internal_value(data))

    def to_representation(self, value: Any) -> str:
        return str(self.kind(value).label)
