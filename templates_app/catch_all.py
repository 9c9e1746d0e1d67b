"""What a new tenant says before anybody wrote a template: visible, editable templates for any event type."""

from __future__ import annotations

from typing import Final

from django.db import transaction
from uuid_utils.compat import uuid7

from templates_app.models import Template, TemplateVersion
from templates_app.names import FALLBACK_LOCALE
from tenants.models import Tenant
from tenants.vocabulary import ANY, Channel

_NAME: Final = "Anything else"
_SUBJECT: Final = "{{ data.title | default: event.type | truncate: 200 }}"
_SENTENCE: Final = "{% capture sentence %}There is news for you: {{ event.type }}{% endcapture %}"
_BODY: Final = f"{_SENTENCE}{{{{ data.body | default: data.message | default: sentence }}}}"
_BODY_ALONE: Final = f"{_SENTENCE}{{{{ data.body | default: data.message | default: data.title | default: sentence }}}}"
_TITLED: Final = frozenset({Channel.EMAIL, Channel.PUSH, Channel.IN_APP, Channel.WEBHOOK})


def seed_catch_all(tenant: Tenant) -> list[Template]:
    """Publish a `*` template in English on every channel that has none, and return those; safe to call again."""
    with transaction.atomic():
        taken = set(
            Template.objects.for_tenant(tenant).filter(event_type=ANY, locale=FALLBACK_LOCALE).values_list("channel", flat=True)
        )
        versions = [_version(tenant, channel) for channel in Channel if channel.value not in taken]
        # The template's reference to its version is checked when the transaction ends.
        templates = Template.objects.bulk_create([version.template for version in versions])
        TemplateVersion.objects.bulk_create(versions)
    return templates


def _version(tenant: Tenant, channel: Channel) -> TemplateVersion:
    template = Template(
        tenant=tenant,
        channel=channel,
        event_type=ANY,
        locale=FALLBACK_LOCALE,
        name=_NAME,
        published_version_id=uuid7(),
    )
    titled = channel in _TITLED
    return TemplateVersion(
        id=template.published_version_id,
        tenant=tenant,
        template=template,
        number=1,
        subject=_SUBJECT if titled else "",
        body=_BODY if titled else _BODY_ALONE,
    )
