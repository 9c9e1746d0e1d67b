"""Rendering's state: the variables in scope, and the work a template may still cause.

python-liquid bounds nesting and each loop by itself; here every render has one budget. Loops, variables and the results of
filters are paid for by their size, so that no template and no data keep a worker busy for long, in whatever combination.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from io import StringIO
from time import thread_time
from typing import Any, Final, TextIO

from liquid import BoundTemplate, RenderContext, Token
from liquid.exceptions import LiquidError, LoopIterationLimitError, OutputStreamLimitError
from liquid.undefined import UNDEFINED, Undefined
from liquid.utils import ReadOnlyChainMap

from templates_app.liquid.regions import Region
from templates_app.liquid.undefined import Missing

WORK: Final = 1_000_000
"""What one render may cost: about a second at the very worst. A character handled, or a node rendered, costs 1."""
MOST_CPU_S: Final = 0.25
"""Of a thread's time, for one text: what has no price, comparing two large lists, say, costs time at least."""
_LOOKS_AT_CLOCK_EVERY: Final = 16
MOST_ITERATIONS: Final = 10_000
"""Of all loops of one render together."""
ANYWHERE: Final = Region()
_FORMATTED: Final = 20
"""What it costs to format a date or a number: some 20 µs."""


class WorkExceededError(LiquidError):
    """The render used up its budget."""


class TooSlowError(WorkExceededError):
    """The render used up its time."""


class Output(StringIO):
    """Collects what a template writes, up to a number of characters."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, text: str, /) -> int:
        self.room -= len(text)
        if self.room < 0:
            raise OutputStreamLimitError("the output is too large", token=None)
        return super().write(text)


class Scope(ReadOnlyChainMap):
    """The namespaces in the order they are searched."""

    def find(self, key: Any) -> Any:
        """The value of `key`; None if it has none. Faster than the base class, which raises for every miss."""
        for namespace in self._maps:
            if key in namespace:
                return namespace[key]
        return None


class Context(RenderContext):
    """One render of one template. `null` is the same as missing, everywhere."""

    __slots__ = ("charges", "ends_at", "iterations", "region", "weight", "work")

    scope: Scope

    def __init__(
        self, template: BoundTemplate, variables: Mapping[str, object], weight: int = 1, region: Region = ANYWHERE
    ) -> None:
        # Sets what the base class sets and no more: its own constructor takes longer than a short template's render.
        self.env = template.env
        self.template = template
        self.autoescape = template.env.autoescape
        self.globals = variables
        self.locals = {}
        self.counters = {}
        self.scope = Scope(self.locals, variables, self.counters)
        self.tag_namespace = {"cycles": {}, "ifchanged": "", "stopindex": {}, "extends": defaultdict(list), "macros": {}}
        self.loops = []
        self.disabled_tags = []
        self.parent_context = None
        self.weight = weight
        self.region = region
        self.work = WORK
        self.charges = 0
        self.ends_at = thread_time() + MOST_CPU_S
        self.iterations = MOST_ITERATIONS

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        root = path[0]
        value = self.scope.find(root) if type(root) is str else None
        for segment in path[1:]:
            if value is None or isinstance(value, Undefined):
                break
            try:
                value = self.get_item(value, segment)
            except (LookupError, TypeError):
                value = None
        if value is None:
            return Missing(".".join(map(str, path)), token=token) if default is UNDEFINED else default
        self.charge(size_of(value))
        return value

    def assign(self, key: str, val: Any) -> None:
        self.charge(size_of(val))
        self.locals[key] = val

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        """The filter, with what it is given and what it makes charged to the render."""
        function = super().filter(name, token)
        return function if name == "default" else partial(self._filtered, name, function)

    def raise_for_loop_limit(self, length: int = 1) -> None:
        self.iterations -= length
        if self.iterations < 0:
            raise LoopIterationLimitError(f"more than {MOST_ITERATIONS} rounds of loops", token=None)
        self.charge(length * self.weight)

    def get_buffer(self, buf: TextIO | None = None) -> StringIO:
        return Output(buf.room if isinstance(buf, Output) else sys.maxsize)

    def charge(self, work: int) -> None:
        self.work -= work
        if self.work < 0:
            raise WorkExceededError("the template causes too much work", token=None)
        self.charges += 1
        if self.charges % _LOOKS_AT_CLOCK_EVERY == 0 and thread_time() > self.ends_at:
            raise TooSlowError(f"the template takes more than {MOST_CPU_S:g} s", token=None)

    def _filtered(self, name: str, function: Callable[..., object], left: Any, *args: Any, **kwargs: Any) -> object:
        for value in (left, *args, *kwargs.values()):
            if isinstance(value, Undefined):
                value.poke()
            self.charge(size_of(value))
        if name in COSTS:
            self.charge(COSTS[name](left, *args))
        result = function(left, *args, **kwargs)
        self.charge(size_of(result))
        return result


def size_of(value: Any) -> int:
    """Roughly how much work it is to handle `value` once."""
    if isinstance(value, str | list | dict | tuple):
        return len(value)
    if isinstance(value, range):
        return max(0, value.stop - value.start)  # len() fails beyond sys.maxsize
    if isinstance(value, int):
        return value.bit_length()
    return 1


def _replaced(text: Any, old: Any = "", new: Any = "", *_: Any) -> int:
    return str(text).count(str(old)) * size_of(new)


def _joined(items: Any, separator: Any = " ", *_: Any) -> int:
    if not isinstance(items, list | tuple | range):
        return 0
    return sum(size_of(item) for item in items) + len(items) * size_of(separator)


def _dated(value: Any, pattern: Any = "", *_: Any) -> int:
    """A date of a hundred characters, or a pattern as long as a page, is an attack."""
    longest = max(len(each) if isinstance(each, str) else 0 for each in (value, pattern))
    return WORK if longest > 100 else _FORMATTED


def _formatted(*_: Any) -> int:
    return _FORMATTED


COSTS: Final[Mapping[str, Callable[..., int]]] = {
    "date": _dated,
    "datetime": _dated,
    "join": _joined,
    "money": _formatted,
    "number": _formatted,
    "percent": _formatted,
    "replace": _replaced,
    "strip_html": lambda text, *_: size_of(text) ** 2 // 1000,  # HTMLParser is quadratic for some inputs
    "time": _dated,
    "uniq": lambda items, *_: size_of(items) ** 2,
}
"""What filters cost beyond the size of what they are given and what they make, if not in proportion to it. Known before
the filter runs: afterwards may be too late.
"""
