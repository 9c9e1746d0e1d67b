"""The built-in words of digests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from templates_app.digest_words import VARIABLES, digest_version
from templates_app.rendering import Rendered, region_of, render
from tenants.vocabulary import Channel

WHEN = "2031-07-01T12:05:00Z"


def item(number: int = 1, **data) -> dict:
    return {"eventId": f"evt_{number}", "eventType": "order.shipped", "createdAt": WHEN, "data": data}


def said(channel: Channel, items: list, *, more: int = 0, locale: str = "en", **data) -> Rendered:
    version = digest_version(channel, locale, "en")
    known = dict.fromkeys(VARIABLES, "") | {"items": items, "count": len(items) + more, "more": more, "since": WHEN}
    region = region_of(version, locale=locale, default_locale="en", timezone="Europe/Vienna")
    return render(version, data=known | data, recipient={}, event={}, tenant={}, region=region)


@pytest.mark.parametrize(
    ("locale", "one", "several", "others"),
    [
        ("en-GB", "1 new message", "12 new messages", "and 10 more"),
        ("de-AT", "1 neue Nachricht", "12 neue Nachrichten", "und 10 weitere"),
        ("fr", "1 nouveau message", "12 nouveaux messages", "et 10 autres"),
    ],
)
@pytest.mark.parametrize("channel", Channel)
def test_every_channel_in_three_languages(channel, locale, one, several, others):
    single = said(channel, [item()], locale=locale)
    assert (single.subject or single.body).startswith(one)
    assert others.split()[0] + " " not in single.body
    many = said(channel, [item(1), item(2, title="Ada wrote")], more=10, locale=locale)
    assert (many.subject or many.body).startswith(several)
    assert others in many.body
    assert "order.shipped" in many.body
    assert "Ada wrote" in many.body


def test_another_language_gets_the_tenants_then_english():
    assert digest_version(Channel.SMS, "pl", "de").locale == "de"
    assert digest_version(Channel.SMS, "pl", "sv").locale == "en"
    assert digest_version(Channel.SMS, "pl", "sv") is digest_version(Channel.SMS, "en", "en")


def test_a_list_has_types_and_times_of_the_recipients_zone():
    mail = said(Channel.EMAIL, [item(1), item(2, title="Ada wrote")], more=3)
    assert mail.subject == "5 new messages"
    assert mail.body == "- order.shipped (7/1/31, 2:05\u202fPM)\n- Ada wrote (7/1/31, 2:05\u202fPM)\nand 3 more"
    assert "<li>Ada wrote <small>7/1/31, 2:05\u202fPM</small></li>" in mail.html
    assert "<p>and 3 more</p>" in mail.html


def test_what_is_short_names_three():
    items = [item(number, title=f"t{number}") for number in range(5)]
    assert said(Channel.SMS, items).body == "5 new messages: t0, t1, t2 and 2 more"
    assert said(Channel.SMS, items[:3]).body == "3 new messages: t0, t1, t2"
    assert said(Channel.SMS, items[:2], more=7).body == "9 new messages: t0, t1 and 7 more"
    push = said(Channel.PUSH, items, more=1)
    assert (push.subject, push.body) == ("6 new messages", "t0, t1, t2 and 3 more")


def test_what_items_hold_is_escaped():
    mail = said(Channel.EMAIL, [item(title="<script>alert(1)</script>")])
    assert "<script>" not in mail.html
    assert "&lt;script&gt;" in mail.html
    assert "\n" not in said(Channel.EMAIL, [item(title="a\nb")]).subject


def test_nothing_is_broken_and_nothing_is_the_same():
    versions = [digest_version(channel, locale, "en") for channel in Channel for locale in ("en", "de", "fr")]
    assert [version.broken for version in versions] == [""] * len(versions)
    assert len({version.id for version in versions}) == len(versions)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@given(
    channel=st.sampled_from(Channel),
    locale=st.sampled_from(["en", "de", "fr", "ja", ""]),
    data=st.lists(st.dictionaries(st.sampled_from(["title", "body", "x"]), json_values, max_size=3), min_size=1, max_size=4),
)
def test_whatever_an_item_holds_or_lacks_it_can_be_said(channel, locale, data):
    words = said(channel, [item(**one) for one in data], locale=locale)
    assert words.body.strip()
