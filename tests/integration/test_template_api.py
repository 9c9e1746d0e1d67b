"""Templates over HTTP."""

from __future__ import annotations

from uuid import uuid4

import pytest

from templates_app.models import Template, TemplateVersion
from tenants.vocabulary import Channel, Scope
from tests.conftest import client_for, user_client
from tests.factories import TemplateFactory

URL = "/api/admin/templates"
LAYOUTS = "/api/admin/layouts"
MAIL = {
    "channel": "email",
    "eventType": "order.shipped",
    "locale": "de_at",
    "subject": "Order {{ order.id }}",
    "body": "Dear {{ userName }}",
    "html": "<p>Dear {{ userName }}</p>",
    "variables": ["userName", {"name": "order", "example": {"id": 7}}],
}


@pytest.fixture
def mail(api) -> dict:
    answer = api.post(URL, MAIL)
    assert answer.status_code == 201, answer.json()
    return answer.json()


def errors_of(answer) -> set[tuple[str, str]]:
    assert answer.status_code == 400, answer.content
    return {(error["field"], error["code"]) for error in answer.json()["errors"]}


def test_a_new_template_is_live_at_once(api, mail):
    assert mail["version"] == 1
    assert mail["draft"] is None
    assert mail["locale"] == "de-AT"
    assert mail["variables"] == [
        {"name": "userName", "required": True},
        {"name": "order", "required": True, "example": {"id": 7}},
    ]
    assert api.get(f"{URL}/{mail['id']}").json() == mail
    assert set(mail) == {
        *("id", "channel", "eventType", "locale", "name", "layout", "subject", "body", "html", "variables"),
        *("version", "draft", "createdAt", "updatedAt"),
    }


def test_a_draft_is_not_live_until_it_is_published(api):
    draft = api.post(URL, MAIL | {"draft": True}).json()
    assert (draft["version"], draft["draft"]) == (None, 1)
    published = api.post(f"{URL}/{draft['id']}/publish", {}).json()
    assert (published["version"], published["draft"]) == (1, None)


def test_a_change_makes_a_draft_and_publishing_makes_it_live(api, mail):
    url = f"{URL}/{mail['id']}"
    changed = api.patch(url, {"subject": "Your order {{ order.id }}"}).json()
    assert (changed["version"], changed["draft"]) == (1, 2)
    assert changed["subject"] == "Your order {{ order.id }}"
    assert changed["body"] == MAIL["body"]
    published = api.post(f"{url}/publish").json()
    assert (published["version"], published["draft"]) == (2, None)
    assert [version["number"] for version in api.get(f"{url}/versions").json()["results"]] == [2, 1]


def test_the_same_words_make_no_version(api, mail):
    url = f"{URL}/{mail['id']}"
    same = {**MAIL, "body": MAIL["body"].replace("\n", "\r\n")}
    assert api.patch(url, same).json()["draft"] is None
    assert TemplateVersion.objects.filter(template=mail["id"]).count() == 1


def test_publishing_what_is_live_changes_nothing(api, mail):
    again = api.post(f"{URL}/{mail['id']}/publish", {"version": 1})
    assert again.status_code == 200
    assert again.json() == mail


def test_an_older_version_can_be_made_live_again(api, mail):
    url = f"{URL}/{mail['id']}"
    api.patch(url, {"subject": "Other"})
    api.post(f"{url}/publish")
    assert api.post(f"{url}/publish", {"version": 1}).json()["version"] == 1
    assert errors_of(api.post(f"{url}/publish", {"version": 9})) == {("version", "unknown")}


def test_name_and_layout_change_without_a_version(api, mail):
    layout = api.post(LAYOUTS, {"name": "Brand", "html": "<main>{{ content }}</main>"}).json()
    changed = api.patch(f"{URL}/{mail['id']}", {"name": "Shipped", "layout": layout["id"]}).json()
    assert (changed["name"], changed["layout"], changed["draft"]) == ("Shipped", layout["id"], None)
    assert api.patch(f"{URL}/{mail['id']}", {"layout": None}).json()["layout"] is None


def test_a_template_stays_in_its_place(api, mail):
    assert api.patch(f"{URL}/{mail['id']}", {"eventType": "order.shipped", "locale": "de-AT"}).status_code == 200
    for change in ({"eventType": "other"}, {"channel": "sms"}, {"locale": "en"}):
        assert errors_of(api.patch(f"{URL}/{mail['id']}", change)) == {(next(iter(change)), "fixed")}


def test_there_is_one_template_for_each_place(api, mail):
    assert api.post(URL, MAIL | {"locale": "DE-at"}).status_code == 409
    assert api.post(URL, MAIL | {"locale": "de"}).status_code == 201


def test_every_problem_is_named_with_its_line(api):
    answer = api.post(
        URL,
        {
            "channel": "email",
            "eventType": "order.shipped",
            "subject": "{{ nobody }}",
            "body": "one\ntwo\n{{ userNme }}",
            "html": "{{ userName | shout }}",
            "variables": ["userName", {"name": "data"}],
        },
    )
    assert errors_of(answer) == {
        ("subject", "undeclared_variable"),
        ("body", "undeclared_variable"),
        ("html", "unknown_filter"),
        ("variables[1].name", "reserved"),
    }
    messages = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert messages["body"] == "line 3: userNme is not declared; did you mean userName?"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"channel": "fax"}, "channel"),
        ({"channel": None}, "channel"),
        ({"eventType": "order shipped"}, "eventType"),
        ({"eventType": "order.shipped\n"}, "eventType"),
        ({"eventType": "x" * 201}, "eventType"),
        ({"locale": "klingon!"}, "locale"),
        ({"subject": "x" * 1001}, "subject"),
        ({"subject": "x\u0000"}, "subject"),
        ({"layout": str(uuid4())}, "layout"),
        ({"layout": "nonsense"}, "layout"),
        ({"variables": "userName"}, "variables"),
        ({"variables": [7]}, "variables[0]"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_is_named(api, change, field):
    answer = api.post(URL, MAIL | change)
    assert field in {name for name, _ in errors_of(answer)}


def test_the_list_is_filtered_and_costs_three_statements(api, tenant, django_assert_num_queries):
    for number in range(5):
        TemplateFactory(tenant=tenant, event_type=f"type.{number}")
    TemplateFactory(tenant=tenant, event_type="type.1", locale="de-AT", channel=Channel.SMS)
    api.get(URL)  # records the key's use
    with django_assert_num_queries(3):  # the key, the page, its newest versions
        assert len(api.get(URL).json()["results"]) == 6
    for query, count in (
        ("channel=sms", 1),
        ("eventType=type.1", 2),
        ("eventType=none", 0),
        ("locale=de_at", 1),
        ("channel=in_app&eventType=type.1&locale=en", 1),
    ):
        assert len(api.get(f"{URL}?{query}").json()["results"]) == count


@pytest.mark.parametrize(
    "query", ["channel=fax", "eventType=%00", "locale=%00", "locale=x!", "channel=sms&channel=push", "x=1"]
)
def test_a_wrong_filter_is_refused(api, query):
    assert api.get(f"{URL}?{query}").status_code == 400


@pytest.mark.parametrize("identifier", ["nonsense", "%00", "6f9a1c1e-9d0b-4c43-8d1f-0d2a3b7c5e10", "1", "é"])
def test_an_unknown_id_is_not_found(api, identifier):
    for answer in (
        api.get(f"{URL}/{identifier}"),
        api.patch(f"{URL}/{identifier}", {}),
        api.delete(f"{URL}/{identifier}"),
        api.get(f"{URL}/{identifier}/versions"),
        api.post(f"{URL}/{identifier}/publish", {}),
        api.post(f"{URL}/{identifier}/preview", {}),
        api.get(f"{LAYOUTS}/{identifier}"),
        api.patch(f"{LAYOUTS}/{identifier}", {}),
        api.delete(f"{LAYOUTS}/{identifier}"),
    ):
        assert answer.status_code == 404
        assert answer["Content-Type"] == "application/problem+json"


def test_a_stranger_sees_and_changes_nothing(api, mail, stranger_api):
    layout = api.post(LAYOUTS, {"name": "Brand", "text": "{{ content }}"}).json()
    url = f"{URL}/{mail['id']}"
    assert stranger_api.get(URL).json()["results"] == []
    assert stranger_api.get(LAYOUTS).json()["results"] == []
    for answer in (
        stranger_api.get(url),
        stranger_api.patch(url, {"subject": "Mine"}),
        stranger_api.delete(url),
        stranger_api.get(f"{url}/versions"),
        stranger_api.post(f"{url}/publish", {"version": 1}),
        stranger_api.post(f"{url}/preview", {}),
        stranger_api.get(f"{LAYOUTS}/{layout['id']}"),
        stranger_api.patch(f"{LAYOUTS}/{layout['id']}", {"name": "Mine"}),
        stranger_api.delete(f"{LAYOUTS}/{layout['id']}"),
    ):
        assert answer.status_code == 404
    assert errors_of(stranger_api.post(URL, MAIL | {"layout": layout["id"]})) == {("layout", "unknown")}
    assert stranger_api.post(URL, MAIL).status_code == 201
    assert api.get(url).json() == mail


def test_a_scope_is_needed(tenant, mail):
    reader = client_for(tenant, Scope.DELIVERIES_READ)
    assert reader.get(URL).status_code == 403
    assert reader.delete(f"{URL}/{mail['id']}").status_code == 403
    assert user_client(tenant, "user_1").get(URL).status_code == 403
    assert client_for(tenant, Scope.TEMPLATES_WRITE).get(URL).status_code == 200


def test_a_deleted_template_is_gone_with_its_versions(api, mail):
    api.patch(f"{URL}/{mail['id']}", {"subject": "Other"})
    assert api.delete(f"{URL}/{mail['id']}").status_code == 204
    assert not TemplateVersion.objects.exists()
    assert not Template.objects.exists()


def test_a_preview_shows_the_newest_version_with_the_examples(api, mail):
    url = f"{URL}/{mail['id']}"
    api.patch(url, {"subject": "Draft {{ order.id }}"})
    shown = api.post(f"{url}/preview", {}).json()
    assert shown == {
        "version": 2,
        "subject": "Draft 7",
        "body": "Dear [userName]",
        "html": "<p>Dear [userName]</p>",
        "errors": [],
    }
    assert api.post(f"{url}/preview", {"version": 1}).json()["subject"] == "Order 7"
    assert errors_of(api.post(f"{url}/preview", {"version": 3})) == {("version", "unknown")}


def test_a_preview_with_data_names_what_is_missing(api, mail):
    url = f"{URL}/{mail['id']}/preview"
    shown = api.post(url, {"data": {"userName": "O'Brien <b>", "order": {"id": 1}}}).json()
    assert (shown["body"], shown["html"]) == ("Dear O'Brien <b>", "<p>Dear O&#39;Brien &lt;b&gt;</p>")
    failed = api.post(url, {"data": {"userName": "Ada", "order": {}}}).json()
    assert failed["subject"] == failed["body"] == failed["html"] == ""
    assert failed["errors"] == [
        {"field": "subject", "code": "missing_variable", "message": "subject, line 1: order.id is missing"}
    ]


def test_a_preview_takes_a_recipient(api):
    template = api.post(
        URL,
        {
            "channel": "sms",
            "eventType": "*",
            "body": "{{ recipient.userId }} {{ recipient.attributes.plan }} {{ event.type }} {{ tenant.slug }}",
        },
    ).json()
    url = f"{URL}/{template['id']}/preview"
    shown = api.post(url, {"recipient": {"userId": "u7", "attributes": {"plan": "pro"}}}).json()
    assert shown["body"] == "u7 pro order.shipped acme"
    assert errors_of(api.post(url, {"recipient": {"name": "x"}})) == {("recipient.name", "unknown")}


def test_a_preview_is_in_the_recipients_locale_and_time_zone(api, tenant):
    tenant.timezone = "Europe/Vienna"
    tenant.save()
    body = "{{ data.total | money: 'EUR' }} {{ data.at | datetime: 'short' }} {{ recipient.timezone }}"
    template = api.post(URL, {"channel": "sms", "eventType": "*", "locale": "de-AT", "body": body}).json()
    url, data = f"{URL}/{template['id']}/preview", {"total": 1234.5, "at": "2026-03-01T23:30:05Z"}
    shown = api.post(url, {"data": data}).json()
    assert shown["body"] == "€ 1.234,50 02.03.26, 00:30 Europe/Vienna"
    recipient = {"locale": "en-US", "timezone": "America/New_York"}
    shown = api.post(url, {"data": data, "recipient": recipient}).json()
    assert shown["body"] == "€1,234.50 3/1/26, 6:30 PM America/New_York"
    assert errors_of(api.post(url, {"recipient": {"timezone": "Mars/A"}})) == {("recipient.timezone", "timezone")}
    failed = api.post(url, {"data": data | {"total": "a lot"}}).json()
    assert failed["errors"] == [
        {"field": "body", "code": "render_error", "message": "body, line 1: money: the value is text that is no number"}
    ]


def test_a_wrong_argument_of_a_filter_is_refused(api):
    refused = api.post(URL, {"channel": "sms", "eventType": "*", "body": "Hi\n{{ data.total | money: 'EURO' }}"})
    assert errors_of(refused) == {("body", "invalid_argument")}
    (error,) = refused.json()["errors"]
    assert error["message"] == "line 2: money: the currency must be an ISO 4217 code like EUR, but is EURO"


def test_layouts_are_written_read_changed_and_deleted(api):
    layout = api.post(LAYOUTS, {"name": "Brand", "html": "<main>{{ content }}</main>"}).json()
    url = f"{LAYOUTS}/{layout['id']}"
    assert api.get(url).json() == layout
    changed = api.patch(url, {"text": "{{ content }}\n-- {{ tenant.name }}"}).json()
    assert changed["html"] == layout["html"]
    assert api.get(LAYOUTS).json()["results"] == [changed]
    assert api.post(LAYOUTS, {"name": "Brand", "text": "{{ content }}"}).status_code == 409
    assert api.delete(url).status_code == 204
    assert api.get(url).status_code == 404


def test_a_layout_in_use_stays(api):
    layout = api.post(LAYOUTS, {"name": "Brand", "text": "{{ content }}"}).json()
    template = api.post(URL, MAIL | {"layout": layout["id"]}).json()
    assert api.delete(f"{LAYOUTS}/{layout['id']}").status_code == 409
    api.delete(f"{URL}/{template['id']}")
    assert api.delete(f"{LAYOUTS}/{layout['id']}").status_code == 204


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, ("name", "required")),
        ({"name": "x"}, ("html", "required")),
        ({"name": "x", "html": "<b></b>"}, ("html", "missing_content")),
        ({"name": "x", "text": "{{ content }} {{ userName }}"}, ("text", "undeclared_variable")),
        ({"name": "x", "text": "{{ content"}, ("text", "syntax")),
    ],
)
def test_a_layout_is_checked(api, body, error):
    assert error in errors_of(api.post(LAYOUTS, body))
