"""What may be saved: every problem of a template or layout, with its field and line. Pure: values in, problems out."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from liquid import Environment

from templates_app.errors import Problem
from templates_app.liquid import HTML, TEXT, Source, SourceError, argument_faults, line_at, parse
from templates_app.names import LINKS, VARIABLE_PATTERN
from tenants.vocabulary import Channel

RESERVED: Final[Mapping[str, frozenset[str] | None]] = {
    "recipient": frozenset({"userId", "email", "phone", "locale", "timezone", "attributes"}),
    "event": frozenset({"id", "type", "priority", "metadata", "createdAt"}),
    "tenant": frozenset({"slug", "name"}),
    "data": None,
    **dict.fromkeys(LINKS, frozenset[str]()),
}
"""Always there, with their fields; `data` is the event's whole data."""

LONGEST: Final[Mapping[str, int]] = {"subject": 1_000, "body": 64_000, "html": 200_000, "text": 64_000}
"""Characters of each source."""
MOST_VARIABLES: Final = 100

_VARIABLE = re.compile(VARIABLE_PATTERN)
_LIQUID_WORDS = frozenset({"blank", "empty", "false", "forloop", "nil", "null", "tablerowloop", "true"})
_SETTINGS = frozenset({"name", "required", "default", "example"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a template version says. `variables` are normalised: `{"name", "required", "default"?, "example"?}`."""

    subject: str = ""
    body: str = ""
    html: str = ""
    variables: Sequence[Mapping[str, Any]] = field(default_factory=list)


def check_content(channel: Channel, content: Content) -> list[Problem]:
    """Everything that is wrong with `content`, whose `variables` may still be as the client wrote them."""
    variables, problems = normalise_variables(content.variables)
    problems += _channel_problems(channel, content)
    names = {variable["name"] for variable in variables}
    for name, environment in (("subject", TEXT), ("body", TEXT), ("html", HTML)):
        problems += _source_problems(name, getattr(content, name), environment, names)
    return problems


def check_layout(*, html: str, text: str) -> list[Problem]:
    """Everything that is wrong with a layout's two sources."""
    problems = []
    if not html.strip() and not text.strip():
        problems.append(Problem("html", "required", "A layout needs html or text."))
    for name, source, environment in (("html", html, HTML), ("text", text, TEXT)):
        problems += _source_problems(name, source, environment, {"content", "subject"}, needed="content")
    return problems


def normalise_variables(declared: Any) -> tuple[list[dict[str, Any]], list[Problem]]:
    """`["a", {"name": "b", "default": 1}]` → `[{"name": "a", "required": True}, {"name": "b", "required": False,
    "default": 1}]`, and what is wrong with them.
    """
    if not isinstance(declared, list | tuple):
        return [], [Problem("variables", "type", "Must be a list.")]
    if len(declared) > MOST_VARIABLES:
        return [], [Problem("variables", "too_long", f"At most {MOST_VARIABLES} variables.")]
    variables: list[dict[str, Any]] = []
    problems: list[Problem] = []
    names: set[str] = set()
    for index, entry in enumerate(declared):
        variable = {"name": entry} if isinstance(entry, str) else entry
        faults = list(_variable_problems(f"variables[{index}]", variable, names))
        problems += faults
        if not faults:
            names.add(variable["name"])
            variables.append(_normalised(variable))
    return variables, problems


def _normalised(variable: Mapping[str, Any]) -> dict[str, Any]:
    has_default = variable.get("default") is not None
    normal = {"name": variable["name"], "required": variable.get("required", True) and not has_default}
    return normal | {key: variable[key] for key in ("default", "example") if variable.get(key) is not None}


def _variable_problems(path: str, variable: Any, names: set[str]) -> Iterator[Problem]:
    if not isinstance(variable, Mapping):
        yield Problem(path, "type", "Must be a name, or an object with a name.")
        return
    for unknown in sorted(variable.keys() - _SETTINGS):
        yield Problem(f"{path}.{unknown}", "unknown", "This field is not known.")
    if not isinstance(variable.get("required", True), bool):
        yield Problem(f"{path}.required", "type", "Must be true or false.")
    name = variable.get("name")
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        yield Problem(f"{path}.name", "invalid", "Must be a name: a letter or _, then letters, digits, _ or -; at most 100.")
    elif name in RESERVED or name in _LIQUID_WORDS:
        yield Problem(f"{path}.name", "reserved", f"{name} always has a meaning of its own; it cannot be declared.")
    elif name in names:
        yield Problem(f"{path}.name", "duplicate", f"{name} is declared twice.")


def _channel_problems(channel: Channel, content: Content) -> Iterator[Problem]:
    has = {name: bool(getattr(content, name).strip()) for name in ("subject", "body", "html")}
    if channel is Channel.EMAIL:
        if not has["subject"]:
            yield Problem("subject", "required", "An e-mail needs a subject.")
        if not has["body"] and not has["html"]:
            yield Problem("body", "required", "An e-mail needs a body, html, or both.")
        return
    if not has["body"]:
        yield Problem("body", "required", f"A template for {channel.label} needs a body.")
    if has["html"]:
        yield Problem("html", "not_allowed", "Only e-mail has html.")


def _source_problems(
    name: str, text: str, environment: Environment, declared: set[str], *, needed: str = ""
) -> Iterator[Problem]:
    if not text.strip():
        return
    if len(text) > LONGEST[name]:
        yield Problem(name, "too_long", f"At most {LONGEST[name]:,} characters.")
        return
    try:
        source = parse(environment, text)
    except SourceError as error:
        yield Problem(name, error.code, f"line {error.line}: {error}", error.line)
        return
    if needed and needed not in source.used:
        yield Problem(name, "missing_content", f"{{{{ {needed} }}}} must stand where the message goes.")
    yield from _undeclared(name, text, source, declared)
    for line, fault in argument_faults(source, text):
        yield Problem(name, "invalid_argument", f"line {line}: {fault}", line)


def _undeclared(name: str, text: str, source: Source, declared: set[str]) -> Iterator[Problem]:
    seen = set()
    for path, index in sorted(source.outer, key=operator.itemgetter(1)):
        message = _undeclared_message(path, declared)
        line = line_at(text, index)
        if message and (message, line) not in seen:
            seen.add((message, line))
            yield Problem(name, "undeclared_variable", f"line {line}: {message}", line)


def _undeclared_message(path: Sequence[Any], declared: set[str]) -> str:
    root = path[0]
    if not isinstance(root, str):
        return "a variable's name must be written out"
    if root in declared:
        return ""
    if root not in RESERVED:
        close = difflib.get_close_matches(root, [*declared, *RESERVED], n=1)
        return f"{root} is not declared" + (f"; did you mean {close[0]}?" if close else "")
    fields = RESERVED[root]
    key = path[1] if len(path) > 1 else None
    if fields is not None and isinstance(key, str) and key not in fields and key not in {"size", "first", "last"}:
        return f"{root} has no {key}; it has {', '.join(sorted(fields)) or 'no fields'}"
    return ""
