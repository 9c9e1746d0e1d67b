"""What a template would say: rendered with the examples of its variables, or with values given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.utils import timezone
from uuid_utils.compat import uuid7

from templates_app.compiled import CompiledVersion, compile_layout, compile_version
from templates_app.errors import Problem
from templates_app.models import Template
from templates_app.rendering import RenderError, region_of, render
from templates_app.validation import Content, check_content, normalise_variables
from tenants.models import Tenant
from tenants.vocabulary import ANY, Channel, Priority

SAMPLE_TYPE = "order.shipped"
"""Stands for the event type in a preview of a template for any."""
_EXAMPLE_LINKS: Final = {"unsubscribe_url": "/u/example", "preferences_url": "/preferences/example"}
"""Lead to pages that say what stands there in a message, and do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    subject: str = ""
    body: str = ""
    html: str = ""
    problems: list[Problem] = field(default_factory=list)


def preview(
    *,
    template: Template,
    content: Content,
    data: Mapping[str, Any] | None = None,
    recipient: Mapping[str, Any] | None = None,
) -> Preview:
    """Render `content` in the place of `template`, which may not be saved yet. Without `data`, the variables' examples and
    their names stand in.
    """
    channel = Channel(template.channel)
    if problems := check_content(channel, content):
        return Preview(problems=problems)
    variables, _ = normalise_variables(content.variables)
    version = compile_version(
        version_id=uuid7(),
        channel=channel,
        locale=template.locale,
        number=0,
        subject=content.subject,
        body=content.body,
        html=content.html,
        variables=variables,
        layout=compile_layout(html=template.layout.html, text=template.layout.text) if template.layout else None,
    )
    return _rendered(version, template, example_data(variables) if data is None else data, recipient or {})


def example_data(variables: list[dict[str, Any]]) -> dict[str, Any]:
    """An event's data made of the examples; a required variable without one is shown by its name."""
    data = {}
    for variable in variables:
        if "example" in variable:
            data[variable["name"]] = variable["example"]
        elif variable["required"]:
            data[variable["name"]] = f"[{variable['name']}]"
    return data


def _rendered(version: CompiledVersion, template: Template, data: Mapping[str, Any], recipient: Mapping[str, Any]) -> Preview:
    try:
        words = render(
            version,
            data=data,
            recipient=_sample_recipient(template) | dict(recipient),
            event=_sample_event(template),
            tenant={"slug": template.tenant.slug, "name": template.tenant.name},
            region=region_of(
                version,
                locale=recipient.get("locale", ""),
                default_locale=template.tenant.default_locale,
                timezone=recipient.get("timezone") or template.tenant.timezone,
            ),
            links={name: f"{settings.PUBLIC_URL}{path}" for name, path in _EXAMPLE_LINKS.items()},
        )
    except RenderError as error:
        return Preview(problems=[Problem(error.part, error.code, str(error), error.line)])
    return Preview(subject=words.subject, body=words.body, html=words.html)


def _sample_recipient(template: Template) -> dict[str, Any]:
    tenant: Tenant = template.tenant
    return {
        "userId": "user_123",
        "email": "ada@example.com",
        "phone": "+14155550100",
        "locale": template.locale,
        "timezone": tenant.timezone,
        "attributes": {},
    }


def _sample_event(template: Template) -> dict[str, Any]:
    return {
        "id": "evt_123",
        "type": SAMPLE_TYPE if template.event_type == ANY else template.event_type,
        "priority": Priority.NORMAL.label,
        "metadata": {},
        "createdAt": timezone.now(),
    }
