"""Writes of templates and layouts. Every saved text has been checked; a version, once written, stays as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import RestrictedError

from templates_app.errors import AlreadyExistsError, InvalidTemplateError, LayoutInUseError, Problem, UnknownVersionError
from templates_app.models import Layout, Template, TemplateVersion
from templates_app.names import FALLBACK_LOCALE, clean_event_type, clean_locale
from templates_app.selectors import newest_version
from templates_app.validation import Content, check_content, check_layout, normalise_variables
from tenants.models import Tenant
from tenants.vocabulary import Channel

_CONTENT: Final = tuple(field.name for field in dataclasses.fields(Content))


def create_template(
    *,
    tenant: Tenant,
    channel: Channel,
    event_type: str,
    content: Content,
    locale: str = FALLBACK_LOCALE,
    name: str = "",
    layout: Layout | None = None,
    draft: bool = False,
    created_by: str = "",
) -> Template:
    """A template with its version 1, published unless `draft`. Raises InvalidTemplateError, AlreadyExistsError."""
    problems: list[Problem] = []
    event_type = _cleaned("eventType", clean_event_type, event_type, problems)
    locale = _cleaned("locale", clean_locale, locale, problems)
    content = _checked(channel, content, problems)
    with transaction.atomic():
        template = Template(tenant=tenant, channel=channel, event_type=event_type, locale=locale, name=name, layout=layout)
        try:
            with transaction.atomic():
                template.save(force_insert=True)
        except IntegrityError as error:
            raise AlreadyExistsError(f"There is a template for {template} already.") from error
        version = _write_version(template, 1, content, created_by)
        if not draft:
            _make_live(template, version)
    return template


def update_template(*, template: Template, changes: Mapping[str, Any], created_by: str = "") -> Template:
    """Change the name or the layout at once, and the words (`subject`, `body`, `html`, `variables`) as a draft: the next
    version, unless it would say what the newest one says. Raises InvalidTemplateError, Template.DoesNotExist.
    """
    with transaction.atomic():
        template = _locked(template)
        newest = newest_version(template)
        before = content_of(newest)
        after = dataclasses.replace(before, **{key: changes[key] for key in _CONTENT if key in changes})
        after = _checked(Channel(template.channel), after, [])
        for key in ("name", "layout"):
            if key in changes:
                setattr(template, key, changes[key])
        if after != before:
            _write_version(template, newest.number + 1, after, created_by)
        template.save()
    return template


def publish(*, template: Template, number: int | None = None) -> Template:
    """Make a version live: the newest, or the one with that number. Raises UnknownVersionError, Template.DoesNotExist."""
    with transaction.atomic():
        template = _locked(template)
        versions = template.versions.order_by("-number")
        version = versions.filter(number=number).first() if number is not None else versions.first()
        if version is None:
            raise UnknownVersionError(f"The template has no version {number}.")
        if version.pk != template.published_version_id:
            _make_live(template, version)
    return template


def delete_template(*, template: Template) -> None:
    """Delete a template with all its versions. Deliveries keep the words they were sent with."""
    template.delete()


def create_layout(*, tenant: Tenant, name: str, html: str = "", text: str = "") -> Layout:
    """Raises InvalidTemplateError, AlreadyExistsError."""
    layout = Layout(tenant=tenant, name=name, html=_lines(html), text=_lines(text))
    return _saved_layout(layout)


def update_layout(*, layout: Layout, changes: Mapping[str, str]) -> Layout:
    """Change a layout; it goes around the very next message. Raises InvalidTemplateError, AlreadyExistsError and
    Layout.DoesNotExist.
    """
    with transaction.atomic():
        layout = Layout.objects.for_tenant(layout.tenant_id).select_for_update().get(pk=layout.pk)
        for key in ("name", "html", "text"):
            if key in changes:
                setattr(layout, key, _lines(changes[key]))
        return _saved_layout(layout)


def delete_layout(*, layout: Layout) -> None:
    """Raises LayoutInUseError."""
    try:
        with transaction.atomic():
            layout.delete()
    except (RestrictedError, IntegrityError) as error:
        raise LayoutInUseError(f"Templates use the layout {layout.name}.") from error


def content_of(version: TemplateVersion) -> Content:
    return Content(**{name: getattr(version, name) for name in _CONTENT})


def _cleaned(field: str, clean: Callable[[str], str], value: str, problems: list[Problem]) -> str:
    try:
        return clean(value)
    except ValueError as error:
        problems.append(Problem(field, "invalid", f"This {error}."))
        return value


def _checked(channel: Channel, content: Content, problems: list[Problem]) -> Content:
    """`content` as it is stored; raises InvalidTemplateError with its problems and those found before."""
    content = Content(
        subject=_lines(content.subject),
        body=_lines(content.body),
        html=_lines(content.html),
        variables=content.variables,
    )
    problems += check_content(channel, content)
    if problems:
        raise InvalidTemplateError(problems)
    variables, _ = normalise_variables(content.variables)
    return dataclasses.replace(content, variables=variables)


def _lines(text: str) -> str:
    """Browsers send CRLF from text areas: the same words would be another version, and a longer SMS."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _locked(template: Template) -> Template:
    """The row, held until the transaction ends: versions get their numbers one after the other."""
    return Template.objects.for_tenant(template.tenant_id).select_for_update(of=("self",)).get(pk=template.pk)


def _write_version(template: Template, number: int, content: Content, created_by: str) -> TemplateVersion:
    return TemplateVersion.objects.create(
        tenant_id=template.tenant_id,
        template=template,
        number=number,
        created_by=created_by,
        **{name: getattr(content, name) for name in _CONTENT},
    )


def _make_live(template: Template, version: TemplateVersion) -> None:
    template.published_version = version
    template.save(update_fields=["published_version", "updated_at"])


def _saved_layout(layout: Layout) -> Layout:
    if problems := check_layout(html=layout.html, text=layout.text):
        raise InvalidTemplateError(problems)
    try:
        with transaction.atomic():
            layout.save()
    except IntegrityError as error:
        raise AlreadyExistsError(f"There is a layout named {layout.name} already.") from error
    return layout
