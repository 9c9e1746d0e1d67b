"""What may be saved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from templates_app.catch_all import _BODY, _BODY_ALONE, _SUBJECT
from templates_app.liquid import TEXT, SourceError, parse
from templates_app.names import clean_event_type, clean_locale
from templates_app.validation import LONGEST, Content, check_content, check_layout, normalise_variables
from tenants.vocabulary import Channel


def problems(channel: Channel = Channel.IN_APP, **content) -> set[tuple[str, str, int | None]]:
    return {(each.field, each.code, each.line) for each in check_content(channel, Content(**content))}


@pytest.mark.parametrize(
    ("channel", "content", "expected"),
    [
        (Channel.EMAIL, {"subject": "S", "body": "B"}, set()),
        (Channel.EMAIL, {"subject": "S", "html": "<p>"}, set()),
        (Channel.EMAIL, {"subject": "S", "html": "<p>", "body": "B"}, set()),
        (Channel.EMAIL, {"subject": "S"}, {("body", "required", None)}),
        (Channel.EMAIL, {"body": "B"}, {("subject", "required", None)}),
        (Channel.EMAIL, {"subject": " ", "body": "\n"}, {("subject", "required", None), ("body", "required", None)}),
        *[(channel, {"body": "B"}, set()) for channel in Channel if channel is not Channel.EMAIL],
        *[(channel, {"subject": "T", "body": "B"}, set()) for channel in (Channel.PUSH, Channel.IN_APP)],
        *[(channel, {"subject": "T"}, {("body", "required", None)}) for channel in Channel if channel is not Channel.EMAIL],
        *[
            (channel, {"body": "B", "html": "<p>"}, {("html", "not_allowed", None)})
            for channel in Channel
            if channel is not Channel.EMAIL
        ],
    ],
)
def test_what_a_channel_needs(channel, content, expected):
    assert problems(channel, **content) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{{ userName }}", set()),
        ("{{ order.id }}{{ order.lines[0].sku }}", set()),
        ("{{ data.anything.at.all }}{{ data['odd key'] }}", set()),
        ("{{ recipient.email }}{{ recipient.attributes.plan }}{{ event.metadata.x }}{{ tenant.name }}", set()),
        ("{% assign x = 1 %}{{ x }}{% for l in order.lines %}{{ l.sku }}{{ forloop.index }}{% endfor %}", set()),
        ("{% capture x %}{% endcapture %}{{ x }}{% increment n %}{{ n }}", set()),
        ("\n{{ username }}", {("body", "undeclared_variable", 2)}),
        ("{{ a }}\n{{ b | default: c }}", {("body", "undeclared_variable", 1), ("body", "undeclared_variable", 2)}),
        ("{% if\n a %}{% endif %}", {("body", "undeclared_variable", 2)}),
        ("{% for x in a limit: b %}{% endfor %}\n{{ x }}", {("body", "undeclared_variable", n) for n in (1, 2)}),
        ("{{ x }}{% assign x = 1 %}", {("body", "undeclared_variable", 1)}),
        ("{{ order[key] }}", {("body", "undeclared_variable", 1)}),
        ("{{ [userName] }}", {("body", "undeclared_variable", 1)}),
        ("{{ recipient.nmae }}", {("body", "undeclared_variable", 1)}),
        ("{{ now }}{{ content }}", {("body", "undeclared_variable", 1)}),
        ("{{ userName }", {("body", "syntax", 1)}),
        ("x" * (LONGEST["body"] + 1), {("body", "too_long", None)}),
    ],
)
def test_variables_must_be_declared(body, expected):
    assert problems(body=body, variables=["userName", {"name": "order"}]) == expected


def test_each_field_has_its_own_problems():
    assert problems(Channel.EMAIL, subject="{{ a }}", body="\n{% b %}", html="\n\n{{ 'x' | c }}") == {
        ("subject", "undeclared_variable", 1),
        ("body", "unknown_tag", 2),
        ("html", "unknown_filter", 3),
    }


@pytest.mark.parametrize(
    ("declared", "field", "code"),
    [
        ("userName", "variables", "type"),
        ([7], "variables[0]", "type"),
        ([{}], "variables[0].name", "invalid"),
        (["a", "user name"], "variables[1].name", "invalid"),
        (["order.id"], "variables[0].name", "invalid"),
        (["a\n"], "variables[0].name", "invalid"),
        (["a", "a"], "variables[1].name", "duplicate"),
        (["recipient"], "variables[0].name", "reserved"),
        (["event"], "variables[0].name", "reserved"),
        (["data"], "variables[0].name", "reserved"),
        (["tenant"], "variables[0].name", "reserved"),
        (["forloop"], "variables[0].name", "reserved"),
        ([{"name": "a", "required": "yes"}], "variables[0].required", "type"),
        ([{"name": "a", "kind": "text"}], "variables[0].kind", "unknown"),
        (["a"] * 101, "variables", "too_long"),
    ],
)
def test_declarations_are_checked(declared, field, code):
    _, found = normalise_variables(declared)
    assert (found[0].field, found[0].code) == (field, code)


def test_declarations_are_stored_as_objects():
    variables, found = normalise_variables(
        ["a", {"name": "b", "required": False}, {"name": "c", "default": 0}, {"name": "d", "example": "x", "default": None}]
    )
    assert found == []
    assert variables == [
        {"name": "a", "required": True},
        {"name": "b", "required": False},
        {"name": "c", "required": False, "default": 0},
        {"name": "d", "required": True, "example": "x"},
    ]
    assert normalise_variables(variables) == (variables, [])


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ({"html": "<b>{{ content }}</b>", "text": ""}, set()),
        ({"html": "", "text": "{{ content }} {{ subject }} {{ tenant.name }} {{ recipient.email }}"}, set()),
        ({"html": "", "text": " "}, {("html", "required")}),
        ({"html": "<b>", "text": "{{ content }}"}, {("html", "missing_content")}),
        ({"html": "{{ content }}{{ userName }}", "text": ""}, {("html", "undeclared_variable")}),
        ({"html": "", "text": "{% contents %}"}, {("text", "unknown_tag")}),
    ],
)
def test_layouts_are_checked(layout, expected):
    assert {(each.field, each.code) for each in check_layout(**layout)} == expected


@pytest.mark.parametrize("channel", list(Channel))
def test_the_catch_all_may_be_saved_as_it_is(channel):
    assert problems(channel, subject=_SUBJECT, body=_BODY) == problems(channel, subject=_SUBJECT, body=_BODY_ALONE) == set()


@pytest.mark.parametrize(
    ("given_tag", "tag"),
    [
        ("en", "en"),
        ("DE-at", "de-AT"),
        ("de_at", "de-AT"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("SR-LATN", "sr-Latn"),
        ("de-CH-1996", "de-CH-1996"),
        ("sl-ROZAJ", "sl-rozaj"),
        (" fr ", "fr"),
    ],
)
def test_locales_are_normalised(given_tag, tag):
    assert clean_locale(given_tag) == tag


@pytest.mark.parametrize("tag", ["", "e", "english", "de-", "-de", "de--AT", "de-ATX", "e1", "de AT", "dé", "en-u-ca"])
def test_what_is_no_locale(tag):
    with pytest.raises(ValueError, match="BCP 47"):
        clean_locale(tag)


@pytest.mark.parametrize("name", ["account", "order.shipped", "a:b-c_d.E9", "*", "x" * 200])
def test_event_types(name):
    assert clean_event_type(name) == name


@pytest.mark.parametrize("name", ["", "order shipped", "order.*", "**", "é", "a\n", "x" * 201])
def test_what_is_no_event_type(name):
    with pytest.raises(ValueError, match="dotted name"):
        clean_event_type(name)


@given(st.text(alphabet="{}%|.'\"[]() \nabif-endforraw:=1,", max_size=200))
def test_any_text_is_parsed_or_refused_with_a_line(text):
    line = 1
    try:
        parse(TEXT, text)
    except SourceError as error:
        line = error.line
    assert 1 <= line <= text.count("\n") + 1


def test_links_are_there_and_cannot_be_declared():
    assert check_content(Channel.SMS, Content(body="{{ unsubscribe_url }} {{ preferences_url }}")) == []
    (problem,) = check_content(Channel.SMS, Content(body="Hello", variables=["unsubscribe_url"]))
    assert (problem.field, problem.code) == ("variables[0].name", "reserved")
    (problem,) = check_content(Channel.SMS, Content(body="{{ unsubscribe_url.path }}"))
    assert problem.message == "line 1: unsubscribe_url has no path; it has no fields"
