"""The filters that format for a recipient: dates, times, numbers, money, percentages, by CLDR's data (https://cldr.unicode.org)
through Babel. They return text, which HTML escapes like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from babel.dates import format_date, format_datetime, format_time
from babel.numbers import NumberPattern, format_currency, get_currency_precision
from liquid.builtin.filters.misc import date as strftime
from liquid.filter import with_context
from liquid.undefined import Undefined

from templates_app.liquid import arguments
from templates_app.liquid.arguments import FormatError, Pattern, given

if TYPE_CHECKING:
    from templates_app.liquid.context import Context

_TOUCHING: Final = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
"""Between a code and digits, CHF1: where CLDR's currencySpacing puts a space and Babel does not (UTS 35, part 3)."""
_DEFAULT_DIGITS: Final = 3
"""Of a number's fraction, at most: what CLDR's own pattern has."""


def _formatting(function: Callable[..., str]) -> Callable[..., Any]:
    """A filter: errors get its name, nothing stays nothing, and the text suits the channel."""
    name = function.__name__.strip("_")

    @with_context
    @wraps(function)
    def filtered(value: Any, *args: Any, context: Context, **kwargs: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, Undefined):
            return ""
        try:
            return context.region.text(function(value, *args, context=context, **kwargs))
        except FormatError as error:
            raise FormatError(f"{name}: {error.message}") from error

    return filtered


@with_context
def _date(value: Any, form: Any = None, *, context: Context, locale: Any = None, timezone: Any = None) -> Any:
    """A pattern with `%` is Liquid's own: strftime's, in English, in the offset that the value came with."""
    if isinstance(form, str) and "%" in form:
        if locale is not None or timezone is not None:
            raise FormatError("date: a format with % takes no locale and no timezone")
        return strftime(value, form, environment=context.env)
    return _localised_date(value, form, context=context, locale=locale, timezone=timezone)


def _moment_filter(name: str, predefined: Callable[..., str], default: str) -> Callable[..., Any]:
    def formatted(value: Any, form: Any = None, *, context: Context, locale: Any = None, timezone: Any = None) -> str:
        language = given(locale, arguments.locale, None) or context.region.locale
        moment = arguments.moment(value, given(timezone, arguments.zone, None) or arguments.zone(context.region.timezone))
        wanted = given(form, arguments.style, default)
        needs_time = wanted.has_time if isinstance(wanted, Pattern) else predefined is not format_date
        if needs_time and not isinstance(moment, datetime):
            raise FormatError("the value is a date without a time")
        if isinstance(wanted, Pattern):
            return str(wanted.parsed.apply(moment, language))
        return predefined(moment, wanted, locale=language)

    formatted.__name__ = name
    return _formatting(formatted)


_localised_date = _moment_filter("date", format_date, "medium")
_time = _moment_filter("time", format_time, "short")
_datetime = _moment_filter("datetime", format_datetime, "medium")


@_formatting
def _number(value: Any, digits: Any = None, *, context: Context, locale: Any = None) -> str:
    language = given(locale, arguments.locale, None) or context.region.locale
    places = given(digits, arguments.digits, None)
    amount = _rounded(arguments.number(value), _DEFAULT_DIGITS if places is None else places)
    return str(_with_places(language.decimal_formats[None], places).apply(amount, language))


@_formatting
def _percent(value: Any, digits: Any = None, *, context: Context, locale: Any = None) -> str:
    language = given(locale, arguments.locale, None) or context.region.locale
    places = given(digits, arguments.digits, 0)
    amount = _rounded(arguments.number(value), places + 2)
    return str(_with_places(language.percent_formats[None], places).apply(amount, language))


@_formatting
def _money(value: Any, currency: Any = None, *, context: Context, locale: Any = None) -> str:
    language = given(locale, arguments.locale, None) or context.region.locale
    code = arguments.currency("" if isinstance(currency, Undefined) or currency is None else currency)
    shown = format_currency(_rounded(arguments.number(value), get_currency_precision(code)), code, locale=language)
    return _TOUCHING.sub("\u00a0", shown)


def _rounded(amount: Decimal, places: int) -> Decimal:
    """Half to even, as CLDR's own formatters do; never -0, which a sum of floats easily comes to."""
    return amount.quantize(Decimal(1).scaleb(-places)) or Decimal(0)


def _with_places(pattern: NumberPattern, places: int | None) -> NumberPattern:
    if places is None:
        return pattern
    pattern = copy(pattern)
    pattern.frac_prec = (places, places)
    return pattern


@dataclass(frozen=True, slots=True)
class Signature:
    """What a filter takes, so that what is written out in a template is checked when it is saved."""

    first: Callable[[object], object]
    """Reads its one argument that needs no name."""
    needed: bool = False
    named: Mapping[str, Callable[[object], object]] = field(default_factory=lambda: {"locale": arguments.locale})


_IN_TIME: Final = {"locale": arguments.locale, "timezone": arguments.zone}
FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "date": _date,
    "time": _time,
    "datetime": _datetime,
    "number": _number,
    "money": _money,
    "percent": _percent,
}
SIGNATURES: Final[Mapping[str, Signature]] = {
    "date": Signature(arguments.style, named=_IN_TIME),
    "time": Signature(arguments.style, named=_IN_TIME),
    "datetime": Signature(arguments.style, named=_IN_TIME),
    "number": Signature(arguments.digits),
    "percent": Signature(arguments.digits),
    "money": Signature(arguments.currency, needed=True),
}
