"""From a compiled version to the words that are sent."""

from __future__ import annotations

import contextlib
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from templates_app.catch_all import _BODY, _BODY_ALONE, _SUBJECT
from templates_app.compiled import Store, compile_layout, compile_version
from templates_app.liquid import Region
from templates_app.locales import best
from templates_app.names import clean_locale
from templates_app.rendering import ROOM, RenderError, render
from tenants.vocabulary import Channel

PEOPLE = {
    "recipient": {"userId": "u1", "email": "", "phone": None, "attributes": {"plan": "pro", "note": ""}},
    "event": {"id": "e1", "type": "order.shipped", "metadata": {}, "createdAt": "2026-01-31T12:00:00Z"},
    "tenant": {"slug": "acme", "name": "Acme & Sons"},
    "region": Region(("en",)),
}


def compiled(subject="", body="", html="", variables=(), layout=None, channel=Channel.EMAIL):
    return compile_version(
        version_id=uuid4(),
        channel=channel,
        locale="en",
        number=1,
        subject=subject,
        body=body,
        html=html,
        variables=[{"name": each} if isinstance(each, str) else each for each in variables],
        layout=compile_layout(**{"html": "", "text": "", **layout}) if layout else None,
    )


def rendered(version, **data):
    return render(version, data=data, **PEOPLE)


def refused(version, **data) -> RenderError:
    with pytest.raises(RenderError) as raised:
        rendered(version, **data)
    return raised.value


def test_an_apostrophe_stays_in_text_and_is_escaped_in_html():
    version = compiled("Hi {{ n }}", "Dear {{ n }}", "<p>{{ n }}</p>", ["n"])
    words = rendered(version, n="O'Brien <script>")
    assert words.subject == "Hi O'Brien <script>"
    assert words.body == "Dear O'Brien <script>"
    assert words.html == "<p>O&#39;Brien &lt;script&gt;</p>"
    assert words.version_id == version.id


@given(st.text())
def test_no_header_is_injected_by_a_subject(text):
    subject = rendered(compiled("S {{ n }} E", "B", variables=["n"]), n=text).subject
    assert len(subject.splitlines()) == 1
    assert all(character.isprintable() or ord(character) > 0x9F for character in subject)


def test_a_bcc_in_a_name_stays_in_the_subject():
    assert (
        rendered(compiled("{{ n }}", "B", variables=["n"]), n="x\r\nBcc: all@example.com").subject == "x Bcc: all@example.com"
    )


def test_a_missing_required_variable_is_named_with_its_place():
    error = refused(compiled("Hi", "a\n{{ userName }}", variables=["userName"]))
    assert (error.code, error.variable, error.part, error.line) == ("missing_variable", "userName", "body", 2)
    assert str(error) == "body, line 2: userName is missing"


def test_null_is_missing():
    assert refused(compiled("{{ a }}", "B", variables=["a"]), a=None).variable == "a"
    assert refused(compiled("{{ a.b }}", "B", variables=["a"]), a={"b": None}).variable == "a.b"


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("[{{ opt }}]", "[]"),
        ("[{{ opt.inner.most }}]", "[]"),
        ("{{ preset }}", "7"),
        ("{{ opt | default: 'x' }}", "x"),
        ("{% if opt %}a{% else %}b{% endif %}", "b"),
        ("{{ req | default: 'x' }}", "x"),
        ("{% if req %}a{% else %}b{% endif %}", "b"),
    ],
)
def test_optional_and_guarded_variables_may_be_missing(body, result):
    variables = ["req", {"name": "opt", "required": False}, {"name": "preset", "default": 7, "required": False}]
    assert rendered(compiled("S", body, variables=variables)).body == result
    assert rendered(compiled("S", body, variables=variables), opt=None, preset=None, req=None).body == result


def test_false_zero_and_the_empty_string_are_values():
    version = compiled("S", "{{ a }}{{ b }}{{ c }}.", variables=["a", "b", {"name": "c", "default": "x"}])
    assert rendered(version, a=False, b=0, c="").body == "false0."


@pytest.mark.parametrize("field", ["email", "phone", "locale"])
def test_an_address_that_is_not_known_is_missing(field):
    assert refused(compiled("S", f"{{{{ recipient.{field} }}}}")).variable == f"recipient.{field}"


def test_the_reserved_roots_are_there_and_cannot_be_taken():
    version = compiled("S", "{{ recipient.attributes.plan }} {{ event.id }} {{ tenant.name }} {{ data.recipient }}")
    assert rendered(version, recipient="x").body == "pro e1 Acme & Sons x"


def test_only_declared_variables_are_seen():
    assert refused(compiled("S", "{{ ['secret'] }}"), secret="x").variable == "secret"


def test_a_variable_may_be_called_partial():
    assert rendered(compiled("S", "{{ partial }}", variables=["partial"]), partial="x").body == "x"


def test_a_mail_of_html_alone_gets_its_text():
    version = compiled(
        "S", html="<h1>Hi {{ n }}</h1><p>Go <a href='https://x.test/?a=1&amp;b=2'>there</a></p>", variables=["n"]
    )
    assert rendered(version, n="O'Brien & <Co>").body == "Hi O'Brien & <Co>\n\nGo [there](https://x.test/?a=1&b=2)"


LAYOUT = {"html": "<main>{{ content }}<i>{{ tenant.name }}</i></main>", "text": "{{ content }}\n-- {{ tenant.name }}"}


def test_a_layout_goes_around_both_parts_and_escapes_nothing_twice():
    words = rendered(compiled("S", "Hi {{ n }}", "<p>{{ n }}</p>", ["n"], LAYOUT), n="<b>")
    assert words.body == "Hi <b>\n-- Acme & Sons"
    assert words.html == "<main><p>&lt;b&gt;</p><i>Acme &amp; Sons</i></main>"


def test_a_mail_of_text_alone_gets_html_from_its_layout():
    words = rendered(compiled("S", "Hi {{ n }}\nBye", "", ["n"], LAYOUT), n="<script>")
    assert words.html == "<main><p>Hi &lt;script&gt;<br>Bye</p><i>Acme &amp; Sons</i></main>"
    assert words.body == "Hi <script>\nBye\n-- Acme & Sons"


def test_a_mail_of_html_alone_in_a_layout():
    assert rendered(compiled("S", html="<p>Hi</p>", layout=LAYOUT)).body == "Hi\n-- Acme & Sons"
    assert rendered(compiled("S", html="<p>Hi</p>", layout={"html": LAYOUT["html"]})).body == "Hi\n\nAcme & Sons"


def test_a_layout_of_text_goes_around_other_channels():
    words = rendered(compiled(body="Hi", layout=LAYOUT, channel=Channel.SMS))
    assert (words.body, words.html) == ("Hi\n-- Acme & Sons", "")


def test_a_layout_knows_the_subject_and_says_where_it_fails():
    assert rendered(compiled("S", "B", layout={"text": "{{ subject }}: {{ content }}"})).body == "S: B"
    error = refused(compiled("S", "B", layout={"text": "{{ content }}\n{{ recipient.email }}"}))
    assert str(error) == "layout of the body, line 2: recipient.email is missing"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{{ 1 | divided_by: 0 }}", "render_error"),
        ("{{ n | divided_by: 0.0000000001 | ceil }}", "render_error"),
        ("{{ n | date: 3 }}", "render_error"),
        ("{% for i in (1..1000000000) %}x{% endfor %}", "render_error"),
        ("{% for i in (1..9000) %}xxxxxxxxxxxxxxxxxxxx{% endfor %}", "output_too_large"),
        ("{{ n | slice: 'x' }}", "render_error"),
        ("{{ '999999999999999' | date: '%Y' }}", "render_error"),
        ("{{ n", "render_error"),
    ],
)
def test_whatever_a_template_does_it_is_a_render_error(body, code):
    error = refused(compiled("S", body, variables=["n"]), n=float("inf"))
    assert error.code == code
    assert "body" in str(error)


@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=8,
        ),
    ),
    st.sampled_from(
        [
            "upcase",
            "date: b",
            "plus: b",
            "join: c",
            "sort",
            "slice: b, c",
            "map: 'a'",
            "where: 'x', c",
            "round: b",
            "replace: b, c",
            "truncate: b",
            "url_decode",
            "base64_decode",
            "split: b",
            "sum",
            "uniq",
            "first",
        ]
    ),
)
def test_no_data_raises_anything_but_a_render_error(data, filters):
    version = compiled("{{ a }}", f"{{{{ a | {filters} }}}}{{% for x in a %}}{{{{ x.a }}}}{{% endfor %}}", variables="abc")
    with contextlib.suppress(RenderError):
        assert "\x00" not in rendered(version, **data).body


def test_a_nul_never_reaches_the_database():
    assert rendered(compiled("S", "a{{ '%00' | url_decode }}b")).body == "ab"


def test_each_part_has_its_own_limit():
    assert len(rendered(compiled("{{ n }}", "B", variables=["n"]), n="x" * ROOM["subject"]).subject) == ROOM["subject"]
    error = refused(compiled("{{ n }}", "B", variables=["n"]), n="x" * (ROOM["subject"] + 1))
    assert (error.code, error.part) == ("output_too_large", "subject")


@pytest.mark.parametrize(
    ("data", "subject", "body", "alone"),
    [
        ({}, "order.shipped", "There is news for you: order.shipped", "There is news for you: order.shipped"),
        ({"title": "Shipped"}, "Shipped", "There is news for you: order.shipped", "Shipped"),
        ({"message": "On its way"}, "order.shipped", "On its way", "On its way"),
        ({"title": "T", "body": "B", "message": "M"}, "T", "B", "B"),
        ({"title": "", "body": None, "message": ""}, "order.shipped", *["There is news for you: order.shipped"] * 2),
        ({"body": {"a": 1}}, "order.shipped", '{"a": 1}', '{"a": 1}'),
    ],
)
def test_the_catch_all_says_something_sensible(data, subject, body, alone):
    words = rendered(compiled(_SUBJECT, _BODY), **data)
    assert (words.subject, words.body) == (subject, body)
    assert rendered(compiled(body=_BODY_ALONE, channel=Channel.SMS), **data).body == alone


def test_the_catch_all_takes_any_length_of_title():
    assert len(rendered(compiled(_SUBJECT, _BODY), title="x" * 100_000).subject) == 200


LOCALES = st.sampled_from(["en", "en-GB", "de", "de-AT", "de-CH-1996", "fr", "fr-CA", "zh-Hant-TW", "zh-Hant", "pt-BR"])


@given(st.dictionaries(LOCALES.map(str.lower), st.integers()), LOCALES, LOCALES, st.booleans())
def test_the_best_locale(by_locale, locale, default, shout):
    def parents(tag):
        parts = tag.lower().split("-")
        return ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]

    wanted = [*parents(locale), *parents(default), "en", *sorted(by_locale)]
    expected = next((by_locale[tag] for tag in wanted if tag in by_locale), None)
    asked = locale.upper().replace("-", "_") if shout else locale
    assert best(by_locale, asked, default) == expected


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_recipient_locale_finds_something(locale, default):
    assert best({"pl": 1}, locale, default) == 1


@given(LOCALES)
def test_normalising_twice_changes_nothing(tag):
    assert clean_locale(clean_locale(tag.lower())) == clean_locale(tag.upper()) == tag


def test_the_store_keeps_what_was_used_last():
    store: Store[str, int] = Store(room=10)
    store.put("a", 1, 4)
    store.put("b", 2, 4)
    assert store.get("a") == 1
    store.put("c", 3, 4)
    assert [store.get(key) for key in "abc"] == [1, None, 3]
    store.put("a", 9, 6)
    assert [store.get(key) for key in "ac"] == [9, 3]
    store.put("huge", 4, 100)
    assert [store.get(key) for key in ("a", "c", "huge")] == [None, None, 4]
    store.clear()
    assert store.get("huge") is None


def test_links_are_only_asked_for_by_what_mentions_them():
    layout = {"text": "{{ content }} {% if true %}{{ preferences_url }}{% endif %}"}
    assert compiled("Hi", "Hello").links == frozenset()
    assert compiled("Hi", "{{ unsubscribe_url }}").links == {"unsubscribe_url"}
    assert compiled("Hi", "Hello", layout=layout).links == {"preferences_url"}


def test_a_link_stands_where_it_is_mentioned_layout_included():
    links = {"unsubscribe_url": "https://example.com/u/a-_9"}
    version = compiled("Hi", "Off: {{ unsubscribe_url }}", layout={"text": "{{ content }} ({{ unsubscribe_url }})"})
    words = render(version, data={}, **PEOPLE, links=links)
    assert words.body == "Off: https://example.com/u/a-_9 (https://example.com/u/a-_9)"
    html = compiled("Hi", html='<a href="{{ unsubscribe_url }}">off</a>')
    assert render(html, data={}, **PEOPLE, links=links).html == '<a href="https://example.com/u/a-_9">off</a>'


def test_a_link_that_cannot_be_made_is_missing():
    assert refused(compiled("Hi", "{{ unsubscribe_url }}")).variable == "unsubscribe_url"


def test_a_version_from_before_that_declared_such_a_name_keeps_its_meaning():
    version = compiled("Hi", "{{ unsubscribe_url }}", variables=["unsubscribe_url"])
    words = render(version, data={"unsubscribe_url": "the event's"}, **PEOPLE, links={"unsubscribe_url": "ours"})
    assert words.body == "the event's"
