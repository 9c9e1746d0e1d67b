"""Tokens of links: what one tenant signed for one purpose is believed, and nothing else."""

import base64

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from preferences.centre import links
from preferences.centre.links import BadLinkError, CentreLink, Signer, UnsubscribeLink, signer_of, unverified
from tenants.fields import encrypt
from tenants.vocabulary import Channel

ACME, STRANGER = Signer("acme's secret"), Signer("the stranger's")
LINK = UnsubscribeLink(7, 1_700_000_000, Channel.EMAIL, "order.shipped", "ada", "")

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=255)
unsubscribe_links = st.builds(
    UnsubscribeLink,
    st.integers(1, 2**63 - 1),
    st.integers(0, 2**40),
    st.sampled_from(Channel),
    names,
    names,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=2000),
)
centre_links = st.builds(CentreLink, st.integers(1, 2**63 - 1), st.integers(0, 2**40), names)


def is_good(token: str, kind: type = UnsubscribeLink, signer: Signer = ACME) -> bool:
    try:
        unverified(token, kind)
        return signer.has_signed(token, kind)
    except BadLinkError:
        return False


@given(unsubscribe_links | centre_links)
def test_a_link_says_what_was_signed(link):
    token = ACME.token(link)
    assert unverified(token, type(link)) == link
    assert is_good(token, type(link))
    assert not is_good(token, type(link), STRANGER)


@given(unsubscribe_links | centre_links)
def test_a_link_of_one_kind_is_none_of_the_other(link):
    other = CentreLink if isinstance(link, UnsubscribeLink) else UnsubscribeLink
    assert not is_good(ACME.token(link), other)


def test_each_kind_has_a_key_of_its_own():
    token = ACME.token(CentreLink(7, 1, "ada"))
    assert ACME.has_signed(token, CentreLink)
    assert not ACME.has_signed(token, UnsubscribeLink)


@given(st.data())
def test_no_character_can_be_changed_left_out_or_added(data):
    token = ACME.token(LINK)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
    changed = token[:place] + letter + token[place + 1 :]
    assert is_good(changed) == (changed == token)
    assert not is_good(token[:place])
    assert not is_good(token[:place] + letter + token[place:])


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("=")))
def test_whatever_stands_there_it_is_refused_and_nothing_breaks(text):
    assert not is_good(text)
    assert not is_good(text, CentreLink)


@pytest.mark.parametrize(
    "token", ["", "=", "a", "example", "x" * 20_000, "ü" * 40, ACME.token(LINK) + "=", ACME.token(LINK) + "\n"]
)
def test_what_no_token_looks_like(token):
    assert not is_good(token)


def test_without_a_secret_nothing_is_signed():
    with pytest.raises(ValueError, match="anybody"):
        Signer("")


def test_a_link_is_short_enough_for_any_mail_program():
    assert len(ACME.token(LINK)) < 80


def test_a_link_outlasts_a_change_of_the_installations_keys(settings):
    old, new = settings.ENCRYPTION_KEYS[0], Fernet.generate_key().decode()
    token = signer_of(encrypt("acme's secret")).token(LINK)
    settings.SECRET_KEY = "another" * 10
    settings.ENCRYPTION_KEYS = [new, old]
    sealed_anew = encrypt("acme's secret")
    settings.ENCRYPTION_KEYS = [new]
    assert signer_of(sealed_anew).has_signed(token, UnsubscribeLink)


def test_a_secret_that_no_key_opens_makes_no_links_and_stops_nothing(settings, caplog):
    sealed = encrypt("acme's secret")
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    signer_of.cache_clear()
    assert signer_of(sealed) is None
    assert signer_of("") is None
    assert "acme's secret" not in caplog.text


def test_a_template_gets_the_links_it_asks_for_and_the_one_there_is_without_a_user():
    asked = {"tenant_id": 7, "now_s": 1_700_000_000, "unsubscribe_token": "T"}
    both = frozenset({"unsubscribe_url", "preferences_url"})
    found = links.links_for(ACME, both, user_id="ada", **asked)
    assert found["unsubscribe_url"].endswith("/u/T")
    centre = unverified(found["preferences_url"].rpartition("/")[2], CentreLink)
    assert centre == CentreLink(7, 1_700_000_000 + 90 * 86_400, "ada")
    assert set(links.links_for(ACME, frozenset({"preferences_url"}), user_id="ada", **asked)) == {"preferences_url"}
    nobody = links.links_for(ACME, frozenset({"preferences_url"}), user_id="", **asked)
    assert nobody["preferences_url"].endswith("/u/T")
