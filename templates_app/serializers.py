"""The shape of templates and layouts in the API."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from templates_app.models import Template, TemplateVersion
from templates_app.names import EVENT_TYPE_PATTERN, FALLBACK_LOCALE, VARIABLE_PATTERN
from templates_app.selectors import newest_version
from templates_app.validation import LONGEST, MOST_VARIABLES
from tenants.http.queries import Query
from tenants.http.serializers import CamelSerializer, CodedField
from tenants.models import validate_timezone
from tenants.vocabulary import Channel

_NAME: Final = {"type": "string", "pattern": f"^{VARIABLE_PATTERN}$"}
_VARIABLE: Final[dict[str, Any]] = {
    "type": "object",
    "description": "A top-level key of the event's data. One with a default is not required.",
    "properties": {
        "name": _NAME,
        "required": {"type": "boolean", "default": True},
        "default": {"description": "Stands in where the event has no such key, or null."},
        "example": {"description": "Used in previews."},
    },
    "required": ["name"],
    "additionalProperties": False,
}


@extend_schema_field(_VARIABLE)
class VariableField(serializers.JSONField):
    """A declared variable."""


@extend_schema_field({"oneOf": [_NAME, _VARIABLE]})
class NewVariableField(serializers.JSONField):
    """A variable as it is declared: its name, or an object."""


class WordsField(serializers.CharField):
    """A Liquid source."""

    def __init__(self, part: str, **kwargs: Any) -> None:
        limits = {"max_length": LONGEST[part], "trim_whitespace": False, "allow_blank": True, "required": False}
        super().__init__(**limits | kwargs)


class NewWords(CamelSerializer):
    """What a version may say."""

    subject = WordsField("subject", help_text="Liquid. An e-mail needs one; push and in-app show it as the title.")
    body = WordsField("body", help_text="Liquid, for text. Only an e-mail with html can do without.")
    html = WordsField("html", help_text="Liquid, for HTML: what variables hold is escaped. Only for e-mail.")
    variables = serializers.ListField(child=NewVariableField(), required=False, max_length=MOST_VARIABLES)


class TemplateSettings(NewWords):
    name = serializers.CharField(max_length=200, allow_blank=True, required=False)
    layout = serializers.UUIDField(allow_null=True, required=False)


class EventTypeField(serializers.RegexField):
    """An event type's name, or `*`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(rf"^(\*|{EVENT_TYPE_PATTERN})$", trim_whitespace=False, help_text="`*` stands for any.", **kwargs)


class LocaleField(serializers.CharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=35, help_text="BCP 47: en, de-AT, zh-Hant-TW.", **kwargs)


class NewTemplate(TemplateSettings):
    channel = CodedField(Channel)
    event_type = EventTypeField()
    locale = LocaleField(default=FALLBACK_LOCALE)
    draft = serializers.BooleanField(default=False, help_text="Write version 1, but do not publish it.")


class TemplateChanges(TemplateSettings):
    channel = CodedField(Channel, required=False)
    event_type = EventTypeField(required=False)
    locale = LocaleField(required=False)


class VersionSerializer(CamelSerializer):
    number = serializers.IntegerField(min_value=1)
    subject = serializers.CharField()
    body = serializers.CharField()
    html = serializers.CharField()
    variables = serializers.ListField(child=VariableField())
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField(help_text="The API key's prefix or the staff member's name.")


class TemplateSerializer(CamelSerializer):
    """A template with the words of its newest version: the draft, if there is one."""

    id = serializers.UUIDField()
    channel = CodedField(Channel)
    event_type = serializers.CharField()
    locale = serializers.CharField()
    name = serializers.CharField()
    layout = serializers.UUIDField(allow_null=True, source="layout_id")
    subject = serializers.CharField()
    body = serializers.CharField()
    html = serializers.CharField()
    variables = serializers.ListField(child=VariableField())
    version = serializers.IntegerField(allow_null=True, help_text="The number of the live version.")
    draft = serializers.IntegerField(allow_null=True, help_text="The number of a version newer than the live one.")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    def to_representation(self, instance: Template) -> dict[str, Any]:
        newest: TemplateVersion = newest_version(instance)
        live = instance.published_version.number if instance.published_version else None
        place = ("id", "channel", "event_type", "locale", "name", "layout_id", "created_at", "updated_at")
        words = ("subject", "body", "html", "variables")
        shown = {
            **{name: getattr(instance, name) for name in place},
            **{name: getattr(newest, name) for name in words},
            "version": live,
            "draft": newest.number if live is None or newest.number > live else None,
        }
        return dict(super().to_representation(shown))


class TemplateQuery(Query):
    paged = True

    channel = CodedField(Channel, required=False)
    event_type = serializers.CharField(required=False, max_length=200, trim_whitespace=False)
    locale = serializers.CharField(required=False, max_length=35)


class PublishRequest(CamelSerializer):
    version = serializers.IntegerField(
        required=False, min_value=1, max_value=2**31 - 1, help_text="Its number; without one, the newest."
    )


class SampleRecipient(CamelSerializer):
    """Who a preview is for; what is left out is made up."""

    user_id = serializers.CharField(required=False, max_length=255)
    email = serializers.CharField(required=False, max_length=254)
    phone = serializers.CharField(required=False, max_length=20)
    locale = serializers.CharField(
        required=False, max_length=35, help_text="How dates, numbers and money are shown; without one, the template's."
    )
    timezone = serializers.CharField(
        required=False, max_length=64, validators=[validate_timezone], help_text="IANA; without one, the tenant's."
    )
    attributes = serializers.DictField(required=False)


class PreviewRequest(CamelSerializer):
    data = serializers.DictField(  # type: ignore[assignment]  # the serializer's own `data` is of the instance
        required=False, help_text="The event's data; without it, the variables' examples."
    )
    recipient = SampleRecipient(required=False)
    version = serializers.IntegerField(
        required=False, min_value=1, max_value=2**31 - 1, help_text="Its number; without one, the newest."
    )


class PreviewProblem(CamelSerializer):
    field = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()


class PreviewSerializer(CamelSerializer):
    """What would be sent; `errors` says why it cannot be, and then there are no words."""

    version = serializers.IntegerField()
    subject = serializers.CharField()
    body = serializers.CharField()
    html = serializers.CharField()
    errors = PreviewProblem(many=True, source="problems")  # type: ignore[assignment]  # as `data` above


class LayoutChanges(CamelSerializer):
    name = serializers.CharField(max_length=200, required=False)
    html = WordsField("html", help_text="Liquid; `{{ content }}` is where the message goes.")
    text = WordsField("text", help_text="The same for text.")


class NewLayout(LayoutChanges):
    name = serializers.CharField(max_length=200)


class LayoutSerializer(CamelSerializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    html = serializers.CharField()
    text = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
