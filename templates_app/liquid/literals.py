"""What can be known to be wrong with a filter's arguments before anything is rendered: those written out in the template."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from liquid import Node, RenderContext
from liquid.builtin.expressions.arguments import KeywordArgument
from liquid.builtin.expressions.filtered import Filter, FilteredExpression
from liquid.builtin.expressions.primitive import Literal
from liquid.expression import Expression

from templates_app.liquid.arguments import FormatError
from templates_app.liquid.context import Context
from templates_app.liquid.environment import Source, line_at
from templates_app.liquid.formatting import SIGNATURES, Signature


def argument_faults(source: Source, text: str) -> Iterator[tuple[int, str]]:
    """Line and text of each fault of the formatting filters of `source`, which was parsed from `text`."""
    for used in _filters(source.nodes, Context(source, {})):
        if signature := SIGNATURES.get(used.name):
            line = line_at(text, used.token.start_index)
            yield from ((line, f"{used.name}: {fault}") for fault in _faults(used, signature))


def _faults(used: Filter, signature: Signature) -> Iterator[str]:
    named = [each for each in used.args if isinstance(each, KeywordArgument)]
    unnamed = [each for each in used.args if not isinstance(each, KeywordArgument)]
    if len(unnamed) > 1:
        yield "it takes one argument without a name"
    if signature.needed and not unnamed:
        yield "it needs an argument"
    strftime = bool(unnamed) and used.name == "date" and "%" in str(_literal(unnamed[0].value))
    if strftime and named:
        yield "a format with % takes no locale and no timezone"
    if unnamed and not strftime:
        yield from _fault(signature.first, unnamed[0].value)
    for each in named:
        if each.name in signature.named:
            yield from _fault(signature.named[each.name], each.value)
        else:
            yield f"it takes no {each.name}; it takes {', '.join(signature.named)}"


def _fault(read: Callable[[object], object], value: Expression) -> Iterator[str]:
    if isinstance(value, Literal):
        try:
            read(value.value)
        except FormatError as error:
            yield str(error.message)


def _literal(value: Expression) -> object:
    return value.value if isinstance(value, Literal) else ""


def _filters(nodes: Iterable[Node], context: RenderContext) -> Iterator[Filter]:
    for node in nodes:
        for expression in node.expressions():
            if isinstance(expression, FilteredExpression):
                yield from expression.filters or ()
        yield from _filters(node.children(context, include_partials=False), context)
