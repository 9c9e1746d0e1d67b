"""Reads of templates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import Prefetch, QuerySet

from templates_app.compiled import CompiledLayout, CompiledVersion, Store, compile_layout, compile_version, size_of
from templates_app.locales import best
from templates_app.models import Layout, Template, TemplateVersion
from tenants.columns import int_array, text_array
from tenants.models import Tenant
from tenants.vocabulary import ANY, Channel

Place = tuple[int, Channel, str]
"""Tenant id, channel, event type."""
CompiledKey = tuple[UUID, UUID | None, datetime | None]
"""Version id, layout id, when the layout was last changed."""

_compiled: Final[Store[CompiledKey, CompiledVersion]] = Store()
_layouts: Final[Store[tuple[UUID | None, datetime | None], CompiledLayout]] = Store()


@dataclass
class TemplateBook:
    """The published templates a chunk of deliveries may need."""

    versions: Mapping[Place, Mapping[str, CompiledVersion]]
    """By place, then by locale in lower case."""
    _picked: dict[tuple[int, Channel, str, str, str], CompiledVersion | None] = field(default_factory=dict)

    def pick(
        self, tenant_id: int, channel: Channel, event_type: str, locale: str, default_locale: str
    ) -> CompiledVersion | None:
        """The version to send: the event type's own before `*`, in the locale that fits best. None: there is no template."""
        key = (tenant_id, channel, event_type, locale, default_locale)
        if key not in self._picked:
            self._picked[key] = self._find(*key)
        return self._picked[key]

    def own(
        self, tenant_id: int, channel: Channel, event_type: str, locale: str, default_locale: str
    ) -> CompiledVersion | None:
        """As `pick`, but without `*`."""
        return best(self.versions.get((tenant_id, channel, event_type), {}), locale, default_locale)

    def _find(self, tenant_id: int, channel: Channel, event_type: str, *locales: str) -> CompiledVersion | None:
        for name in (event_type, ANY):
            if found := best(self.versions.get((tenant_id, channel, name), {}), *locales):
                return found
        return None


_PUBLISHED: Final = """
SELECT t.tenant_id, t.channel, t.event_type, t.locale, t.published_version_id, t.layout_id, l.updated_at
FROM templates_app_template t LEFT JOIN templates_app_layout l ON l.id = t.layout_id
WHERE t.tenant_id = ANY(%(tenants)s::bigint[]) AND t.channel = ANY(%(channels)s::smallint[])
    AND t.event_type = ANY(%(event_types)s::text[]) AND t.published_version_id IS NOT NULL
"""


def published_templates(keys: Collection[Place]) -> TemplateBook:
    """What is published for these places and for `*` beside them. One statement; a second fetches what this process has not
    compiled yet. Both cover whole columns of `keys`, so a few templates too many may come along.
    """
    if not keys:
        return TemplateBook({})
    with connection.cursor() as cursor:
        cursor.execute(
            _PUBLISHED,
            {
                "tenants": int_array({tenant_id for tenant_id, _, _ in keys}),
                "channels": int_array({channel.value for _, channel, _ in keys}),
                "event_types": text_array({ANY, *(event_type for _, _, event_type in keys)}),
            },
        )
        found = cursor.fetchall()
    compiled = _compile({row[4:] for row in found})
    versions: dict[Place, dict[str, CompiledVersion]] = defaultdict(dict)
    for tenant_id, channel, event_type, locale, version_id, *_ in found:
        if version := compiled.get(version_id):
            versions[tenant_id, Channel(channel), event_type][locale.lower()] = version
    return TemplateBook(dict(versions))


def _compile(keys: Collection[CompiledKey]) -> dict[UUID, CompiledVersion]:
    known = {key: _compiled.get(key) for key in keys}
    compiled = {key[0]: version for key, version in known.items() if version}
    if missing := [key[0] for key, version in known.items() if version is None]:
        rows = TemplateVersion.objects.filter(id__in=missing).values(*_VERSION_COLUMNS)
        compiled |= {row["id"]: compiled_version(row) for row in rows}
    return compiled


_VERSION_COLUMNS: Final = (
    "id",
    "number",
    "subject",
    "body",
    "html",
    "variables",
    "template__channel",
    "template__locale",
    "template__layout_id",
    "template__layout__html",
    "template__layout__text",
    "template__layout__updated_at",
)


def compiled_version(row: Mapping[str, Any]) -> CompiledVersion:
    """Compile a row of `_VERSION_COLUMNS`, and keep it."""
    layout_key = (row["template__layout_id"], row["template__layout__updated_at"])
    layout = _layouts.get(layout_key)
    if layout is None and row["template__layout_id"]:
        layout = compile_layout(html=row["template__layout__html"], text=row["template__layout__text"])
        _layouts.put(layout_key, layout, size_of(layout.html, layout.text))
    version = compile_version(
        version_id=row["id"],
        channel=Channel(row["template__channel"]),
        locale=row["template__locale"],
        number=row["number"],
        subject=row["subject"],
        body=row["body"],
        html=row["html"],
        variables=row["variables"],
        layout=layout,
    )
    _compiled.put((version.id, *layout_key), version, size_of(*version.sources.values()))
    return version


def newest_version(template: Template) -> TemplateVersion:
    """The version with the highest number: the draft, if there is one, else what is or was live."""
    loaded: list[TemplateVersion] | None = getattr(template, "newest", None)
    return loaded[0] if loaded else template.versions.order_by("-number")[0]


def with_newest_version(templates: QuerySet[Template]) -> QuerySet[Template]:
    """Load what `newest_version` and the API show, in one statement more for however many templates."""
    newest = TemplateVersion.objects.order_by("template_id", "-number").distinct("template_id")
    unread = [f"published_version__{column}" for column in ("subject", "body", "html", "variables")]
    return (
        templates.select_related("tenant", "layout", "published_version")
        .defer(*unread, "layout__html", "layout__text")
        .prefetch_related(Prefetch("versions", queryset=newest, to_attr="newest"))
    )


def templates_of(
    tenant: Tenant, *, channel: Channel | None = None, event_type: str | None = None, locale: str | None = None
) -> QuerySet[Template]:
    """A tenant's templates, those with the given channel, event type and locale if given."""
    wanted = {"channel": channel, "event_type": event_type, "locale__iexact": locale}
    templates = Template.objects.for_tenant(tenant).filter(
        **{name: value for name, value in wanted.items() if value is not None}
    )
    return with_newest_version(templates)


def version_by_number(template: Template, number: int | None) -> TemplateVersion | None:
    """The version with that number, or the newest."""
    return newest_version(template) if number is None else versions_of(template).filter(number=number).first()


def versions_of(template: Template) -> QuerySet[TemplateVersion]:
    return TemplateVersion.objects.for_tenant(template.tenant_id).filter(template=template)


def version_numbers(template_id: str) -> list[int]:
    """The newest first."""
    key = _uuid(template_id)
    versions = TemplateVersion.objects.filter(template=key).order_by("-number")
    return list(versions.values_list("number", flat=True)) if key else []


def layouts_of(tenant: Tenant) -> QuerySet[Layout]:
    return Layout.objects.for_tenant(tenant)


def layout_by_id(tenant: Tenant, layout_id: str | UUID) -> Layout | None:
    """None, too, for what is no id at all."""
    key = _uuid(str(layout_id))
    return layouts_of(tenant).filter(pk=key).first() if key else None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
