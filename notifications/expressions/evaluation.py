"""Where an expression is evaluated: here, if its length and the payload's bound its cost, else in the guard.

Without loops an expression is not cheap by that: `payload.a + payload.a + …` over a list of 250,000 numbers copies for two
minutes, and a regular expression of 40 characters compiles to one that reads a long text for as long. So what may stay is
listed: operators and functions that look at each part of their operands at most once. Everything else goes to the guard,
and so does what would take long here because the payload is large.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import cel

from notifications.expressions.guard import Guard, Killed, NoTurn, request_of
from notifications.expressions.guard import guard as own_guard
from notifications.expressions.ledger import Ledger

IN_PROCESS_WORK = 500_000
"""Characters × bytes (× additions) that are done here: about 10 ms with the most expensive payloads there are."""
_HANDOVER = 60
"""Giving a payload to the library and taking the value back costs as much as so many characters."""

# Anywhere, texts and comments included: a false alarm costs some 30 µs.
_LOOP = re.compile(r"\b(?:all|exists|exists_one|existsOne|map|filter)\b")
_ADD = "_+_"
_OPERATORS = ("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_&&_", "_||_", "!_", "_?_:_", "@in", "_[_]")
_ARITHMETIC = (_ADD, "_-_", "_*_", "_/_", "_%_", "-_")
_FORESEEABLE = frozenset({*_OPERATORS, *_ARITHMETIC, "size", "startsWith", "endsWith", "contains"})

_ledger = Ledger()


class ExpressionError(Exception):
    """An expression came to no value; the message says why."""


@functools.lru_cache(maxsize=4096)
def program(expression: str) -> Any:
    """The compiled expression; raises ValueError and others where it is none. Takes a few milliseconds at the most."""
    return cel.compile(expression)


def evaluate(
    expression: str,
    variables: Mapping[str, Any],
    *,
    tenant_id: int,
    rule_id: object,
    guard: Guard = own_guard,
    ledger: Ledger = _ledger,
) -> Any:
    """The expression's value, within about a second of CPU time and half a gigabyte of memory; raises ExpressionError."""
    try:
        request = request_of(expression, variables)
        if _work_per_byte(expression) * len(request) <= IN_PROCESS_WORK:
            return program(expression).execute(dict(variables))
    except Exception as error:  # the library raises RuntimeError, TypeError, ValueError … by kind of fault
        raise ExpressionError(str(error)[:500]) from error
    key = rule_id, expression
    if why := ledger.objection(tenant_id, key):
        raise ExpressionError(why)
    try:
        answer = guard.evaluate(request)
    except NoTurn as error:
        raise ExpressionError(str(error)) from error
    except Killed as error:
        ledger.charge(tenant_id, error.cpu_s)
        ledger.rest(key, str(error))
        raise ExpressionError(str(error)) from error
    ledger.charge(tenant_id, answer.cpu_s)
    if not answer.good:
        raise ExpressionError(str(answer.value))
    return answer.value


@functools.lru_cache(maxsize=4096)
def _work_per_byte(expression: str) -> float:
    """How the cost grows with the payload; infinite if nobody knows. An addition copies what the ones before it made."""
    if _LOOP.search(expression):
        return float("inf")
    functions = set(program(expression).functions())
    if functions - _FORESEEABLE:
        return float("inf")
    additions = expression.count("+") if _ADD in functions else 1
    return float((len(expression) + _HANDOVER) * additions)
