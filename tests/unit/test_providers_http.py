from __future__ import annotations

import base64
import ipaddress
import secrets
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from deliveries.providers.http import LONGEST_RETRY_AFTER_S, failed_by_vendor, failure_of_status, retry_after
from deliveries.providers.messages import AUTH, Failure
from deliveries.providers.outbound import AddressPolicy
from deliveries.providers.signing import signed_headers, signing_secret


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("1.5", 1.5),
        ("999999999", LONGEST_RETRY_AFTER_S),
        ("", None),
        (None, None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read(header, seconds):
    assert retry_after(header) == seconds


def test_retry_after_may_be_a_date():
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after(date) == pytest.approx(60, abs=2)


@given(st.text())
def test_retry_after_of_any_text_is_bounded_or_nothing(text):
    seconds = retry_after(text)
    assert seconds is None or 0 <= seconds <= LONGEST_RETRY_AFTER_S


@pytest.mark.parametrize(
    ("status", "wait_s", "failure"),
    [
        (301, None, Failure.PERMANENT),
        (400, None, Failure.PERMANENT),
        (403, None, Failure.PERMANENT),
        (404, None, Failure.PERMANENT),
        (408, None, Failure.TRANSIENT),
        (410, None, Failure.PERMANENT),
        (422, 5, Failure.PERMANENT),
        (425, None, Failure.TRANSIENT),
        (429, None, Failure.THROTTLED),
        (500, None, Failure.TRANSIENT),
        (503, None, Failure.TRANSIENT),
        (503, 5, Failure.THROTTLED),
        (504, None, Failure.TRANSIENT),
        (599, None, Failure.TRANSIENT),
    ],
)
def test_a_status_has_its_class(status, wait_s, failure):
    assert failure_of_status(status, wait_s) is failure


def test_unauthorized_is_the_accounts_fault():
    failed = failed_by_vendor(401, "no", headers={})
    assert (failed.failure, failed.code) == (Failure.TRANSIENT, AUTH)


PUBLIC_ONLY = AddressPolicy()


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001:81b::200e", "2002:808:808::1"]
)
def test_public_addresses_are_permitted(address):
    assert PUBLIC_ONLY.permits(address)


@pytest.mark.parametrize(
    "network",
    [
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "::/96", "100::/64", "2001:db8::/32", "2001::/32", "3fff::/20"),
        *("4000::/3", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "::ffff:127.0.0.0/104"),
        *("::ffff:10.0.0.0/104", "2001:20::/28", "64:ff9b:1::10.0.0.0/104"),
        *("64:ff9b::10.0.0.0/104", "64:ff9b::169.254.0.0/112", "2002:a00::/24", "2002:7f00::/24", "2002:c0a8::/32"),
    ],
)
@given(data=st.data())
def test_no_address_of_a_network_inside_is_permitted(network, data):
    inside = ipaddress.ip_network(network)
    # Bits as bytes: `st.ip_addresses` draws a large network's addresses with zeros at the end only.
    bits = int.from_bytes(data.draw(st.binary(min_size=16, max_size=16)))
    address = inside[bits & int(inside.hostmask)]
    assert not PUBLIC_ONLY.permits(str(address))


@pytest.mark.parametrize("text", ["", "localhost", "fe80::1%eth0", "127.1", "0x7f.1", "1.2.3.4/32"])
def test_what_is_no_numeric_address_is_not_permitted(text):
    assert not PUBLIC_ONLY.permits(text)


@given(st.ip_addresses(network="10.1.0.0/16"))
def test_networks_of_the_settings_are_permitted_in_any_spelling(address):
    policy = AddressPolicy.of(["10.1.0.0/16", "fd00::/8"], loopback=False)
    assert policy.permits(str(address))
    assert policy.permits(f"::ffff:{address}")
    assert policy.permits("fd12::1")
    assert not policy.permits("10.2.0.1")
    assert not policy.permits("127.0.0.1")


def test_a_developers_own_machine_is_permitted_to_him():
    policy = AddressPolicy.of([], loopback=True)
    assert all(map(policy.permits, ["127.0.0.1", "127.8.9.1", "::1"]))
    assert not policy.permits("10.0.0.1")


@given(st.ip_addresses(v=4))
def test_an_embedded_ipv4_address_is_judged_like_itself(address):
    plain = PUBLIC_ONLY.permits(str(address))
    assert PUBLIC_ONLY.permits(f"::ffff:{address}") == plain
    nat64 = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address))
    assert PUBLIC_ONLY.permits(str(nat64)) == plain


@given(st.binary(min_size=24, max_size=64), st.text(max_size=200))
def test_a_signature_made_with_the_stored_secret_verifies_with_the_shown_one(key, body):
    stored = base64.urlsafe_b64encode(key).rstrip(b"=").decode()
    shown = signing_secret(stored)
    headers = signed_headers(shown, message_id="msg_1", at=datetime.now(UTC), body=body)
    Webhook(shown).verify(body, headers, json_parse=False)
    assert shown.startswith("whsec_")
    assert base64.b64decode(shown.removeprefix("whsec_")) == key


def test_the_timestamp_is_in_utc_whatever_the_zone_of_this_machine(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        secret = signing_secret(secrets.token_urlsafe(48))
        headers = signed_headers(secret, message_id="m", at=datetime.now(UTC), body="{}")
        Webhook(secret).verify("{}", headers)
        assert int(headers["webhook-timestamp"]) == pytest.approx(time.time(), abs=5)
    finally:
        monkeypatch.undo()
        time.tzset()
