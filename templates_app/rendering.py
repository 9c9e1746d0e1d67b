"""From a compiled version and the values of one delivery to the words that are sent. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.utils.html import linebreaks
from liquid.exceptions import LiquidError, OutputStreamLimitError
from markupsafe import Markup

from templates_app.compiled import CompiledVersion
from templates_app.liquid import MissingVariableError, Region, Source, TooSlowError, line_of
from tenants.vocabulary import Channel

TOO_SLOW: Final = "render_too_slow"
ROOM: Final[Mapping[str, int]] = {"subject": 2_000, "body": 100_000, "html": 500_000}
"""Characters that each part may come to, layout included."""

_SMS: Final = Channel.SMS  # looked up once: on an enum it takes as long as the rest of `region_of`
_NO_LINKS: Final[Mapping[str, str]] = {}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Rendered:
    """What is sent. `html` is empty but for e-mail."""

    subject: str
    body: str
    html: str
    version_id: UUID


class RenderError(Exception):
    """The message cannot be made. `code` is `missing_variable`, `render_error` or `output_too_large`; the text names the
    variable, the part and the line.
    """

    def __init__(self, code: str, message: str, *, part: str = "", line: int | None = None, variable: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.part = part
        self.line = line
        self.variable = variable


def render(
    version: CompiledVersion,
    *,
    data: Mapping[str, Any],
    recipient: Mapping[str, Any],
    event: Mapping[str, Any],
    tenant: Mapping[str, Any],
    region: Region,
    links: Mapping[str, str] = _NO_LINKS,
) -> Rendered:
    """Render one delivery; raises RenderError and nothing else. The keys of the mappings are those templates use:
    `recipient` userId, email, phone, locale, timezone, attributes (an empty one is as missing as null); `event` id, type,
    priority, metadata, createdAt; `tenant` slug, name. `region` is how dates and numbers are formatted; `links` has those of
    `version.links` that there are.
    """
    if broken := version.broken or (version.layout.broken if version.layout else ""):
        raise RenderError("render_error", broken)
    known = {key: value for key, value in recipient.items() if value != ""}
    variables = {"data": data, "recipient": known, "event": event, "tenant": tenant, **links}
    for name, stand_in in version.variables:
        value = data.get(name)
        if value is None:
            value = stand_in
        if value is not None:
            variables[name] = value
    sources = version.sources
    subject = _single_line(_write("subject", sources["subject"], variables, region)) if "subject" in sources else ""
    body = _write("body", sources["body"], variables, region) if "body" in sources else ""
    html = _write("html", sources["html"], variables, region) if "html" in sources else ""
    if version.layout or (html and not body):
        body, html = _dress(version, variables | {"subject": subject}, region, body, html)
    return Rendered(subject, body, html, version.id)


def region_of(version: CompiledVersion, *, locale: str, default_locale: str, timezone: str) -> Region:
    """How a message of `version` formats: in the recipient's own `locale` (empty: there is none), else the template's, else
    the tenant's default; an SMS with plain spaces.
    """
    return Region((locale, version.locale, default_locale), timezone, version.channel is _SMS)


def _dress(version: CompiledVersion, variables: Mapping[str, Any], region: Region, body: str, html: str) -> tuple[str, str]:
    """Put body and html into their layouts, and make the one that is missing from the other."""
    layout = version.layout
    plain, inner = body, html
    if layout and layout.html and version.channel is Channel.EMAIL:
        html = _in_layout("html", layout.html, variables, region, Markup(inner or linebreaks(plain, autoescape=True)))  # noqa: S704
    if not plain:
        # A text layout brings its own greeting and footer; without one, those of the html layout are part of the text.
        plain = body = _text_from(inner if layout and layout.text else html)
    if layout and layout.text:
        body = _in_layout("body", layout.text, variables, region, plain)
    return body, html


def _in_layout(part: str, source: Source, variables: Mapping[str, Any], region: Region, content: str) -> str:
    return _write(part, source, {**variables, "content": content}, region, where="layout of the ")


def _write(part: str, source: Source, variables: Mapping[str, Any], region: Region, *, where: str = "") -> str:
    try:
        text = source.write(variables, ROOM[part], region)
    except MissingVariableError as error:
        raise _error("missing_variable", where + part, f"{error.name} is missing", error, error.name) from error
    except OutputStreamLimitError as error:
        raise _error("output_too_large", where + part, f"more than {ROOM[part]:,} characters", error) from error
    except TooSlowError as error:
        raise _error(TOO_SLOW, where + part, str(error.message), error) from error
    except LiquidError as error:
        raise _error("render_error", where + part, str(error.message), error) from error
    except Exception as error:
        raise RenderError("render_error", f"{where}{part}: {type(error).__name__}: {error}"[:500], part=part) from error
    return text.replace("\x00", "") if "\x00" in text else text


def _error(code: str, part: str, message: str, error: LiquidError, variable: str = "") -> RenderError:
    line = line_of(error)
    place = f"{part}, line {line}" if line else part
    return RenderError(code, f"{place}: {message}"[:500], part=part.rpartition(" ")[2], line=line, variable=variable)


def _single_line(text: str) -> str:
    """No line break or other control character gets into a header (RFC 5322, section 2.2)."""
    return _CONTROL.sub(" ", text).strip()


def _text_from(html: str) -> str:
    """The text part of a mail that has only html: links keep their addresses."""
    from inscriptis import get_text  # brings lxml along: only for processes that need it
    from inscriptis.model.config import ParserConfig

    try:
        return str(get_text(html, ParserConfig(display_links=True))).strip()
    except Exception as error:
        raise RenderError("render_error", f"html: no text can be made of it: {error}"[:500], part="html") from error
