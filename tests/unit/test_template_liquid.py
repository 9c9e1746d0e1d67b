"""The language: strict, escaped, bounded."""

from __future__ import annotations

import pytest
from liquid.exceptions import LiquidError

from templates_app.liquid import ABSENT, HTML, TEXT, MissingVariableError, SourceError, TooSlowError, WorkExceededError, parse
from templates_app.liquid.context import WORK

DATA = {
    "name": "O'Brien <script>",
    "order": {"id": 7, "note": None, "lines": [{"sku": "a"}, {"sku": "b"}]},
    "nothing": [],
    "flag": True,
    "opt": ABSENT,
    "long": "x" * 400_000,
    "mid": "x" * 20_000,
    "many": list(range(2_000)),
}


def written(text: str, environment=TEXT) -> str:
    return parse(environment, text).write(DATA, room=100_000)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("Hello {{ name }}", "Hello O'Brien <script>"),
        ("{{ order.id }}{{ flag }}{{ 1.5 }}", "7true1.5"),
        ("{{ order.lines[1].sku }}{{ order.lines.size }}{{ order['id'] }}", "b27"),
        ("{{ order.lines[0] }}", '{"sku": "a"}'),
        ("{{ order.missing | default: 'none' }}", "none"),
        ("{{ order.note | default: 'none' }}", "none"),
        ("{{ nobody | default: 'none' }}", "none"),
        ("{% if order.note %}a{% else %}b{% endif %}", "b"),
        ("{% if nobody == nil %}a{% endif %}", "a"),
        ("{% unless nobody.at.all %}a{% endunless %}", "a"),
        ("{% case nobody %}{% when 1 %}a{% else %}b{% endcase %}", "b"),
        ("[{{ opt }}{{ opt.any.thing }}{{ opt | upcase }}]", "[]"),
        ("{% for x in opt %}x{% else %}none{% endfor %}", "none"),
        ("{{ opt | default: name }}", "O'Brien <script>"),
        ("{% for l in order.lines %}{{ forloop.index }}{{ l.sku }}{% endfor %}", "1a2b"),
        ("{% assign x = order.id | plus: 1 %}{{ x }}", "8"),
        ("{% increment n %}{% increment n %}", "01"),
        ("{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
        ("{% liquid\n  assign x = 1\n  echo x\n%}", "1"),
        ("a{% break %}b", "a"),
    ],
)
def test_what_is_written(text, result):
    assert written(text) == result


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{{ nobody }}", "nobody"),
        ("{{ order.note }}", "order.note"),
        ("{{ order.customer.name }}", "order.customer.name"),
        ("{{ order.lines[5].sku }}", "order.lines.5.sku"),
        ("{{ nobody | upcase }}", "nobody"),
        ("{{ order[nobody] }}", "nobody"),
        ("{{ nobody | date: '%Y' }}", "nobody"),
        ("{{ 5 | plus: nobody }}", "nobody"),
        ("{{ nobody | size }}", "nobody"),
        ("{% for x in nobody %}{% endfor %}", "nobody"),
        ("{% echo nobody %}", "nobody"),
        ("{% assign x = nobody %}{{ x }}", "nobody"),
        ("{% assign x = nobody | upcase %}", "nobody"),
        ("{{ nothing | first }}", "nothing | first"),
        ("{% if nobody %}a{% else %}{{ nobody }}{% endif %}", "nobody"),
    ],
)
def test_a_missing_variable_is_never_a_blank(text, name):
    with pytest.raises(MissingVariableError) as raised:
        written(text)
    assert raised.value.name == name


def test_text_is_not_escaped_and_html_is():
    assert written("{{ name }}") == "O'Brien <script>"
    assert written("{{ name }}", HTML) == "O&#39;Brien &lt;script&gt;"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("<b>{{ name }}</b>", "<b>O&#39;Brien &lt;script&gt;</b>"),
        ("{% capture x %}<i>{{ name }}</i>{% endcapture %}{{ x }}", "<i>O&#39;Brien &lt;script&gt;</i>"),
        ("{{ '<i>' | append: name }}", "<i>O&#39;Brien &lt;script&gt;"),
        ("{{ name | upcase }}", "O&#39;BRIEN &lt;SCRIPT&gt;"),
        ("{{ name | escape }}", "O&#39;Brien &lt;script&gt;"),
        ("{{ name | newline_to_br }}", "O&#39;Brien &lt;script&gt;"),
        ("{{ name | split: ' ' }}", "O&#39;Brien&lt;script&gt;"),
        ("{{ name | split: ' ' | join: '<br>' }}", "O&#39;Brien<br>&lt;script&gt;"),
        ("{{ order.lines[0] }}", "{&#34;sku&#34;: &#34;a&#34;}"),
        ("{% echo name %}{% cycle name, 'x' %}", "O&#39;Brien &lt;script&gt;" * 2),
    ],
)
def test_html_escapes_whatever_comes_from_outside(text, result):
    assert written(text, HTML) == result


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("a\n{{ name", "syntax", 2),
        ("{% if name %}", "syntax", 1),
        ("\n\n{% endif %}", "syntax", 3),
        ("{{ }}", "syntax", 1),
        ("{{ name | }}", "syntax", 1),
        ("a\n\n{{ name | shout }}", "unknown_filter", 3),
        ("{{ name | safe }}", "unknown_filter", 1),
        ("{% if name | shout %}{% endif %}", "syntax", 1),
        ("\n{% launch %}", "unknown_tag", 2),
        ("{% include 'x' %}", "unknown_tag", 1),
        ("{% render 'x' %}", "unknown_tag", 1),
        ("{% layout 'x' %}", "unknown_tag", 1),
        ("{% raw %}{{ name }}", "syntax", 1),
        ("{% comment %}", "syntax", 1),
        ("\u2028\x0c\n{{ name", "syntax", 2),  # lines are what an editor shows
        ("{% if a %}" * 30 + "{% endif %}" * 30, "syntax", 1),
        ("{{ a" + "[a" * 1500 + "]" * 1500 + " }}", "syntax", 1),
        ("{% if (1..1000000000) contains name %}{% endif %}", "syntax", 1),
    ],
)
def test_what_is_refused_when_parsed(text, code, line):
    with pytest.raises(SourceError) as raised:
        parse(TEXT, text)
    assert (raised.value.code, raised.value.line) == (code, line)


@pytest.mark.parametrize(
    "text",
    [
        "{{" * 30_000,
        "{%" * 30_000,
        "{{ " + " " * 60_000 + "}}",
        "{{" + "\n" * 60_000 + "}}",
        "{% liquid" + "\n" * 60_000 + "%}",
        "{% raw %}" * 7_000,
        "{{ '" + "a" * 60_000 + "' }}",
    ],
)
@pytest.mark.timeout(20)
def test_what_would_take_the_lexer_minutes_is_refused_before_it(text):
    with pytest.raises(SourceError):
        parse(TEXT, text)


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in (1..1000000000) %}x{% endfor %}",
        "{% for i in (1..99999999999999999999999) %}x{% endfor %}",
        "{% tablerow i in (1..1000000000) %}x{% endtablerow %}",
        "{% for i in (1..101) %}{% for j in (1..100) %}{% endfor %}{% endfor %}",
        "{% for i in (1..6000) %}{% endfor %}{% for i in (1..6000) %}{% endfor %}",
        "{% for i in (1..9000) %}" + "{% if true %}{% endif %}" * 200 + "{% endfor %}",
        "{{ (1..1000000000) | join: 'x' }}",
        "{{ (1..1000000000) | sort | size }}",
        "{% assign r = (1..1000000000) %}{% if r contains name %}x{% endif %}",
        "{% for i in (1..9000) %}{% assign x = long | upcase %}{% endfor %}",
        "{% assign x = 'aa' %}{% for i in (1..50) %}{% assign x = x | append: x %}{% endfor %}",
        "{{ mid | replace: '', mid | size }}",
        "{{ many | join: mid | size }}",
        "{{ many | uniq | size }}",
        "{% assign x = 9 %}{% for i in (1..100) %}{% assign x = x | times: x %}{% endfor %}",
        "{{ 'now' | date: long }}",
        "{{ long | date: '%Y' }}",
        "{{ long | strip_html }}",
        "{% for i in (1..9000) %}{{ many }}{% endfor %}",
    ],
)
@pytest.mark.timeout(20)
def test_what_would_never_end_is_stopped(text):
    with pytest.raises(LiquidError) as raised:
        written(text)
    assert not isinstance(raised.value, MissingVariableError)


def test_data_is_charged_for_by_its_size():
    source = parse(TEXT, "{% if " + " and ".join(["long"] * 4) + " %}x{% endif %}")
    assert source.write(DATA | {"long": "x" * (WORK // 4)}, room=10) == "x"
    with pytest.raises(WorkExceededError):
        source.write(DATA | {"long": "x" * (WORK // 4 + 1)}, room=10)


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in (1..3000) %}" + "{% if a == b %}x{% endif %}" * 10 + "{% endfor %}",
        "{% for i in (1..3000) %}{% ifchanged %}{{ a }}{% endifchanged %}{% endfor %}",
        "{% for i in (1..9000) %}{% case a %}{% when b %}x{% endcase %}{% endfor %}",
    ],
)
@pytest.mark.timeout(20)
def test_what_has_no_price_is_stopped_by_the_clock(text):
    large = {"x": list(range(40_000))}
    source = parse(HTML, text)
    with pytest.raises(TooSlowError):
        source.write({"a": large, "b": {"x": list(range(40_000))}}, room=10**12)


def test_the_output_has_a_limit():
    source = parse(TEXT, "{% for i in (1..50) %}xx{% endfor %}")
    assert len(source.write({}, room=100)) == 100
    with pytest.raises(LiquidError, match="too large"):
        source.write({}, room=99)


def test_renders_do_not_share_state():
    source = parse(TEXT, "{% increment n %}{% cycle 'a', 'b' %}{% if x %}{{ x }}{% endif %}{% assign x = 'set' %}")
    assert {source.write({}, room=100) for _ in range(3)} == {"0a"}
