"""Templates in the admin: the form, its errors, the preview, the versions."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse

from templates_app.models import Layout, Template, TemplateVersion
from templates_app.services import create_layout, create_template, publish, update_template
from templates_app.validation import Content
from tenants.vocabulary import Channel
from tests.factories import TemplateFactory

LIST = "/admin/templates_app/template/"
LAYOUTS = "/admin/templates_app/layout/"


@pytest.fixture
def admin_client(client, django_user_model):
    client.force_login(django_user_model.objects.create(username="admin", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def template(tenant) -> Template:
    words = Content(
        subject="Order {{ order.id }}",
        body="Dear {{ userName }}",
        html="<p>{{ userName }}</p>",
        variables=["userName", {"name": "order", "example": {"id": 7}}],
    )
    return create_template(tenant=tenant, channel=Channel.EMAIL, event_type="order.shipped", content=words, created_by="ada")


@pytest.fixture
def form(template) -> dict[str, str]:
    """What the browser posts for the template as it is."""
    return {
        "name": "",
        "layout": "",
        "subject": "Order {{ order.id }}",
        "body": "Dear {{ userName }}",
        "html": "<p>{{ userName }}</p>",
        "variables": '["userName", {"name": "order", "example": {"id": 7}}]',
        "versions-TOTAL_FORMS": "0",
        "versions-INITIAL_FORMS": "0",
    }


def change_url(template: Template) -> str:
    return f"{LIST}{template.pk}/change/"


def errors_of(answer) -> dict[str, list[str]]:
    assert answer.status_code == 200
    return dict(answer.context["adminform"].form.errors)


def test_a_template_is_written_and_published(admin_client, tenant):
    layout = create_layout(tenant=tenant, name="Brand", text="{{ content }}")
    values = {"tenant": tenant.pk, "channel": 2, "event_type": "order.shipped", "locale": "de_at", "layout": layout.pk}
    words = {"subject": "", "body": "Hallo {{ userName }}\r\n", "html": "", "variables": '["userName"]', "name": "Neu"}
    answer = admin_client.post(f"{LIST}add/", values | words | {"publish_at_once": "on"})
    assert answer.status_code == 302, errors_of(answer)
    written = Template.objects.get()
    assert (written.locale, written.layout, written.name) == ("de-AT", layout, "Neu")
    assert written.published_version.body == "Hallo {{ userName }}\n"
    assert written.published_version.variables == [{"name": "userName", "required": True}]
    assert written.published_version.created_by == "admin"


def test_a_template_may_begin_as_a_draft(admin_client, tenant):
    values = {"tenant": tenant.pk, "channel": 2, "event_type": "*", "locale": "en", "body": "Hi", "variables": "[]"}
    assert admin_client.post(f"{LIST}add/", values).status_code == 302
    assert Template.objects.get().published_version is None


def test_saving_makes_a_draft_and_the_same_words_make_none(admin_client, template, form):
    admin_client.post(change_url(template), form | {"name": "Shipped"})
    template.refresh_from_db()
    assert (template.name, template.versions.count()) == ("Shipped", 1)
    admin_client.post(change_url(template), form | {"body": "Hi {{ userName }}"})
    template.refresh_from_db()
    assert template.published_version.number == 1
    assert template.versions.get(number=2).body == "Hi {{ userName }}"
    shown = admin_client.get(change_url(template)).content.decode()
    assert "Hi {{ userName }}" in shown


def test_saving_and_publishing(admin_client, template, form):
    button = {"templates_app_template_save_and_publish": ""}
    admin_client.post(change_url(template), form | {"subject": "Now"} | button)
    template.refresh_from_db()
    assert template.published_version.subject == "Now"


def test_publishing_another_version(admin_client, template):
    update_template(template=template, changes={"subject": "Two"})
    publish(template=template)
    url = reverse("admin:templates_app_template_publish", args=[template.pk])
    assert "Version 2" in admin_client.get(url).content.decode()
    admin_client.post(url, {"version": "1", "_form_submitted": "True"})
    template.refresh_from_db()
    assert template.published_version.number == 1
    admin_client.post(url, {"version": "7", "_form_submitted": "True"})
    template.refresh_from_db()
    assert template.published_version.number == 1


def test_the_place_cannot_be_changed(admin_client, template, form, stranger):
    moved = {"tenant": stranger.pk, "channel": 2, "event_type": "other", "locale": "fr"}
    admin_client.post(change_url(template), form | moved)
    template.refresh_from_db()
    assert (template.tenant.slug, template.channel, template.event_type, template.locale) == (
        "acme",
        Channel.EMAIL,
        "order.shipped",
        "en",
    )


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"body": "a\r\n{{ userNme }}"}, "body", "line 2: userNme is not declared; did you mean userName?"),
        ({"html": "\n\n{{ userName | shout }}"}, "html", "line 3: there is no filter 'shout'"),
        ({"subject": "{% if %}"}, "subject", "line 1"),
        ({"subject": ""}, "subject", "An e-mail needs a subject."),
        ({"variables": "["}, "variables", "valid JSON"),
        ({"variables": '["userName", "order", "a b"]'}, "variables", "variables[2].name: Must be a name"),
        ({"variables": '["userName", {"name": "order", "example": "\\u0000"}]'}, "variables", "cannot be stored"),
        ({"variables": '["userName", {"name": "order", "example": "\\ud800"}]'}, "variables", "cannot be stored"),
        ({"body": "x" * 64_001}, "body", "at most 64000"),
    ],
)
def test_a_problem_is_shown_at_its_field(admin_client, template, form, change, field, message):
    errors = errors_of(admin_client.post(change_url(template), form | change))
    assert list(errors) == [field]
    assert message in errors[field][0]
    assert TemplateVersion.objects.count() == 1


def test_a_place_that_is_taken_or_no_place(admin_client, template, tenant, stranger):
    values = {"tenant": tenant.pk, "channel": 1, "event_type": "order.shipped", "locale": "EN", "subject": "S", "body": "B"}
    errors = errors_of(admin_client.post(f"{LIST}add/", values | {"variables": "[]"}))
    assert errors == {"__all__": ["There is a template for this channel, event type and locale already."]}
    wrong = {"event_type": "a b", "locale": "!", "layout": create_layout(tenant=stranger, name="B", text="{{ content }}").pk}
    errors = errors_of(admin_client.post(f"{LIST}add/", values | wrong | {"variables": "[]"}))
    assert set(errors) == {"event_type", "locale", "layout"}
    assert Template.objects.count() == 1


def test_the_versions_show_who_changed_what(admin_client, template, django_assert_max_num_queries):
    update_template(template=template, changes={"body": "Dear <b> {{ userName }}"}, created_by="grace")
    with django_assert_max_num_queries(14):
        page = admin_client.get(change_url(template)).content.decode()
    assert '<span class="diff-gone">-Dear {{ userName }}</span>' in page
    assert '<span class="diff-new">+Dear &lt;b&gt; {{ userName }}</span>' in page
    assert "grace" in page
    assert "is-live" in page
    assert "is-draft" in page


def test_the_list_is_filtered(admin_client, tenant, stranger):
    TemplateFactory(tenant=tenant, event_type="live.one", channel=Channel.SMS)
    drafted = TemplateFactory(tenant=tenant, event_type="with.draft", version__subject="")
    update_template(template=drafted, changes={"body": "Other {{ userName }}"})
    create_template(
        tenant=stranger, channel=Channel.SMS, event_type="never.live", locale="de", content=Content(body="B"), draft=True
    )

    def shown(query: str) -> set[str]:
        return {row.event_type for row in admin_client.get(f"{LIST}?{query}").context["cl"].result_list}

    assert shown("") == {"live.one", "with.draft", "never.live"}
    assert shown("state=live") == {"live.one", "with.draft"}
    assert shown("state=draft") == {"with.draft", "never.live"}
    assert shown("state=never") == {"never.live"}
    assert shown(f"tenant__id__exact={tenant.pk}") == {"live.one", "with.draft"}
    assert shown(f"channel__exact={Channel.SMS.value}") == {"live.one", "never.live"}
    assert shown("locale__icontains=de") == {"never.live"}
    assert shown("event_type__icontains=draft") == {"with.draft"}
    assert shown("q=live") == {"live.one"}


def test_the_list_asks_as_much_for_many_as_for_few(admin_client, tenant, django_assert_num_queries):
    TemplateFactory(tenant=tenant, event_type="a")
    with django_assert_num_queries(6) as few:
        admin_client.get(LIST)
    for number in range(20):
        TemplateFactory(tenant=tenant, event_type=f"b.{number}")
    with django_assert_num_queries(len(few)):
        admin_client.get(LIST)


def preview(client, form, of=None, where=LIST) -> dict:
    answer = client.post(f"{where}preview/" + (f"?of={of.pk}" if of else ""), form)
    assert answer.status_code == 200
    return answer.json()


def test_the_preview_shows_the_words_as_they_stand_with_the_examples(admin_client, template, form):
    shown = preview(admin_client, form | {"body": "Hi {{ userName }}, {{ order.id }}"}, of=template)
    assert (shown["subject"], shown["body"]) == ("Order 7", "Hi [userName], 7")
    assert (shown["html"], shown["problems"]) == ("<p>[userName]</p>", [])
    assert shown["examples"] == {"userName": "[userName]", "order": {"id": 7}}
    assert TemplateVersion.objects.count() == 1


def test_the_preview_takes_sample_data(admin_client, template, form):
    sample = json.dumps({"userName": "<script>alert(1)</script>", "order": {"id": 1}})
    shown = preview(admin_client, form | {"sample_data": sample}, of=template)
    assert shown["html"] == "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"
    shown = preview(admin_client, form | {"sample_data": '{"userName": "Ada"}'}, of=template)
    assert shown["problems"] == [{"field": "subject", "message": "subject, line 1: order.id is missing", "line": 1}]


def test_the_preview_is_in_the_sample_recipients_locale_and_time_zone(admin_client, template, form):
    form |= {"body": "{{ 1234.5 | money: 'EUR' }} {{ 0 | datetime: 'short' }}"}
    assert preview(admin_client, form, of=template)["body"] == "€1,234.50 1/1/70, 12:00\u202fAM"
    recipient = {"sample_locale": "de-AT", "sample_timezone": "Europe/Vienna"}
    assert preview(admin_client, form | recipient, of=template)["body"] == "€\u00a01.234,50 01.01.70, 01:00"


def test_the_page_asks_for_the_sample_recipient(admin_client, template):
    page = admin_client.get(f"{LIST}{template.pk}/change/").content.decode()
    assert 'name="sample_locale"' in page
    assert 'name="sample_timezone"' in page


def test_the_preview_puts_the_words_into_the_layout(admin_client, tenant, template, form):
    layout = create_layout(tenant=tenant, name="Brand", html="<main>{{ content }}</main>")
    shown = preview(admin_client, form | {"layout": str(layout.pk)}, of=template)
    assert shown["html"] == "<main><p>[userName]</p></main>"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"body": "\n{{ nobody }}"}, "body"),
        ({"variables": "["}, "variables"),
        ({"sample_data": "{"}, "sample data"),
        ({"sample_data": "[]"}, "sample data"),
        ({"sample_locale": "not a locale"}, "sample locale"),
        ({"sample_timezone": "Mars/A"}, "sample timezone"),
        ({"html": "{% if %}"}, "html"),
    ],
)
def test_the_preview_says_what_is_wrong(admin_client, template, form, change, field):
    shown = preview(admin_client, form | change, of=template)
    assert [problem["field"] for problem in shown["problems"]] == [field]
    assert shown["body"] == ""


def test_a_template_is_previewed_before_it_is_saved(admin_client, tenant, stranger):
    values = {
        "tenant": str(tenant.pk),
        "channel": "2",
        "event_type": "",
        "locale": "",
        "body": "{{ tenant.slug }} {{ event.type }}",
    }
    assert preview(admin_client, values)["body"] == "acme order.shipped"
    foreign = create_layout(tenant=stranger, name="B", text="foreign {{ content }}")
    assert preview(admin_client, values | {"layout": str(foreign.pk)})["body"] == "acme order.shipped"
    for incomplete in ({}, {"tenant": "x"}, {"tenant": "9" * 40}, {"channel": "²"}, {"channel": "9", "tenant": str(tenant.pk)}):
        assert preview(admin_client, incomplete)["body"] == ""


def test_a_preview_is_for_staff_who_may_see_templates(client, django_user_model, template, form):
    url = f"{LIST}preview/"
    assert client.post(url, form).status_code == 302
    client.force_login(django_user_model.objects.create_user("intern", is_staff=True))
    assert client.post(url, form).status_code == 403


def test_a_preview_is_asked_for_by_post(admin_client):
    assert admin_client.get(f"{LIST}preview/").status_code == 405


def test_a_layout_is_written_previewed_and_changed(admin_client, tenant):
    values = {"tenant": tenant.pk, "name": "Brand", "html": "<main>{{ content }}</main>\r\n", "text": ""}
    shown = preview(admin_client, {key: str(value) for key, value in values.items()}, where=LAYOUTS)
    assert shown["html"].startswith("<main><h1>Good news</h1>")
    assert admin_client.post(f"{LAYOUTS}add/", values).status_code == 302
    layout = Layout.objects.get()
    assert layout.html == "<main>{{ content }}</main>\n"
    url = f"{LAYOUTS}{layout.pk}/change/"
    assert admin_client.post(url, values | {"text": "{{ content }}!"}).status_code == 302
    layout.refresh_from_db()
    assert layout.text == "{{ content }}!"
    errors = errors_of(admin_client.post(url, values | {"html": "<main>\n{{ contents }}</main>"}))
    assert errors["html"][-1] == "line 2: contents is not declared; did you mean content?"
    assert preview(admin_client, {"html": "<b>", "text": ""}, of=layout, where=LAYOUTS)["problems"]


def test_a_template_and_its_layout_are_deleted_in_order(admin_client, tenant, template):
    layout = create_layout(tenant=tenant, name="Brand", text="{{ content }}")
    update_template(template=template, changes={"layout": layout})
    admin_client.post(f"{LAYOUTS}{layout.pk}/delete/", {"post": "yes"})
    assert Layout.objects.exists()
    admin_client.post(f"{LIST}{template.pk}/delete/", {"post": "yes"})
    assert not Template.objects.exists()
    admin_client.post(f"{LAYOUTS}{layout.pk}/delete/", {"post": "yes"})
    assert not Layout.objects.exists()
