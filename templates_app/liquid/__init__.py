"""Liquid (https://shopify.github.io/liquid/) as the service speaks it: strict, bounded, without files or includes."""

from templates_app.liquid.context import Context, TooSlowError, WorkExceededError
from templates_app.liquid.environment import HTML, TEXT, Source, SourceError, line_at, line_of, parse
from templates_app.liquid.literals import argument_faults
from templates_app.liquid.regions import Region
from templates_app.liquid.undefined import ABSENT, MissingVariableError

__all__ = [
    "ABSENT",
    "HTML",
    "TEXT",
    "Context",
    "MissingVariableError",
    "Region",
    "Source",
    "SourceError",
    "TooSlowError",
    "WorkExceededError",
    "argument_faults",
    "line_at",
    "line_of",
    "parse",
]
