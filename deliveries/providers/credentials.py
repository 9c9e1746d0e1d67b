"""What an account's credentials consist of: declared by each provider, checked here, shown by the admin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SHORTEST_SECRET = 6
"""Shorter values are not searched for in texts: they would match by chance."""


@dataclass(frozen=True, slots=True)
class Field:
    """One value of an account's credentials."""

    name: str
    required: bool = True
    secret: bool = False
    default: str | int = ""
    """Used when the value is absent or empty. Its type is the field's type."""
    choices: tuple[str, ...] = ()
    multiline: bool = False
    help: str = ""


class ProviderConfigError(Exception):
    """The account's credentials are incomplete or malformed; the message names the field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


def check_credentials(fields: Sequence[Field], given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong, as (field, message); an empty list if nothing is."""
    known = {field.name for field in fields}
    errors = [(str(name), "This field is not known.") for name in given if name not in known]
    for field in fields:
        message = _check(field, given.get(field.name))
        if message:
            errors.append((field.name, message))
    return errors


def read_credentials(fields: Sequence[Field], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every field's value, defaults filled in; raises ProviderConfigError for the first that is wrong."""
    for name, message in check_credentials(fields, given):
        raise ProviderConfigError(name, message)
    return {field.name: field.default if _is_empty(given.get(field.name)) else given[field.name] for field in fields}


def secret_values(fields: Sequence[Field], values: Mapping[str, Any]) -> tuple[str, ...]:
    """The values that may appear in no log line and no stored text."""
    secrets = (str(values[field.name]) for field in fields if field.secret)
    return tuple(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)


def _check(field: Field, value: Any) -> str:
    if _is_empty(value):
        return "This field is required." if field.required else ""
    kind = type(field.default)
    if not isinstance(value, kind) or isinstance(value, bool):
        return "This must be a whole number." if kind is int else "This must be text."
    if field.choices and value not in field.choices:
        return f"This must be one of {', '.join(field.choices)}."
    return ""


def _is_empty(value: Any) -> bool:
    return value is None or value == ""
