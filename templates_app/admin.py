"""Templates and layouts in the admin: written beside a live preview, published by a button, never changed once sent."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import F, Max, Q, QuerySet, Window
from django.db.models.functions import Lag
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, FieldTextFilter, RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget

from templates_app import services
from templates_app.admin_previews import layout_preview, template_preview
from templates_app.differences import PARTS, differences
from templates_app.forms import WORDS, LayoutForm, TemplateForm
from templates_app.models import Layout, Template, TemplateVersion
from templates_app.selectors import version_numbers
from tenants.read_only import ReadOnlyInline
from tenants.vocabulary import Channel

_CSS = {"all": ("templates_app/editor.css",)}
_JS = ("templates_app/editor.js",)


class StateFilter(DropdownFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("live", "Live"), ("draft", "Has a draft"), ("never", "Never published")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Template]) -> QuerySet[Template]:
        conditions = {
            "live": Q(published_version__isnull=False),
            "draft": Q(published_version=None) | Q(newest_number__gt=F("published_version__number")),
            "never": Q(published_version=None),
        }
        return queryset.filter(conditions.get(self.value() or "", Q()))


class VersionInline(ReadOnlyInline, TabularInline):
    """Who wrote what, when: each version beside what it changed."""

    model = TemplateVersion
    fields = readonly_fields = ("state", "created_at", "created_by", "changes")
    ordering = ("-number",)
    extra = 0
    can_delete = False
    hide_title = True
    per_page = 10
    verbose_name_plural = "Versions"

    def get_queryset(self, request: HttpRequest) -> QuerySet[TemplateVersion]:
        before = {
            f"before_{part}": Window(Lag(part), partition_by=F("template_id"), order_by=F("number").asc()) for part in PARTS
        }
        queryset: QuerySet[TemplateVersion] = super().get_queryset(request)
        return queryset.select_related("template__published_version").annotate(**before)

    @display(description="Version")
    def state(self, version: TemplateVersion) -> SafeString | str:
        live = version.template.published_version
        if live and live.pk == version.pk:
            state = "live"
        elif live is None or version.number > live.number:
            state = "draft"
        else:
            return str(version.number)
        return format_html('{} <span class="template-state is-{}">{}</span>', version.number, state, state)

    @display(description="Changes")
    def changes(self, version: Any) -> SafeString | str:
        if version.before_subject is None:
            return "The first version"
        before = {part: getattr(version, f"before_{part}") for part in PARTS}
        after = {part: getattr(version, part) for part in PARTS}
        lines = format_html_join("", '<span class="diff-{}">{}</span>', differences(before, after))
        return format_html('<div class="template-diff">{}</div>', lines)


class PublishForm(BaseDialogForm):
    version = forms.TypedChoiceField(coerce=int, widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        numbers = version_numbers(str(self.object_id))
        self.fields["version"].choices = [(number, f"Version {number}") for number in numbers]


class Previewed(ModelAdmin):
    """A form with a preview beside it, asked for at `preview/` as the words are typed."""

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_preview"
        view = self.admin_site.admin_view(self.preview_view)
        return [path("preview/", view, name=name), *super().get_urls()]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        url = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_preview")
        context = {"preview_url": f"{url}?of={object_id}" if object_id else url, **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, context)

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """What the posted form would say, as JSON: `{subject, body, html, problems: [{field, message, line}]}`."""
        if not (self.has_view_permission(request) or self.has_add_permission(request)):
            return HttpResponse(status=403)
        if request.method != "POST":
            return HttpResponse(status=405)
        key = request.GET.get("of", "")
        return JsonResponse(self.preview_of(self.get_object(request, key) if key else None, request))

    def preview_of(self, instance: Any, request: HttpRequest) -> dict[str, Any]:
        raise NotImplementedError


@admin.register(Template)
class TemplateAdmin(Previewed):
    form = TemplateForm
    list_display = ("event_type", "channel_label", "locale", "name", "live", "draft", "tenant", "updated_at")
    list_display_links = ("event_type",)
    list_filter = (
        ("tenant", RelatedDropdownFilter),
        ("channel", ChoicesDropdownFilter),
        ("event_type", FieldTextFilter),
        ("locale", FieldTextFilter),
        StateFilter,
    )
    list_filter_submit = True
    list_select_related = ("tenant", "published_version")
    list_per_page = 50
    ordering = ("-updated_at",)
    search_fields = ("event_type__istartswith", "name__icontains")
    search_help_text = "How an event type begins, or part of a name"
    inlines = (VersionInline,)
    actions_detail: ClassVar = ["publish"]
    actions_submit_line: ClassVar = ["save_and_publish"]
    conditional_fields: ClassVar = {"html": f"channel == {Channel.EMAIL.value}"}
    warn_unsaved_form = True

    class Media:
        css = _CSS
        js = _JS

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        place = (("tenant", "channel"), ("event_type", "locale"), ("name", "layout"))
        words = WORDS if obj else (*WORDS, "publish_at_once")
        return ((None, {"fields": place}), ("Words", {"fields": words}))

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.inlines if obj else ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Template]:
        queryset: QuerySet[Template] = super().get_queryset(request)
        unread = [f"published_version__{part}" for part in PARTS]
        return queryset.annotate(newest_number=Max("versions__number")).defer(*unread)

    @display(description="Channel", ordering="channel", label=True)
    def channel_label(self, template: Template) -> str:
        return str(Channel(template.channel).label)

    @display(description="Live", label={"live": "success"})
    def live(self, template: Template) -> tuple[str, str] | None:
        version = template.published_version
        return ("live", f"version {version.number}") if version else None

    @display(description="Draft", label={"draft": "warning"})
    def draft(self, template: Any) -> tuple[str, str] | None:
        version = template.published_version
        is_newer = version is None or template.newest_number > version.number
        return ("draft", f"version {template.newest_number}") if is_newer else None

    def save_model(self, request: HttpRequest, obj: Template, form: TemplateForm, change: bool) -> None:
        author = request.user.get_username()
        content = form.content
        if not change:
            saved = services.create_template(
                tenant=obj.tenant,
                channel=Channel(obj.channel),
                event_type=obj.event_type,
                locale=obj.locale,
                name=obj.name,
                layout=obj.layout,
                content=content,
                draft=not form.cleaned_data["publish_at_once"],
                created_by=author,
            )
            obj.pk = saved.pk
            obj._state.adding = False
            return
        changes = {"name": obj.name, "layout": obj.layout, **{name: getattr(content, name) for name in WORDS}}
        services.update_template(template=obj, changes=changes, created_by=author)
        if "templates_app_template_save_and_publish" in request.POST:
            self.save_and_publish(request, obj)

    @action(description="Save and publish", permissions=["change"])
    def save_and_publish(self, request: HttpRequest, obj: Template) -> None:
        saved = services.publish(template=obj)
        assert saved.published_version is not None
        messages.success(request, f"Version {saved.published_version.number} is live.")

    @action(
        description="Publish…",
        icon="publish",
        permissions=["change"],
        url_path="publish",
        variant=ActionVariant.PRIMARY,
        dialog={
            "title": "Publish a version",
            "description": "It is used from the very next message on.",
            "form_class": PublishForm,
            "form_submit_text": "Publish",
        },
    )
    def publish(self, request: HttpRequest, form: PublishForm, object_id: str) -> HttpResponse:
        template = self.get_object(request, object_id)
        if template is not None:
            number = form.cleaned_data["version"]
            services.publish(template=template, number=number)
            messages.success(request, f"Version {number} is live.")
        return redirect(reverse("admin:templates_app_template_change", args=[object_id]))

    def preview_of(self, instance: Template | None, request: HttpRequest) -> dict[str, Any]:
        return template_preview(instance, request.POST)


@admin.register(Layout)
class LayoutAdmin(Previewed):
    form = LayoutForm
    list_display = ("name", "tenant", "updated_at")
    list_filter = (("tenant", RelatedDropdownFilter),)
    list_filter_submit = True
    list_select_related = ("tenant",)
    search_fields = ("name__icontains",)
    fieldsets = ((None, {"fields": (("tenant", "name"), "html", "text")}),)
    warn_unsaved_form = True

    class Media:
        css = _CSS
        js = _JS

    def save_model(self, request: HttpRequest, obj: Layout, form: LayoutForm, change: bool) -> None:
        values = {name: form.cleaned_data[name] for name in ("name", "html", "text")}
        if change:
            services.update_layout(layout=obj, changes=values)
            return
        obj.pk = services.create_layout(tenant=obj.tenant, **values).pk
        obj._state.adding = False

    def preview_of(self, instance: Layout | None, request: HttpRequest) -> dict[str, Any]:
        return layout_preview(instance, request.POST)
