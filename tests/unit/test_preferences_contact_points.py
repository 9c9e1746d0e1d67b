import pytest
from hypothesis import given
from hypothesis import strategies as st

from preferences import contact_points
from preferences.contact_points import NORMAL_FORM, InvalidContactPointError, comparable
from preferences.selectors import Contact
from tenants.vocabulary import Channel


@pytest.mark.parametrize(
    ("given_text", "stored"),
    [
        ("+4915112345678", "+4915112345678"),
        ("+49 151 1234-5678", "+4915112345678"),
        ("+1 (415) 555-0100", "+14155550100"),
        *[(f"+1500555000{digit}", f"+1500555000{digit}") for digit in range(10)],
    ],
)
def test_a_phone_number_is_stored_as_e164(given_text, stored):
    assert contact_points.phone_number(given_text) == stored


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "+1",
        "+49123",
        "+1415555010012345678",
        "+99912345678",
        "0151 12345678",
        "15005550001",
        "+1 415 555 0100 ext 5",
        "tel:+14155550100",
        "no",
    ],
)
def test_what_is_no_phone_number_is_refused(text):
    with pytest.raises(InvalidContactPointError):
        contact_points.phone_number(text)


@pytest.mark.parametrize("text", ["a@b.co", "ok@simulator.invalid", "O'Brien+x@mail.example.org", "a@localhost"])
def test_an_email_address_is_kept_as_it_is_written(text):
    assert contact_points.email_address(text) == text


@pytest.mark.parametrize("text", ["", "a", "a@", "@b.co", "a b@c.de", "a@b@c.de", "a@b.co\nCc: c@d.ef", f"a@{'b' * 250}.co"])
def test_what_is_no_email_address_is_refused(text):
    with pytest.raises(InvalidContactPointError):
        contact_points.email_address(text)


@pytest.mark.parametrize(
    ("given_text", "stored"),
    [("de", "de"), ("DE-at", "de-AT"), ("de_AT", "de-AT"), ("ZH-hant-tw", "zh-Hant-TW")],
)
def test_a_language_tag_is_stored_in_its_usual_case(given_text, stored):
    assert contact_points.language_tag(given_text) == stored


@pytest.mark.parametrize("text", ["", "d", "de-", "-de", "de--at", "dé", "de AT", "de-AT" + "-x" * 20])
def test_what_is_no_language_tag_is_refused(text):
    with pytest.raises(InvalidContactPointError):
        contact_points.language_tag(text)


@pytest.mark.parametrize("text", ["", "Mars/Olympus", "europe/vienna ", "+02:00", "../etc/passwd", "/etc/localtime"])
def test_what_is_no_time_zone_is_refused(text):
    with pytest.raises(InvalidContactPointError):
        contact_points.time_zone(text)


@pytest.mark.parametrize(
    "text", ["ftp://a.co", "javascript:alert(1)", "https://", "a.co/x", f"http://a.co/{'x' * 2000}", "http://a.co/ x"]
)
def test_what_is_no_web_address_is_refused(text):
    with pytest.raises(InvalidContactPointError):
        contact_points.webhook_url(text)


@pytest.mark.parametrize("text", ["http://127.0.0.1:8080/hook", "https://example.com/a?b=c#d"])
def test_a_web_address_is_kept(text):
    assert contact_points.webhook_url(text) == text


@pytest.mark.parametrize("text", ["", "two words", "tab\t", "naïve", "x" * 4097])
def test_what_is_no_push_token_is_refused(text):
    with pytest.raises(InvalidContactPointError):
        contact_points.push_token(text)


@pytest.mark.parametrize(
    ("text", "good"), [("123", True), ("-1001234567890", True), ("@news_at", True), ("@1x", False), ("12a", False), ("", False)]
)
def test_a_telegram_chat_is_a_number_or_a_channel(text, good):
    if good:
        assert contact_points.telegram_chat_id(text) == text
    else:
        with pytest.raises(InvalidContactPointError):
            contact_points.telegram_chat_id(text)


@given(st.sampled_from(list(Channel)), st.text(max_size=300))
def test_any_text_is_brought_into_a_stable_form_or_refused(channel, text):
    try:
        normal = NORMAL_FORM[channel](text)
    except InvalidContactPointError:
        return
    assert NORMAL_FORM[channel](normal) == normal
    assert comparable(channel, comparable(channel, normal)) == comparable(channel, normal)
    assert "\x00" not in normal


def test_only_email_addresses_are_compared_without_regard_to_case():
    assert comparable(Channel.EMAIL, "A@B.co") == "a@b.co"
    assert comparable(Channel.PUSH, "ABC") == "ABC"


def test_a_domain_is_the_same_in_either_alphabet():
    for domain in ("MÜNCHEN.de", "xn--mnchen-3ya.de", "XN--Mnchen-3YA.DE"):
        assert comparable(Channel.EMAIL, f"Ada@{domain}") == "ada@xn--mnchen-3ya.de"
    assert comparable(Channel.EMAIL, "ada@\u2190.test") == "ada@\u2190.test", "an arrow is in no domain"


def test_each_channel_has_its_own_address():
    contact = Contact(
        user_id="u",
        email="a@b.co",
        phone="+14155550100",
        telegram_chat_id="7",
        webhook_url="https://a.co",
        push_tokens=["x", "y"],
    )
    assert {channel: contact.address_for(channel) for channel in Channel} == {
        Channel.EMAIL: ("a@b.co",),
        Channel.SMS: ("+14155550100",),
        Channel.PUSH: ("x", "y"),
        Channel.IN_APP: ("u",),
        Channel.CHAT: ("7",),
        Channel.WEBHOOK: ("https://a.co",),
    }


def test_nobody_is_reached_where_there_is_no_address():
    assert [Contact(user_id="").address_for(channel) for channel in Channel] == [()] * len(Channel)
