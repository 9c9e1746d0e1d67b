"""Dates, numbers and money, as the recipient reads them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from babel import localedata
from hypothesis import given, settings
from hypothesis import strategies as st
from liquid.exceptions import LiquidError

from templates_app.compiled import compile_layout, compile_version
from templates_app.liquid import ABSENT, HTML, TEXT, Region, context, parse
from templates_app.liquid.formatting import FILTERS, SIGNATURES
from templates_app.liquid.regions import MOST_LOCALES, known_locale
from templates_app.names import clean_locale
from templates_app.rendering import RenderError, region_of, render
from templates_app.validation import Content, check_content
from tenants.vocabulary import Channel

AUSTRIA = Region(("de-AT",), "Europe/Vienna")
AMERICA = Region(("en-US",), "America/New_York")
LATE = "2026-03-01T23:30:05Z"
"""The next day in Vienna."""
EVERYTHING = "|".join(
    [
        f"{{{{ at | {name}: '{style}' }}}}"
        for name in ("date", "time", "datetime")
        for style in ("short", "medium", "long", "full")
    ]
    + [f"{{{{ at | {name} }}}}" for name in ("date", "time", "datetime")]
    + [
        "{{ n | number }}|{{ n | number: 2 }}|{{ n | percent }}|{{ n | percent: 1 }}",
        "{{ n | money: 'EUR' }}|{{ n | money: 'JPY' }}",
    ]
    + ["{{ at | date: 'EEEE d MMMM y G' }}|{{ at | time: 'h:mm a' }}|{{ at | datetime: 'QQQ w zzzz' }}"]
)
_EVERYTHING = parse(TEXT, EVERYTHING)


def written(text: str, region: Region = AUSTRIA, environment=TEXT, **data) -> str:
    return parse(environment, text).write({"at": LATE, "n": 1234.5} | data, room=10_000, region=region)


def refused(text: str, **data) -> str:
    with pytest.raises(LiquidError) as raised:
        written(text, **data)
    return str(raised.value.message)


def faults(body: str) -> list[tuple[str, str, int | None]]:
    return [(each.code, each.message, each.line) for each in check_content(Channel.SMS, Content(body=body))]


@pytest.mark.parametrize(
    ("text", "austria", "america"),
    [
        ("{{ at | date }}", "02.03.2026", "Mar 1, 2026"),
        ("{{ at | date: 'short' }}", "02.03.26", "3/1/26"),
        ("{{ at | date: 'full' }}", "Montag, 2. März 2026", "Sunday, March 1, 2026"),
        ("{{ at | date: 'EEE d MMM' }}", "Mo. 2 März", "Sun 1 Mar"),
        ("{{ at | date: \"d. MMMM 'um' H:mm\" }}", "2. März um 0:30", "1. March um 18:30"),
        ("{{ at | time }}", "00:30", "6:30\u202fPM"),
        ("{{ at | time: 'medium' }}", "00:30:05", "6:30:05\u202fPM"),
        ("{{ at | datetime: 'short' }}", "02.03.26, 00:30", "3/1/26, 6:30\u202fPM"),
        ("{{ '2026-03-01' | date: 'long' }}", "1. März 2026", "March 1, 2026"),
        ("{{ 1772407805 | date }}", "02.03.2026", "Mar 1, 2026"),
        ("{{ '1772407805' | datetime: 'short' }}", "02.03.26, 00:30", "3/1/26, 6:30\u202fPM"),
        ("{{ at | date: nil }}{{ at | date: opt }}", "02.03.202602.03.2026", "Mar 1, 2026Mar 1, 2026"),
        ("{{ at | datetime: 'short', timezone: 'UTC', locale: 'fr' }}", *["01/03/2026 23:30"] * 2),
        ("{{ n | number }}", "1.234,5", "1,234.5"),
        ("{{ n | number: 2 }}", "1.234,50", "1,234.50"),
        ("{{ '1234.50' | number }}", "1.234,5", "1,234.5"),
        ("{{ 2 | divided_by: 3.0 | number }}", "0,667", "0.667"),
        ("{{ n | money: 'EUR' }}", "€\u00a01.234,50", "€1,234.50"),
        ("{{ n | money: 'eur', locale: 'de-DE' }}", *["1.234,50\u00a0€"] * 2),
        ("{{ n | money: 'JPY' }}", "¥\u00a01.234", "¥1,234"),
        ("{{ -1 | money: 'CHF' }}", "-CHF\u00a01,00", "-CHF\u00a01.00"),
        ("{{ -0.001 | money: 'USD', locale: 'en' }}", *["$0.00"] * 2),
        ("{{ 0.256 | percent }}", "26\u00a0%", "26%"),
        ("{{ 0.256 | percent: 1 }}", "25,6\u00a0%", "25.6%"),
        ("{{ n | money: 'EUR' | prepend: 'at ' }}", "at €\u00a01.234,50", "at €1,234.50"),
        ("[{{ opt | money: 'EUR' }}{{ opt | date }}]", *["[]"] * 2),
        ("{{ nobody | money: 'EUR' | default: 'free' }}", None, None),
        ("{{ nobody | default: 5 | money: 'EUR' }}", "€\u00a05,00", "€5.00"),
    ],
)
def test_what_is_written(text, austria, america):
    for region, result in ((AUSTRIA, austria), (AMERICA, america)):
        if result is None:
            assert refused(text) == "nobody is missing"
        else:
            assert written(text, region, opt=ABSENT) == result


@pytest.mark.parametrize(
    "text", ["{{ at | date: '%d.%m.%Y %H:%M' }}", "{{ at | date: '%A' }}", "{{ 0 | date: '%s' }}", "{{ 'x' | date: '%Y' }}"]
)
def test_a_format_with_percent_signs_is_what_it_always_was(text):
    """In English and in the offset that the value came with, whoever reads it."""
    plain = {"%d.%m.%Y %H:%M": "01.03.2026 23:30", "%A": "Sunday", "%s": "0", "%Y": "x"}
    (form,) = re.findall("'(%.*)'", text)
    assert written(text, AUSTRIA) == written(text, AMERICA) == plain[form]


def test_now_is_now():
    before = datetime.now(UTC).astimezone(ZoneInfo("Europe/Vienna")).date()
    shown = written("{{ 'now' | date: 'y-MM-dd' }}")
    assert before.isoformat() <= shown <= datetime.now(UTC).astimezone(ZoneInfo("Europe/Vienna")).date().isoformat()


@pytest.mark.parametrize(
    ("text", "value", "message"),
    [
        ("{{ x | money: 'EUR' }}", "a", "money: the value is text that is no number"),
        ("{{ x | money: 'EUR' }}", "1,50", "money: the value is text that is no number"),
        ("{{ x | money: 'EUR' }}", "1_0", "money: the value is text that is no number"),
        ("{{ x | money: 'EUR' }}", "9" * 101, "money: the value is text that is no number"),
        ("{{ x | number }}", [1], "number: the value must be a number, but is a list"),
        ("{{ x | number }}", {"a": 1}, "number: the value must be a number, but is an object"),
        ("{{ x | percent }}", True, "percent: the value must be a number, but is true or false"),
        ("{{ x | number }}", 10**18, "number: the value is a number of more than 18 digits"),
        ("{{ x | number }}", -(10**18), "number: the value is a number of more than 18 digits"),
        ("{{ x | number }}", "1e999", "number: the value is a number of more than 18 digits"),
        ("{{ x | number }}", float("inf"), "number: the value is a number without an end"),
        ("{{ x | number: 9 }}", 1, "number: the number of digits must be a whole number from 0 to 8"),
        ("{{ 1 | number: x }}", "2", "number: the number of digits must be a whole number from 0 to 8"),
        ("{{ x | money: 'EURO' }}", 1, "money: the currency must be an ISO 4217 code like EUR, but is EURO"),
        ("{{ 1 | money: x }}", [], "money: the currency must be an ISO 4217 code like EUR, but is a list"),
        ("{{ x | money }}", 1, "money: the currency must be an ISO 4217 code like EUR, but is empty"),
        ("{{ x | money: 'EUR', locale: 'xx' }}", 1, "money: the locale must be a known one like de-AT, but is xx"),
        ("{{ at | date: locale: x }}", 7, "date: the locale must be a known one like de-AT, but is a number"),
        (
            "{{ at | time: timezone: x }}",
            "Mars/A",
            "time: the time zone must be an IANA name like Europe/Vienna, but is Mars/A",
        ),
        (
            "{{ x | date }}",
            "soon",
            "date: the value is text that is no date; write dates as RFC 3339 does, 2026-03-01T14:30:00Z",
        ),
        ("{{ x | date }}", "2026-13-01", "date: the value is text that is no date between the years 1 and 9999"),
        ("{{ x | date }}", 10**15, "date: the value is a number that is no date between the years 1 and 9999"),
        ("{{ x | date }}", float("nan"), "date: the value is a number that is no date between the years 1 and 9999"),
        ("{{ x | date }}", "0001-01-01T00:00:00+14:00", "date: the value is text that is no date between the years 1 and 9999"),
        ("{{ x | date }}", True, "date: the value must be a date, but is true or false"),
        ("{{ x | date }}", [LATE], "date: the value must be a date, but is a list"),
        ("{{ x | time }}", "2026-03-01", "time: the value is a date without a time"),
        ("{{ x | date: 'd HH' }}", "2026-03-01", "date: the value is a date without a time"),
        (
            "{{ x | date }}",
            "2026-03-01T10:00:00",
            "date: the value is a time without an offset; RFC 3339 ends it in Z or +02:00",
        ),
        ("{{ at | date: x }}", 3, "date: the format must be text, but is a number"),
        ("{{ at | date: '%Y', locale: x }}", "de", "date: a format with % takes no locale and no timezone"),
        ("{{ x | upcase }}{{ nothing }}", "", "nothing is missing"),
    ],
)
def test_what_cannot_be_formatted_is_named_and_not_shown(text, value, message):
    assert refused(text, x=value) == message


@pytest.mark.parametrize("form", ["shrot", "", "''", "ggg", "MMMMMMM", "d of MMMM", "--", "d" * 101])
def test_what_is_no_pattern(form):
    assert re.match("date: the format .* is none of short, medium, long, full and no date pattern: ", faults_of(form))


def faults_of(form: str) -> str:
    ((code, message, line),) = faults(f'\n{{{{ data.x | date: "{form}" }}}}')
    assert (code, line) == ("invalid_argument", 2)
    return message.removeprefix("line 2: ")


def test_an_error_has_its_part_and_line():
    version = version_of(html="<p>\n{{ data.total | money: 'EUR' }}")
    with pytest.raises(RenderError) as raised:
        rendered(version, data={"total": "lots"})
    assert (raised.value.code, raised.value.part, raised.value.line) == ("render_error", "html", 2)
    assert str(raised.value) == "html, line 2: money: the value is text that is no number"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("\n{{ data.x | money: 'EURO' }}", ["line 2: money: the currency must be an ISO 4217 code like EUR, but is EURO"]),
        ("{{ data.x | money }}", ["line 1: money: it needs an argument"]),
        ("{{ data.x | number: 1, 2 }}", ["line 1: number: it takes one argument without a name"]),
        ("{{ data.x | number: true }}", ["line 1: number: the number of digits must be a whole number from 0 to 8"]),
        ("{{ data.x | time: zone: 'UTC' }}", ["line 1: time: it takes no zone; it takes locale, timezone"]),
        ("{{ data.x | money: 'EUR', context: 1 }}", ["line 1: money: it takes no context; it takes locale"]),
        ("{{ data.x | date: '%H', locale: 'de' }}", ["line 1: date: a format with % takes no locale and no timezone"]),
        ("{{ data.x | date: timezone: 'Mars' }}",
         ["line 1: date: the time zone must be an IANA name like Europe/Vienna, but is Mars"]),
        ("{% if data.x %}\n{% assign a = data.x | percent: -1 %}{% endif %}",
         ["line 2: percent: the number of digits must be a whole number from 0 to 8"]),
        ("{% for y in data.x %}{% echo y | money: '' %}{% endfor %}",
         ["line 1: money: the currency must be an ISO 4217 code like EUR, but is empty"]),
        ("{{ data.x | money: data.currency, locale: data.locale }}{{ data.x | date: nil }}{{ data.x | date: '%Y' }}", []),
        ("{{ data.x | date: 'y-MM-dd', timezone: 'Europe/Vienna', locale: 'de-XX' }}{{ data.x | upcase: 1, 2 }}", []),
    ],
)  # fmt: skip
def test_what_is_written_out_is_checked_when_it_is_saved(body, expected):
    assert [message for _, message, _ in faults(body)] == expected


def test_every_formatting_filter_is_checked():
    assert FILTERS.keys() == SIGNATURES.keys()


def test_html_escapes_what_a_filter_makes():
    assert written("{{ at | date: \"d '<b>' MMM\" }}", environment=HTML) == "2 &lt;b&gt; März"
    assert written("{{ n | money: 'EUR' }}", AMERICA, HTML) == "€1,234.50"
    assert written("{{ at | date: '%d<b>' }}", environment=HTML) == "01<b>"


@pytest.mark.parametrize(
    ("locale", "template", "default", "result"),
    [
        ("de-AT", "en", "fr", "1.234,5"),
        ("de-XX", "en", "fr", "1.234,5"),
        ("", "en", "fr", "1,234.5"),
        ("tlh", "en", "fr", "1,234.5"),
        ("", "tlh", "fr", "1\u202f234,5"),
        ("", "tlh", "xx", "1,234.5"),
        ("DE_at", "en", "fr", "1.234,5"),
        ("en-u-nu-arab", "de", "fr", "1,234.5"),
        ("../../etc", "de", "fr", "1.234,5"),
    ],
)
def test_the_recipients_locale_then_the_templates_then_the_tenants(locale, template, default, result):
    version = version_of(body="{{ 1234.5 | number }}", locale=template)
    assert rendered(version, locale=locale, default_locale=default).body == result


def test_a_time_zone_that_is_gone_is_named():
    with pytest.raises(RenderError, match=r"body, line 1: time: the time zone must be .*, but is Mars/A"):
        rendered(version_of(body="{{ 0 | time }}"), timezone="Mars/A")
    assert rendered(version_of(body="{{ 0 | number }}"), timezone="Mars/A").body == "0"


def test_a_layout_formats_for_the_recipient_too():
    layout = compile_layout(html="{{ content }}<p>{{ 0 | datetime: 'short' }}</p>", text="{{ content }} {{ 0.5 | number }}")
    words = rendered(version_of(html="<b>", layout=layout), locale="de-AT", timezone="Europe/Vienna")
    assert (words.body, words.html) == ("B 0,5", "<b><p>01.01.70, 01:00</p>")


def test_an_sms_has_plain_spaces():
    body = "{{ 1234.5 | money: 'EUR', locale: 'fr' }} {{ 0 | time: locale: 'en' }}"
    assert rendered(version_of(body=body, channel=Channel.SMS)).body == "1 234,50 € 12:00 AM"
    assert rendered(version_of(body=body)).body == "1\u202f234,50\u00a0€ 12:00\u202fAM"


def version_of(body="B", html="", locale="en", channel=Channel.EMAIL, layout=None):
    return compile_version(
        version_id=uuid4(),
        channel=channel,
        locale=locale,
        number=1,
        subject="",
        body=body,
        html=html,
        variables=[],
        layout=layout,
    )


def rendered(version, *, data=None, locale="", default_locale="en", timezone="UTC"):
    region = region_of(version, locale=locale, default_locale=default_locale, timezone=timezone)
    return render(version, data=data or {}, recipient={}, event={}, tenant={}, region=region)


@pytest.fixture
def _as_before():
    """Locale data is a large heap to search for garbage: nobody else's time."""
    yield
    known_locale.cache_clear()
    localedata._cache.clear()


@pytest.mark.usefixtures("_as_before")
def test_every_locale_formats_everything_and_few_are_kept(monkeypatch):
    """All that CLDR has and that the service takes as a template's or recipient's locale."""
    monkeypatch.setattr(context, "MOST_CPU_S", 60)
    accepted = 0
    for identifier in sorted(localedata.locale_identifiers()):
        tag = clean_locale(identifier)
        accepted += 1
        assert str(known_locale(tag)) == str(known_locale(identifier))
        parts = _EVERYTHING.write({"at": LATE, "n": 1234.5}, room=10_000, region=Region((tag,), "Europe/Vienna")).split("|")
        assert all(part.strip() for part in parts), (tag, parts)
    assert accepted > 1000
    assert len(localedata._cache) < MOST_LOCALES + 5


ZONES = st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati", "Etc/GMT+12"])
SOME_LOCALES = st.sampled_from(["de-AT", "en", "fr-CA", "ar-EG", "fa", "hi", "zh-Hant-TW", "he"])


@settings(deadline=None)  # the first use of a locale reads its file
@given(SOME_LOCALES, ZONES, st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC)))
def test_any_moment_can_be_written(locale, zone, moment):
    region = Region((locale,), zone)
    shown = written("{{ at | date: 'y-MM-dd' }}|" + EVERYTHING, region, at=moment.isoformat())
    assert all(part.strip() for part in shown.split("|"))
    assert written("{{ at | datetime: 'D-HHmmss' }}", region, at=moment) == moment.astimezone(ZoneInfo(zone)).strftime(
        "%-j-%H%M%S"
    )


@settings(deadline=None)  # the first use of a locale reads its file
@given(st.decimals(-(10**18) + 1, 10**18 - 1, allow_nan=False, places=5) | st.integers(-(10**18) + 1, 10**18 - 1) | st.floats())
def test_any_number_is_written_or_refused(number):
    try:
        shown = written("{{ n | number: 4 }}", Region(("en",)), n=number)
    except LiquidError as error:
        assert re.match("number: the value is a number", str(error.message))  # noqa: PT017
    else:
        assert re.fullmatch(r"-?[0-9]{1,3}(,[0-9]{3})*\.[0-9]{4}", shown)
        assert abs(float(shown.replace(",", "")) - float(number)) <= max(1e-4, abs(float(number)) * 1e-12)
        assert shown != "-0.0000"


@settings(deadline=None)  # the first use of a locale reads its file
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists), st.text())
def test_whatever_comes_is_text_or_an_error(value, argument):
    for name in FILTERS:
        for arguments in ("", ": a", ": nil, locale: a"):
            try:
                assert isinstance(written(f"{{{{ x | {name}{arguments} }}}}", x=value, a=argument), str)
            except LiquidError:
                continue
