"""Every way a posted event can be wrong is named; nothing else is."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ParseError

from notifications.intake import read_event
from tenants.http.problems import InvalidRequest

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def fields_of(body: bytes) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as caught:
        read_event(body, now=NOW)
    return sorted((error.field, error.code) for error in caught.value.errors)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", [("eventType", "required")]),
        (b"[]", [("", "type")]),
        (b'{"eventType": "a b"}', [("eventType", "type")]),
        (b'{"eventType": "a", "colour": 1, "shape": 2}', [("colour", "unknown"), ("shape", "unknown")]),
        (b'{"eventType": "a", "priority": "asap"}', [("priority", "choice")]),
        (b'{"eventType": "a", "channels": ["email", "fax"]}', [("channels[1]", "choice")]),
        (b'{"eventType": "a", "channels": ["sms", "sms"]}', [("channels", "repeated")]),
        (b'{"eventType": "a", "channels": []}', [("channels", "type")]),
        (b'{"eventType": "a", "scheduledAt": "tomorrow"}', [("scheduledAt", "datetime")]),
        (b'{"eventType": "a", "scheduledAt": "2026-03-01T10:00:00"}', [("scheduledAt", "type")]),
        (b'{"eventType": "a", "scheduledAt": "2028-03-01T10:00:00Z"}', [("scheduledAt", "too_far")]),
        (b'{"eventType": "a", "scheduledAt": "0001-01-01T00:00:00+23:59"}', [("scheduledAt", "datetime")]),
        (b'{"eventType": "a", "expiresAt": "9999-12-31T23:59:59-23:59"}', [("expiresAt", "datetime")]),
        (
            b'{"eventType": "a", "scheduledAt": "2026-04-01T10:00:00Z", "expiresAt": "2026-03-02T10:00:00Z"}',
            [("expiresAt", "contradiction")],
        ),
        (b'{"eventType": "a", "userId": "u", "to": {"email": "a@b.c"}}', [("to", "contradiction")]),
        (b'{"eventType": "a", "to": {"email": "nobody"}}', [("to.email", "type")]),
        (b'{"eventType": "a", "to": [{"email": "a@b.c"}, {"phone": "123"}]}', [("to[1].phone", "type")]),
        (b'{"eventType": "a", "to": {"topic": "news", "email": "a@b.c"}}', [("to.topic", "contradiction")]),
        (b'{"eventType": "a", "to": [{"topic": "news"}]}', [("to[0].topic", "contradiction")]),
        (b'{"eventType": "a", "to": {"locale": "de"}}', [("to", "required")]),
        (b'{"eventType": "a", "to": {"userId": "u", "timezone": "Mars/Base"}}', [("to.timezone", "timezone")]),
        (b'{"eventType": "a", "userId": "a\\nb"}', [("userId", "type")]),
        (b'{"eventType": "a", "to": {"telegramChatId": "x y"}}', [("to.telegramChatId", "type")]),
        (b'{"eventType": "a", "to": {"pushTokens": ["\xc3\xa4"]}}', [("to.pushTokens[0]", "type")]),
        (b'{"eventType": "a", "data": [1]}', [("data", "type")]),
        (b'{"eventType": "a", "data": {"name": "x\\u0000y"}}', [("data.name", "nul")]),
        (b'{"eventType": "a", "eventId": "\\u0000"}', [("eventId", "nul")]),
        (b'{"event_type": "a"}', [("event_id", "required")]),
        (b'{"event_type": "a", "event_id": "1", "userId": "u"}', [("userId", "unknown")]),
        (b'{"eventType": 5, "userId": 7, "data": "x"}', [("data", "type"), ("eventType", "type"), ("userId", "type")]),
    ],
)
def test_each_fault_names_its_field(body, expected):
    assert fields_of(body) == expected


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"eventType": "\\ud800"}', b"nul", b'{"a": ' * 5000])
def test_what_is_not_json_is_said_to_be_so(body):
    with pytest.raises(ParseError):
        read_event(body, now=NOW)


def test_an_escaped_backslash_before_u0000_is_no_nul():
    assert read_event(b'{"eventType": "a", "data": {"x": "\\\\u0000"}}', now=NOW).data == '{"x":"\\\\u0000"}'


def test_the_short_envelope_is_the_long_one_without_a_recipient():
    short = read_event(b'{"event_type": "a", "event_id": "1", "payload": {"k": 1}}', now=NOW)
    long = read_event(b'{"eventType": "a", "eventId": "1", "data": {"k": 1}}', now=NOW)
    assert (short.content_hash, short.event_id, short.data) == (long.content_hash, long.event_id, long.data)


def test_content_is_compared_without_regard_to_key_order_zone_or_id():
    one = read_event(b'{"eventType":"a","eventId":"1","data":{"x":1,"y":2},"scheduledAt":"2026-05-01T12:00:00+02:00"}', now=NOW)
    two = read_event(b'{"scheduledAt":"2026-05-01T10:00:00Z","data":{"y":2,"x":1},"eventId":"2","eventType":"a"}', now=NOW)
    assert one.content_hash == two.content_hash


def test_other_content_has_another_hash():
    one = read_event(b'{"eventType":"a","data":{"x":1}}', now=NOW)
    two = read_event(b'{"eventType":"a","data":{"x":2}}', now=NOW)
    assert one.content_hash != two.content_hash


def taken_or_refused(body: bytes) -> bool:
    """Whether the body is an event, or is answered with 400; anything else is raised."""
    try:
        return read_event(body, now=NOW).event_id != ""
    except (InvalidRequest, ParseError) as error:
        return error.status_code == 400


_leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.binary(max_size=200))
def test_no_bytes_whatever_escape_the_two_errors(body):
    assert taken_or_refused(body)


@given(st.recursive(_leaves, lambda v: st.lists(v) | st.dictionaries(st.text(), v)))
def test_no_json_whatever_escapes_the_two_errors(value):
    for body in ({"eventType": "a", "data": value}, {"eventType": value}, {"eventType": "a", "to": value}, value):
        assert taken_or_refused(json.dumps(body).encode("utf-8", "surrogatepass"))
