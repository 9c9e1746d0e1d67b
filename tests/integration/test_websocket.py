"""The websocket against a real server, a real Redis and real clients."""

from __future__ import annotations

import json
import socket
import time
from datetime import timedelta

import pytest
import redis
from django.db import OperationalError, connection
from websockets.exceptions import InvalidStatus

from deliveries.inbox import consumers, publisher, session, tally
from deliveries.inbox.live import WEBSOCKETS
from deliveries.models import Delivery
from deliveries.states import Status
from tenants.redis import client
from tenants.throttling.limits import RateLimit
from tests.conftest import user_client
from tests.factories import TenantFactory
from tests.integration.inbox_world import delivered_to_inbox, ids, published, recorded, stored, token, websocket_server

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(transactional_db):
    return TenantFactory(slug="acme")


@pytest.fixture
def stranger(transactional_db):
    return TenantFactory(slug="stranger")


@pytest.fixture
def server(transactional_db):
    with websocket_server() as running:
        yield running


def test_an_item_published_arrives_as_the_contract_says(server, tenant):
    with server.browser(token(tenant)) as browser:
        assert browser.frames == [{"type": "ready", "counts": {"unread": 0, "unseen": 0, "total": 0}}]
        (delivery,) = delivered_to_inbox(tenant, subject="Welcome", body="Hello Ada", data={"snake_case": [1, None]})
        frame = browser.hear()
        assert frame == {
            "type": "notification",
            "id": str(delivery.pk),
            "eventType": "account",
            "title": "Welcome",
            "body": "Hello Ada",
            "data": {"snake_case": [1, None]},
            "createdAt": delivery.created_at.isoformat().replace("+00:00", "Z"),
        }
        assert browser.hear() == {"type": "counts", "unread": 1, "unseen": 1, "total": 1}


def test_a_client_that_never_subscribes_is_sent_what_comes_all_the_same(server, tenant):
    with server.browser(token(tenant), subscribe=False) as browser:
        wanted = ids(delivered_to_inbox(tenant, count=3))
        assert browser.hear_all_of(wanted) == wanted


def test_the_token_may_come_as_a_subprotocol(server, tenant):
    with server.raw(subprotocols=["bearer", token(tenant)]) as browser:
        assert browser.connection.subprotocol == "bearer"
        assert browser.hear()["type"] == "ready"


def test_the_limit_on_requests_is_none_on_sockets(server, tenant, settings):
    settings.USER_RATE_LIMIT = RateLimit(1, 3600)
    client().flushdb()
    api = user_client(tenant, "ada")
    assert [api.get("/api/inbox").status_code for _ in range(2)] == [200, 429]
    for _ in range(3):
        with server.browser(token(tenant, "ada")) as browser:
            assert browser.frames[0]["type"] == "ready"


@pytest.mark.parametrize("query", ["", "?token=", "?token=nonsense", "?token=%00%ff", "?token=a.b.c"])
def test_without_a_valid_token_the_socket_closes_with_4401(server, query):
    with server.raw(query) as browser:
        assert browser.closed_with() == 4401


def test_another_tenants_signature_does_not_open_an_inbox(server, tenant, stranger):
    tenant.user_token_secret = stranger.user_token_secret
    with server.raw(f"?token={token(tenant)}") as browser:
        assert browser.closed_with() == 4401


def test_the_socket_closes_when_its_token_expires(server, tenant):
    with server.raw(f"?token={token(tenant, ttl=timedelta(seconds=3))}") as browser:
        assert browser.hear()["type"] == "ready"
        assert browser.closed_with() == 4401


def test_a_token_of_an_inactive_tenant_is_refused(server, tenant):
    text = token(tenant)
    tenant.is_active = False
    tenant.save()
    with server.raw(f"?token={text}") as browser:
        assert browser.closed_with() == 4401


def test_the_same_user_id_of_another_tenant_hears_nothing(server, tenant, stranger):
    with server.browser(token(tenant)) as ours, server.browser(token(stranger)) as theirs:
        wanted = ids(delivered_to_inbox(tenant))
        ours.hear_all_of(wanted)
        assert theirs.settle() == []


def test_user_ids_of_any_characters_have_inboxes_of_their_own(server, tenant):
    awkward = ["a:b", "a/b", "Ä ö\n\u2028😀", "x" * 255, "1:2"]
    for user_id in awkward:
        with server.browser(token(tenant, user_id)) as browser:
            wanted = ids(delivered_to_inbox(tenant, user_id))
            for other in awkward:
                if other != user_id:
                    delivered_to_inbox(tenant, other)
            browser.hear_all_of(wanted)
            assert browser.settle() == wanted


def test_what_was_missed_comes_first_in_order_and_nothing_twice(server, tenant):
    with server.browser(token(tenant)) as browser:
        seen = ids(delivered_to_inbox(tenant, count=3))
        browser.hear_all_of(seen)
    missed = ids(delivered_to_inbox(tenant, count=120))
    with server.browser(token(tenant), subscribe=False) as browser:
        live = ids(delivered_to_inbox(tenant, count=2))  # while the client has not subscribed yet
        browser.say(type="subscribe", since=seen[-1])
        browser.hear_all_of(live)
        assert browser.settle() == missed + live


def test_an_item_made_earlier_but_published_later_is_not_missed(server, tenant):
    """Ids tell when a delivery was made, not when it was published: one held back overnight has an old id."""
    held_back = stored(tenant)
    with server.browser(token(tenant)) as browser:
        (seen,) = ids(delivered_to_inbox(tenant))
        browser.hear_all_of([seen])
    recorded([held_back], published([held_back]))
    assert str(held_back.pk) < seen
    with server.browser(token(tenant), since=seen) as browser:
        assert browser.hear_all_of(ids([held_back])) == ids([held_back])


def test_an_item_published_but_not_recorded_when_the_client_comes_back_is_not_missed(server, tenant):
    with server.browser(token(tenant)) as browser:
        (seen,) = ids(delivered_to_inbox(tenant))
        browser.hear_all_of([seen])
    late = stored(tenant)
    outcomes = published([late])
    later = ids(delivered_to_inbox(tenant))
    with server.browser(token(tenant), since=seen) as browser:
        with pytest.raises(TimeoutError):
            browser.hear(timeout=0.5)  # nothing overtakes it
        recorded([late], outcomes)
        assert browser.hear_all_of(later) == ids([late]) + later


def test_an_item_whose_worker_died_holds_nothing_up_for_long(server, tenant):
    (seen,) = ids(delivered_to_inbox(tenant))
    published([stored(tenant)])
    later = ids(delivered_to_inbox(tenant))
    with server.browser(token(tenant), since=seen) as browser:
        assert browser.hear_all_of(later) == later


def test_the_last_item_seen_may_not_be_recorded_yet_itself(server, tenant):
    with server.browser(token(tenant)) as browser:
        first = stored(tenant)
        outcomes = published([first])
        browser.hear_all_of(ids([first]))
    missed = ids(delivered_to_inbox(tenant))
    with server.browser(token(tenant), since=str(first.pk)) as browser:
        recorded([first], outcomes)
        browser.hear_all_of(missed)
        assert browser.settle() == missed


def test_an_item_published_twice_by_a_worker_that_died_is_sent_once(server, tenant):
    with server.browser(token(tenant)) as browser:
        twice = stored(tenant)
        published([twice])
        recorded([twice], published([twice]))
        after = ids(delivered_to_inbox(tenant))
        assert browser.hear_all_of(after) == ids([twice]) + after


def test_since_an_id_that_is_gone_brings_what_came_after_it_was_made(server, tenant):
    gone = delivered_to_inbox(tenant)[0]
    missed = ids(delivered_to_inbox(tenant, count=2))
    Delivery.objects.filter(pk=gone.pk).delete()
    with server.browser(token(tenant), since=str(gone.pk)) as browser:
        assert browser.hear_all_of(missed) == missed


@pytest.mark.parametrize("since", ["ffffffff-ffff-7fff-bfff-ffffffffffff", "00000000-0000-7000-8000-000000000000"])
def test_since_an_id_from_the_ends_of_time(server, tenant, since):
    with server.browser(token(tenant), since=since) as browser:
        wanted = ids(delivered_to_inbox(tenant))
        assert browser.hear_all_of(wanted) == wanted


def test_reading_in_one_tab_tells_the_other(server, tenant):
    with server.browser(token(tenant)) as one, server.browser(token(tenant)) as other:
        (delivery,) = delivered_to_inbox(tenant)
        for tab in (one, other):
            tab.hear_all_of(ids([delivery]))
            tab.hear_until(lambda frame: frame.get("unread") == 1)
        one.say(type="markRead", deliveryId=str(delivery.pk))
        for tab in (one, other):
            assert tab.hear_type("counts") == {"type": "counts", "unread": 0, "unseen": 0, "total": 1}
    delivery.refresh_from_db()
    assert delivery.status == Status.DELIVERED
    assert delivery.read_at


def test_changes_over_http_reach_open_tabs(server, tenant):
    delivered_to_inbox(tenant, count=2)
    with server.browser(token(tenant)) as tab:
        assert tab.frames[0]["counts"] == {"unread": 2, "unseen": 2, "total": 2}
        user_client(tenant, "user_1").post("/api/inbox/mark-all-seen")
        assert tab.hear_type("counts") == {"type": "counts", "unread": 2, "unseen": 0, "total": 2}


def test_all_that_was_shown_can_be_marked_even_what_is_not_recorded_yet(server, tenant):
    with server.browser(token(tenant)) as browser:
        delivery = stored(tenant)
        published([delivery])
        browser.hear_all_of(ids([delivery]))
        assert browser.hear_type("counts") == {"type": "counts", "unread": 1, "unseen": 1, "total": 1}
        browser.say(type="markAllRead")
        assert browser.hear_type("counts") == {"type": "counts", "unread": 0, "unseen": 0, "total": 1}


def test_another_tenants_item_cannot_be_marked(server, tenant, stranger):
    (theirs,) = delivered_to_inbox(stranger)
    with server.browser(token(tenant)) as browser:
        browser.say(type="markRead", deliveryId=str(theirs.pk))
        assert browser.hear_type("error")["code"] == "not_found"
    theirs.refresh_from_db()
    assert theirs.read_at is None


@pytest.mark.parametrize(
    ("hostile", "code"),
    [
        ("", "malformed"),
        ("{", "malformed"),
        ('{"type": "ping", "deep": ' + "[" * 4000, "malformed"),
        ("null", "invalid"),
        ("[]", "invalid"),
        ("{}", "invalid"),
        ('{"type": "websocket.disconnect"}', "invalid"),
        ('{"type": {"a": 1}}', "invalid"),
        ('{"type": "markRead"}', "invalid"),
        ('{"type": "markRead", "deliveryId": "\\u0000"}', "invalid"),
        ('{"type": "markRead", "deliveryId": "00000000-0000-0000-0000-000000000000"}', "not_found"),
        ('{"type": "subscribe", "since": 5}', "invalid"),
        ('{"type": "subscribe", "since": "00000000-0000-4000-8000-000000000000"}', "invalid"),
        ('{"type": "ping", "padding": "' + "x" * 100_000 + '"}', "too_large"),
        (b"\x00\xff", "malformed"),
    ],
)
def test_a_hostile_frame_is_answered_and_harms_nothing(server, tenant, hostile, code):
    with server.browser(token(tenant), subscribe=False) as browser:
        browser.connection.send(hostile)
        frame = browser.hear_type("error")
        assert frame["code"] == code
        assert frame["message"]
        wanted = ids(delivered_to_inbox(tenant))
        assert browser.hear_all_of(wanted) == wanted


def test_a_flood_is_refused_and_then_disconnected(server, tenant):
    with server.browser(token(tenant)) as browser:
        ping = json.dumps({"type": "ping"})
        for _ in range(1_000):
            browser.connection.send(ping)
        assert browser.closed_with() == 1008
        answers = [frame["type"] for frame in browser.frames]
        assert answers.count("pong") <= session.MOST_COMMANDS + 10 * session.FRAMES_PER_S
        assert {frame["code"] for frame in browser.frames if frame["type"] == "error"} == {"rate_limited"}


def test_a_client_that_does_not_read_is_brought_everything_when_it_does(server, tenant):
    """Its frames are dropped rather than kept, and read from PostgreSQL again."""
    large = {"filling": "x" * 20_000}
    with server.raw(f"?token={token(tenant)}", max_queue=1) as browser:
        assert browser.hear()["type"] == "ready"
        browser.say(type="subscribe")
        wanted = [item for _ in range(40) for item in ids(delivered_to_inbox(tenant, count=25, data=large))]
        browser.hear_all_of(wanted)
        assert browser.settle() == wanted


def test_a_lost_link_to_redis_loses_nothing(server, tenant):
    """Redis closes the connection of a subscriber that cannot keep up, or restarts; the layer comes back and says nothing."""
    with server.browser(token(tenant)) as browser:
        wanted = ids(delivered_to_inbox(tenant, count=3))
        browser.hear_all_of(wanted)
        client().execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        wanted += ids(delivered_to_inbox(tenant, count=3))
        browser.hear_all_of(wanted)
        wanted += ids(delivered_to_inbox(tenant, count=3))
        browser.hear_all_of(wanted)
        assert browser.settle() == wanted


def test_a_lost_connection_to_postgresql_is_made_again(server, tenant):
    with server.browser(token(tenant)) as browser:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        (delivery,) = delivered_to_inbox(tenant)
        browser.hear_all_of(ids([delivery]))
        browser.say(type="markRead", deliveryId=str(delivery.pk))
        assert browser.hear_until(lambda frame: frame.get("unread") == 0)["total"] == 1


@pytest.fixture
def no_redis(monkeypatch):
    """Publishing fails from the call on, and works again from the next one on."""
    working = publisher.client
    away = redis.Redis(unix_socket_path="/nonexistent/redis.sock")

    def switch(*, away_now: bool) -> None:
        monkeypatch.setattr(publisher, "client", (lambda: away) if away_now else working)

    return switch


def test_a_gap_is_filled_when_redis_is_back(server, tenant, no_redis, caplog):
    with server.browser(token(tenant)) as browser:
        no_redis(away_now=True)
        client().execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        deadline = time.monotonic() + 10
        while "inbox_catch_up_delayed" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        no_redis(away_now=False)
        wanted = ids(delivered_to_inbox(tenant, count=2))
        assert browser.hear_all_of(wanted) == wanted


def test_without_redis_the_client_is_told_to_come_back(server, tenant, no_redis):
    no_redis(away_now=True)
    with server.raw(f"?token={token(tenant)}") as browser:
        assert browser.closed_with() == 1013


def test_when_the_layer_cannot_subscribe_the_client_is_told_to_come_back(server, tenant, settings):
    layer = settings.CHANNEL_LAYERS["default"]
    hosts = {"CONFIG": layer["CONFIG"] | {"hosts": ["unix:///nonexistent/redis.sock"]}}
    settings.CHANNEL_LAYERS = {"default": layer | hosts}
    with server.raw(f"?token={token(tenant)}") as browser:
        assert browser.closed_with() == 1013


def out_of_order(*_args: object, **_options: object) -> None:
    raise OperationalError("the server closed the connection unexpectedly")


def test_without_postgresql_the_client_is_told_to_come_back(server, tenant, monkeypatch):
    monkeypatch.setattr(consumers, "grant", out_of_order)
    with server.raw(f"?token={token(tenant)}") as browser:
        assert browser.closed_with() == 1013


def test_a_command_that_postgresql_cannot_take_is_answered(server, tenant, monkeypatch):
    with server.browser(token(tenant)) as browser:
        monkeypatch.setattr(session.services, "mark_all_read", out_of_order)
        browser.say(type="markAllRead")
        assert browser.hear_type("error")["code"] == "unavailable"
        assert browser.settle() == []


def test_counts_that_could_not_be_had_are_sent_later(server, tenant, monkeypatch):
    count = tally.count_inboxes
    with server.browser(token(tenant)) as browser:
        failures = iter([OperationalError("once")])

        def fail_once(requests):
            if error := next(failures, None):
                raise error
            return count(requests)

        monkeypatch.setattr(tally, "count_inboxes", fail_once)
        delivered_to_inbox(tenant)
        assert browser.hear_type("counts")["unread"] == 1


def test_a_fault_of_ours_closes_the_socket_and_is_logged(server, tenant, monkeypatch, caplog):
    def fault(*_args):
        raise LookupError("of ours")

    with server.browser(token(tenant)) as browser:
        monkeypatch.setattr(session.services, "mark_all_read", lambda **_: fault())
        browser.say(type="markAllRead")
        assert browser.closed_with() == 1011
    assert "inbox_session_failed" in caplog.text


def test_open_sockets_are_counted(server, tenant):
    before = WEBSOCKETS._value.get()
    with server.browser(token(tenant)), server.browser(token(tenant)):
        assert WEBSOCKETS._value.get() == before + 2
    deadline = time.monotonic() + 10
    while WEBSOCKETS._value.get() != before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_unknown_path_is_refused(server):
    with pytest.raises(InvalidStatus):
        server.raw("../elsewhere").__enter__()


@pytest.mark.parametrize(
    ("path", "header", "status"), [("x" * 9_000, "", 414), ("x" * 70_000, "", 414), ("", "X-Long: " + "y" * 9_000, 431)]
)
def test_a_handshake_too_long_to_read_is_refused_and_closed(server, path, header, status):
    request = [
        f"GET /ws/notifications/?token={path} HTTP/1.1",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *([header] if header else []),
    ]
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall("\r\n".join([*request, "", ""]).encode())
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
