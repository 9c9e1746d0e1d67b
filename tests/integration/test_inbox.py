"""The inbox over HTTP, its counts, and handing items over to it."""

from __future__ import annotations

import uuid

import pytest
import redis
from channels.layers import get_channel_layer
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from deliveries.dispatch import dispatch
from deliveries.inbox import publisher
from deliveries.inbox.frames import Counts, group_of
from deliveries.inbox.provider import InAppProvider
from deliveries.inbox.selectors import CountRequest, Inbox, count_inboxes, page_after, position_of
from deliveries.models import Delivery
from deliveries.providers.messages import Failed, Failure, Sent
from deliveries.states import Status
from tenants.redis import client
from tenants.vocabulary import Channel
from tests.conftest import user_client
from tests.integration.inbox_world import delivered_to_inbox, ids, published, recorded, stored
from tests.messages import a_message, send_all


@pytest.fixture
def ada(tenant):
    return user_client(tenant, "user_1")


def listed(browser: APIClient, query: str = "") -> list[str]:
    return [item["id"] for item in browser.get(f"/api/inbox{query}").json()["results"]]


def counts_of(browser: APIClient) -> tuple[int, int, int]:
    counts = browser.get("/api/inbox/counts").json()
    return counts["unread"], counts["unseen"], counts["total"]


# Lists


def test_an_item_shows_what_was_sent(tenant, ada):
    (delivery,) = delivered_to_inbox(tenant, subject="Welcome", body="Hello Ada", data={"snake_case": {"a": None}})
    assert ada.get("/api/inbox").json() == {
        "results": [
            {
                "id": str(delivery.pk),
                "eventType": "account",
                "title": "Welcome",
                "body": "Hello Ada",
                "data": {"snake_case": {"a": None}},
                "createdAt": delivery.created_at.isoformat().replace("+00:00", "Z"),
                "seenAt": None,
                "readAt": None,
                "archivedAt": None,
            }
        ],
        "next": None,
        "previous": None,
    }


def test_items_are_listed_newest_first_in_pages(tenant, ada):
    wanted = ids(delivered_to_inbox(tenant, count=5))[::-1]
    first = ada.get("/api/inbox?limit=2").json()
    assert [item["id"] for item in first["results"]] == wanted[:2]
    second = ada.get(first["next"]).json()
    assert [item["id"] for item in second["results"]] == wanted[2:4]


def test_each_list_shows_its_items(tenant, ada):
    unread, read, archived = ids(delivered_to_inbox(tenant, count=3))
    ada.patch(f"/api/inbox/{read}", {"read": True})
    ada.patch(f"/api/inbox/{archived}", {"archived": True})
    assert listed(ada) == [read, unread]
    assert listed(ada, "?status=unread") == [unread]
    assert listed(ada, "?status=read") == [read]
    assert listed(ada, "?status=archived") == [archived]


@pytest.mark.parametrize("status", set(Status) - {Status.SENT, Status.DELIVERED})
def test_only_what_was_sent_shows(tenant, ada, status):
    stored(tenant, status=status)
    assert listed(ada) == []
    assert counts_of(ada) == (0, 0, 0)


def test_other_channels_do_not_show(tenant, ada):
    stored(tenant, status=Status.SENT, channel=Channel.EMAIL)
    assert listed(ada) == []
    assert counts_of(ada) == (0, 0, 0)


@pytest.mark.parametrize(
    "query", ["?status=new", "?status=", "?status=read&status=read", "?state=read", "?status=%00", "?limit=0"]
)
def test_a_wrong_query_is_refused(ada, query):
    response = ada.get(f"/api/inbox{query}")
    assert response.status_code == 400
    assert response.json()["errors"]


# Marks


def test_reading_marks_as_seen_and_delivered(tenant, ada):
    (delivery,) = delivered_to_inbox(tenant)
    item = ada.patch(f"/api/inbox/{delivery.pk}", {"read": True}).json()
    assert item["readAt"]
    assert item["seenAt"]
    delivery.refresh_from_db()
    assert delivery.status == Status.DELIVERED
    assert delivery.delivered_at
    assert counts_of(ada) == (0, 0, 1)


def test_a_mark_keeps_its_first_time_and_can_be_taken_back(tenant, ada):
    (item,) = ids(delivered_to_inbox(tenant))
    first = ada.patch(f"/api/inbox/{item}", {"read": True, "archived": True}).json()
    assert ada.patch(f"/api/inbox/{item}", {"read": True}).json() == first
    back = ada.patch(f"/api/inbox/{item}", {"read": False, "archived": False}).json()
    assert (back["readAt"], back["archivedAt"]) == (None, None)
    assert back["seenAt"] == first["seenAt"]
    assert counts_of(ada) == (1, 0, 1)


def test_nothing_to_change_changes_nothing(tenant, ada):
    (item,) = ids(delivered_to_inbox(tenant))
    assert ada.patch(f"/api/inbox/{item}", {}).json()["readAt"] is None


def test_an_item_that_is_not_recorded_yet_can_be_read(tenant, ada):
    """Its frame may be on the screen already. The worker's record then finds the delivery past `sent`, and leaves it."""
    delivery = stored(tenant)
    published([delivery])
    assert ada.patch(f"/api/inbox/{delivery.pk}", {"read": True}).status_code == 200
    delivery.refresh_from_db()
    assert delivery.status == Status.DELIVERED
    assert listed(ada, "?status=read") == ids([delivery])


def test_a_bounced_delivery_is_not_moved_back(tenant, ada):
    delivery = stored(tenant, status=Status.BOUNCED)
    assert ada.patch(f"/api/inbox/{delivery.pk}", {"read": True}).status_code == 404


def test_all_can_be_marked_as_read(tenant, ada):
    delivered_to_inbox(tenant, count=3)
    assert ada.post("/api/inbox/mark-all-read").json() == {"unread": 0, "unseen": 0, "total": 3}
    assert set(Delivery.objects.values_list("status", flat=True)) == {Status.DELIVERED}


def test_all_can_be_marked_as_seen(tenant, ada):
    delivered_to_inbox(tenant, count=3)
    assert ada.post("/api/inbox/mark-all-seen", {}).json() == {"unread": 3, "unseen": 0, "total": 3}


def test_what_came_after_the_newest_shown_stays_unread(tenant, ada):
    """Also if it was made earlier: what counts is when it was published."""
    held_back = stored(tenant)
    shown = ids(delivered_to_inbox(tenant, count=2))
    recorded([held_back], published([held_back]))
    assert ada.post("/api/inbox/mark-all-read", {"before": shown[-1]}).json()["unread"] == 1
    assert listed(ada, "?status=unread") == ids([held_back])


@pytest.mark.parametrize("before", ["6f9a1c1e-9d0b-4c43-8d1f-0d2a3b7c5e10", "nonsense", 5, None])
def test_a_wrong_before_is_refused(ada, before):
    response = ada.post("/api/inbox/mark-all-read", {"before": before})
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "before"


@pytest.mark.parametrize("body", [{"read": "true"}, {"read": None}, {"read": 1}, {"seen": True}, []])
def test_a_wrong_mark_is_refused(tenant, ada, body):
    (item,) = ids(delivered_to_inbox(tenant))
    assert ada.patch(f"/api/inbox/{item}", body).status_code == 400


@pytest.mark.parametrize("item", ["nonsense", "00000000-0000-7000-8000-000000000000", "a%00b", "{}"])
def test_an_unknown_item_is_not_found(ada, item):
    assert ada.patch(f"/api/inbox/{item}", {"read": True}).status_code == 404


# Whose


def test_an_inbox_is_its_users_alone(tenant, stranger, ada):
    (delivery,) = delivered_to_inbox(tenant)
    for other in (user_client(stranger, "user_1"), user_client(tenant, "user_2")):
        assert listed(other) == []
        assert counts_of(other) == (0, 0, 0)
        assert other.patch(f"/api/inbox/{delivery.pk}", {"read": True}).status_code == 404
        assert other.post("/api/inbox/mark-all-read", {"before": str(delivery.pk)}).status_code == 400
        other.post("/api/inbox/mark-all-read")
    assert counts_of(ada) == (1, 1, 1)


def test_it_takes_a_users_token(api):
    for request in (api.get("/api/inbox"), api.get("/api/inbox/counts"), api.post("/api/inbox/mark-all-read")):
        assert request.status_code == 403
    assert APIClient().get("/api/inbox").status_code == 401


# What it costs


def test_the_number_of_statements_does_not_grow_with_the_inbox(tenant, ada):
    def statements() -> list[int]:
        requests = [
            lambda: ada.get("/api/inbox"),
            lambda: ada.get("/api/inbox/counts"),
            lambda: ada.post("/api/inbox/mark-all-seen"),
            lambda: ada.post("/api/inbox/mark-all-read"),
        ]
        numbers = []
        for request in requests:
            with CaptureQueriesContext(connection) as queries:
                assert request().status_code == 200
            numbers.append(len(queries))
        return numbers

    delivered_to_inbox(tenant)
    few = statements()
    delivered_to_inbox(tenant, count=40)
    assert statements() == few


@pytest.fixture
def crowded(tenant):
    """An inbox with much in it, among others' and among deliveries of other channels."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO deliveries_delivery (id, tenant_id, event_id, event_type, user_id, channel, priority, status, reason,
                sandbox, address, locale, subject, body, html, attempt_count, next_attempt_at, provider, error, accepted_at,
                created_at, sent_at, seen_at, read_at)
            SELECT gen_random_uuid(), %s, 'evt-' || n, 'account', 'user_' || n %% 20, CASE WHEN n %% 3 = 0 THEN 4 ELSE 1 END, 2,
                CASE WHEN n %% 7 = 0 THEN 6 ELSE 2 END, '', false, '', '', '', '', '', 1, now(), '', '', now(), now(), now(),
                now(),
                CASE WHEN n %% 10 <> 0 THEN now() END
            FROM generate_series(1, 30000) AS n
            """,
            [tenant.pk],
        )
        cursor.execute("ANALYZE deliveries_delivery")
    return Inbox(tenant_id=tenant.pk, user_id="user_1")


@pytest.mark.parametrize(
    ("what", "index"),
    [
        ("counts", {"delivery_unread", "delivery_inbox"}),
        ("unread", {"delivery_unread"}),
        ("missed", {"delivery_inbox"}),
        ("under way", {"delivery_inbox"}),
    ],
)
def test_each_read_is_served_by_an_index(crowded, ada, what, index):
    from deliveries.inbox import selectors

    reads = {
        "counts": lambda: count_inboxes([CountRequest(inbox=crowded)]),
        "unread": lambda: ada.get("/api/inbox?status=unread"),
        "missed": lambda: page_after(
            crowded, selectors.Position(selectors._EPOCH), selectors.made_at(uuid.UUID(int=2**128 - 1)), 50
        ),
        "under way": lambda: selectors.being_published(crowded),
    }
    with CaptureQueriesContext(connection) as queries:
        reads[what]()
    statement = next(query["sql"] for query in queries if "deliveries_delivery" in query["sql"])
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert all(name in plan for name in index), plan
    assert "Seq Scan on deliveries_delivery" not in plan, plan


def test_many_inboxes_are_counted_in_one_statement(tenant, stranger, django_assert_num_queries):
    delivered_to_inbox(tenant, count=2)
    delivered_to_inbox(stranger)
    ours, theirs = Inbox(tenant_id=tenant.pk, user_id="user_1"), Inbox(tenant_id=stranger.pk, user_id="user_1")
    nobody = Inbox(tenant_id=tenant.pk, user_id="nobody")
    with django_assert_num_queries(1):
        counts = count_inboxes([CountRequest(inbox=inbox) for inbox in (ours, theirs, nobody)])
    assert counts == {
        ours: Counts(unread=2, unseen=2, total=2),
        theirs: Counts(unread=1, unseen=1, total=1),
        nobody: Counts(unread=0, unseen=0, total=0),
    }


def test_an_item_on_the_screen_is_counted_before_it_is_recorded(tenant):
    inbox = Inbox(tenant_id=tenant.pk, user_id="user_1")
    shown, _ = stored(tenant), stored(tenant)
    counts = count_inboxes([CountRequest(inbox=inbox, received=[shown.pk])])
    assert counts[inbox] == Counts(unread=1, unseen=1, total=1)


# Handing over


def test_sending_records_the_moment_of_publication(tenant):
    """By Redis's clock, which orders the items of all workers."""
    delivery = stored(tenant, status=Status.PENDING, attempt_count=0, lease_until=None)
    before = publisher.publish([])
    assert dispatch(Channel.IN_APP) == 1
    after = publisher.publish([])
    delivery.refresh_from_db()
    assert delivery.status == Status.SENT
    assert before < delivery.sent_at < after
    inbox = Inbox(tenant_id=tenant.pk, user_id="user_1")
    assert position_of(inbox, delivery.pk).moment == delivery.sent_at


def test_a_chunk_is_one_round_trip_in_the_layers_own_format(db):
    layer = get_channel_layer()
    channel = f"ws__group__{group_of(1, 'user_1')}"
    heard = client().pubsub()
    heard.subscribe(channel)
    assert heard.get_message(timeout=5)["type"] == "subscribe"
    before = client().info("stats")["total_commands_processed"]
    message = a_message(Channel.IN_APP)
    assert len(send_all(InAppProvider(), [message] * 10)) == 10
    frame = layer.deserialize(heard.get_message(timeout=5)["data"])
    assert frame["type"] == "inbox.notification"
    assert frame["id"] == str(message.delivery_id)
    commands = client().info("stats")["total_commands_processed"] - before
    assert commands <= 10 + 3 + 5  # MULTI, TIME, EXEC around them; the reading itself
    heard.close()


def test_groups_of_users_do_not_collide():
    groups = {group_of(tenant, user) for tenant in (1, 11) for user in ("1", "1:1", ":1", "1:", "ü", "", "\n", "x" * 255)}
    assert len(groups) == 16
    assert all(len(group) < 100 and group.replace(".", "").isalnum() for group in groups)


def test_without_redis_every_item_is_to_be_tried_again(monkeypatch):
    away = redis.Redis(unix_socket_path="/nonexistent/redis.sock")
    monkeypatch.setattr(publisher, "client", lambda: away)
    outcomes = send_all(InAppProvider(), [a_message(Channel.IN_APP)] * 3)
    assert [type(outcome) for outcome in outcomes] == [Failed] * 3
    assert {(outcome.failure, outcome.code) for outcome in outcomes} == {(Failure.TRANSIENT, "redis_unavailable")}


def test_without_redis_a_mark_is_set_all_the_same(tenant, ada, monkeypatch):
    (item,) = ids(delivered_to_inbox(tenant))
    away = redis.Redis(unix_socket_path="/nonexistent/redis.sock")
    monkeypatch.setattr(publisher, "client", lambda: away)
    assert ada.patch(f"/api/inbox/{item}", {"read": True}).status_code == 200


def test_one_message_is_handed_over_too():
    assert isinstance(InAppProvider().send(a_message(Channel.IN_APP)), Sent)
