"""Parsing: two environments (HTML escapes what it writes, text does not), and errors with their lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TextIO

from liquid import BoundTemplate, Environment, Mode, Node, RenderContext, Token
from liquid.ast import BlockNode
from liquid.builtin.expressions.logical import ContainsExpression
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.output import Output as OutputTag
from liquid.builtin.output import OutputNode
from liquid.builtin.tags.echo_tag import EchoNode, EchoTag
from liquid.exceptions import LiquidError, LiquidInterrupt
from liquid.expression import Expression
from liquid.undefined import Undefined
from markupsafe import Markup, escape

from templates_app.liquid.context import ANYWHERE, Context, Output
from templates_app.liquid.formatting import FILTERS
from templates_app.liquid.regions import Region
from templates_app.liquid.undefined import Missing, MissingVariableError

LONGEST_MARKUP: Final = 4000
"""Characters between `{{` and `}}`."""
_WIDEST_GAP: Final = 80
_DEEPEST_BLOCKS: Final = 20

# Not of standard Liquid, or reaching for other templates. `safe` would let a template switch escaping off.
_REMOVED_TAGS: Final = ("include", "render")
_REMOVED_FILTERS: Final = ("safe", "escapejs")

_OPENING = re.compile(r"\{\{|\{%-?\s{0,200}(?P<verbatim>raw|doc)\b|\{%")
_CLOSING = {name: re.compile(rf"\{{%-?\s{{0,200}}end{name}\s{{0,200}}-?%\}}") for name in ("raw", "doc")}
_GAP = re.compile(rf"\s{{{_WIDEST_GAP + 1}}}")


class SourceError(Exception):
    """A template that cannot be used. `code` is one of `syntax`, `unknown_tag`, `unknown_filter`."""

    def __init__(self, code: str, message: str, line: int) -> None:
        super().__init__(message)
        self.code = code
        self.line = line


class _OutputNode(OutputNode):
    """Writes a value; one that is nil after its filters is as missing as one that never was."""

    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        value = self.expression.evaluate(context)
        if type(value) is not str:
            if value is None:
                raise MissingVariableError(str(self.expression) or "nil", self.token)
            value = text_of(value, autoescape=context.autoescape)
        return buffer.write(escape(value) if context.autoescape else value)


class _OutputTag(OutputTag):
    node_class = _OutputNode


class _EchoNode(_OutputNode, EchoNode):
    __slots__ = ()


class _EchoTag(EchoTag):
    node_class = _EchoNode


class Source(BoundTemplate):
    """One parsed text: a subject, a body, a layout."""

    weight: int = 1
    """How many nodes it has: what one round of a loop over all of it costs."""
    outer: Sequence[tuple[Sequence[Any], int]] = ()
    """The variables it wants from outside, as paths, and where each stands in the text."""
    length: int = 0
    """Characters of the text."""
    used: frozenset[str] = frozenset()
    """The roots of all variables it mentions."""

    def write(self, variables: Mapping[str, object], room: int, region: Region = ANYWHERE) -> str:
        """Render; raises LiquidError, or whatever a filter trips over."""
        output = Output(room)
        context = Context(self, variables, self.weight, region)
        for node in self.nodes:
            try:
                node.render(context, output)
            except LiquidInterrupt:
                break
            except LiquidError as error:
                error.token = error.token or node.token
                raise
        return output.getvalue()


class _Environment(Environment):
    template_class = Source
    undefined = Missing
    block_nesting_limit = _DEEPEST_BLOCKS

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        for tag in (_OutputTag, _EchoTag):
            self.add_tag(tag)
        for name in _REMOVED_TAGS:
            del self.tags[name]
        for name in _REMOVED_FILTERS:
            del self.filters[name]
        for name, function in FILTERS.items():
            self.add_filter(name, function)


TEXT: Final = _Environment(tolerance=Mode.STRICT, undefined=Missing)
HTML: Final = _Environment(tolerance=Mode.STRICT, undefined=Missing, autoescape=True)


def parse(environment: Environment, text: str) -> Source:
    """Parse `text`; raises SourceError with the line of the first thing that is wrong."""
    _check_markup(text)
    try:
        source = environment.from_string(text)
        assert isinstance(source, Source)
        source.length = len(text)
        source.weight = _weigh(source.nodes, Context(source, {}))
        analysis = source.analyze(include_partials=False)
    except RecursionError as error:
        raise SourceError("syntax", "an expression is nested too deeply", 1) from error
    except LiquidError as error:
        raise _source_error(environment, error) from error
    for name, spans in analysis.filters.items():
        if name not in environment.filters:
            raise SourceError("unknown_filter", f"there is no filter {name!r}", line_at(text, spans[0].index))
    source.outer = [(variable.segments, variable.span.index) for group in analysis.globals.values() for variable in group]
    source.used = frozenset(analysis.variables)
    return source


def line_at(text: str, index: int) -> int:
    """The line, counted from 1, that holds the character at `index`."""
    return text.count("\n", 0, max(index, 0)) + 1


def line_of(error: LiquidError) -> int | None:
    """Where in its template an error is."""
    token = error.token
    return line_at(token.source, token.start_index) if token is not None and token.start_index >= 0 else None


def text_of(value: Any, *, autoescape: bool) -> str:
    """A value as a template writes it: booleans in lower case, lists joined, objects as JSON."""
    if isinstance(value, str):  # Markup included
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        parts = (text_of(item, autoescape=autoescape) for item in value if item is not None)
        return Markup("").join(parts) if autoescape else "".join(parts)
    if isinstance(value, Mapping) and not isinstance(value, Undefined):
        return json.dumps(dict(value), ensure_ascii=False, default=str)
    if isinstance(value, range):
        return f"{value.start}..{value.stop - 1}"
    return str(value)


def _check_markup(text: str) -> None:
    """Refuse what makes the lexer's patterns take quadratic time: markup never closed, very long, or full of blanks."""
    position = 0
    while opening := _OPENING.search(text, position):
        start = opening.start()
        if verbatim := opening["verbatim"]:
            closing = _CLOSING[verbatim].search(text, opening.end())
            end, name = (closing.end() if closing else -1), f"{{% {verbatim} %}}"
        else:
            brackets = "}}" if opening.group() == "{{" else "%}"
            found = text.find(brackets, opening.end())
            end, name = (found + 2 if found >= 0 else -1), opening.group()
            if end - start > LONGEST_MARKUP or _GAP.search(text, start, max(end, start)):
                raise SourceError("syntax", f"what stands between {name} and {brackets} is too long", line_at(text, start))
        if end < 0:
            raise SourceError("syntax", f"{name} is never closed", line_at(text, start))
        position = end


def _source_error(environment: Environment, error: LiquidError) -> SourceError:
    token: Token | None = error.token
    if isinstance(error.__cause__, RecursionError):
        return SourceError("syntax", "an expression is nested too deeply", 1)
    message = str(error.message or "is not valid Liquid")
    code = "syntax"
    tag = token.value if token is not None and message == f"unexpected tag '{token.value}'" else ""
    if tag and tag not in environment.tags and not tag.startswith(("end", "els", "when")):
        code, message = "unknown_tag", f"there is no tag {tag!r}"
    return SourceError(code, message, line_of(error) or 1)


def _weigh(nodes: Iterable[Node], context: RenderContext) -> int:
    """Count the nodes below `nodes`; refuse a search through a literal range, which may be endless."""
    weight = 0
    for node in nodes:
        for expression in node.expressions():
            _refuse_range_search(node, expression)
        weight += (not isinstance(node, BlockNode)) + _weigh(node.children(context, include_partials=False), context)
    return weight


def _refuse_range_search(node: Node, expression: Expression) -> None:
    if isinstance(expression, ContainsExpression) and isinstance(expression.left, RangeLiteral):
        raise LiquidError("a range cannot be searched; compare with < and >", token=node.token)
    for child in expression.children():
        _refuse_range_search(node, child)
