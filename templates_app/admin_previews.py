"""Previews of forms as they stand, saved or not, complete or not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.core.exceptions import ValidationError

from templates_app.errors import Problem
from templates_app.models import Layout, Template
from templates_app.names import FALLBACK_LOCALE, clean_locale
from templates_app.previews import Preview, example_data, preview
from templates_app.selectors import layout_by_id
from templates_app.validation import LONGEST, Content, check_layout, normalise_variables
from tenants.models import Tenant, validate_timezone
from tenants.vocabulary import ANY, Channel

_CHECKS: Final[Mapping[str, Callable[[str], object]]] = {"locale": clean_locale, "timezone": validate_timezone}
_SAMPLE: Final = Content(
    subject="Your order is on its way",
    body="Dear Ada,\n\nyour order has left our house today.",
    html="<h1>Good news</h1><p>Dear Ada,</p><p>your order has left our house today.</p>",
)


def template_preview(template: Template | None, form: Mapping[str, str]) -> dict[str, Any]:
    """What the form of a template would say. `sample_data` in it is an event's data; empty: the variables' examples.
    `sample_locale` and `sample_timezone` are the recipient's; empty: the template's and the tenant's.
    """
    problems: list[Problem] = []
    variables = _json("variables", form.get("variables") or "[]", list, problems)
    sample = form.get("sample_data", "")
    data = _json("sample data", sample, dict, problems) if sample.strip() else None
    recipient = _recipient(form, problems)
    place = template or _unsaved(form)
    if place is None or problems:
        return _shown(Preview(problems=problems), None)
    content = Content(**{name: form.get(name, "")[: LONGEST[name] + 1] for name in ("subject", "body")}, variables=variables)
    if place.channel == Channel.EMAIL:
        content = Content(subject=content.subject, body=content.body, html=form.get("html", ""), variables=variables)
    place.layout = layout_by_id(place.tenant, form.get("layout", ""))
    declared, _ = normalise_variables(variables)
    return _shown(preview(template=place, content=content, data=data, recipient=recipient), example_data(declared))


def layout_preview(layout: Layout | None, form: Mapping[str, str]) -> dict[str, Any]:
    """What a message looks like in the layout of the form."""
    html, text = form.get("html", ""), form.get("text", "")
    tenant = layout.tenant if layout else _tenant(form)
    problems = check_layout(html=html, text=text)
    if tenant is None or problems:
        return _shown(Preview(problems=problems), None)
    place = Template(tenant=tenant, channel=Channel.EMAIL, event_type=ANY, locale=FALLBACK_LOCALE)
    place.layout = Layout(tenant=tenant, html=html, text=text)
    return _shown(preview(template=place, content=_SAMPLE), None)


def _shown(result: Preview, examples: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "subject": result.subject,
        "body": result.body,
        "html": result.html,
        "problems": [{"field": each.field, "message": each.message, "line": each.line} for each in result.problems],
        "examples": examples,
    }


def _recipient(form: Mapping[str, str], problems: list[Problem]) -> dict[str, str]:
    given = {name: form.get(f"sample_{name}", "").strip() for name in _CHECKS}
    for name, check in _CHECKS.items():
        try:
            if given[name]:
                check(given[name])
        except (ValueError, ValidationError) as error:
            message = " ".join(error.messages) if isinstance(error, ValidationError) else f"This {error}."
            problems.append(Problem(f"sample {name}", "invalid", message))
    return {name: value for name, value in given.items() if value}


def _unsaved(form: Mapping[str, str]) -> Template | None:
    tenant, channel = _tenant(form), form.get("channel", "")
    if tenant is None or channel not in {str(each.value) for each in Channel}:
        return None
    return Template(
        tenant=tenant,
        channel=int(channel),
        event_type=form.get("event_type") or ANY,
        locale=form.get("locale") or FALLBACK_LOCALE,
    )


def _tenant(form: Mapping[str, str]) -> Tenant | None:
    key = form.get("tenant", "")
    return Tenant.objects.filter(pk=int(key)).first() if key.isascii() and key.isdecimal() and len(key) < 19 else None


def _json(field: str, text: str, kind: type[list[Any] | dict[str, Any]], problems: list[Problem]) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        problems.append(Problem(field, "json", f"Is not JSON: {error}"))
        return kind()
    if not isinstance(value, kind):
        problems.append(Problem(field, "type", f"Must be {'a list' if kind is list else 'an object'}."))
        return kind()
    return value
