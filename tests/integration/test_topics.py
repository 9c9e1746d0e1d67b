import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from preferences.models import Recipient, Subscription, Topic
from preferences.services import subscribe
from tenants.vocabulary import Scope
from tests.conftest import client_for, user_client
from tests.factories import RecipientFactory, TopicFactory


def members(tenant, key):
    found = Subscription.objects.filter(topic__tenant=tenant, topic__key=key)
    return set(found.values_list("recipient__user_id", flat=True))


def test_subscribing_makes_what_is_missing_and_may_be_repeated(api, tenant):
    path = "/api/topics/release.notes/subscribers/user:1@x"
    first, again = api.put(path), api.put(path)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json() == {"topic": "release.notes", "userId": "user:1@x"}
    assert members(tenant, "release.notes") == {"user:1@x"}
    assert (Topic.objects.count(), Recipient.objects.count(), Subscription.objects.count()) == (1, 1, 1)


def test_subscribing_leaves_what_is_there_alone(api, tenant):
    topic = TopicFactory(tenant=tenant, key="news", name="News")
    recipient = RecipientFactory(tenant=tenant, user_id="a", email="a@example.com")
    assert api.put("/api/topics/news/subscribers/a").status_code == 201
    subscription = Subscription.objects.get()
    assert (subscription.topic, subscription.recipient) == (topic, recipient)
    topic.refresh_from_db()
    recipient.refresh_from_db()
    assert (topic.name, recipient.email) == ("News", "a@example.com")


def test_unsubscribing_may_be_repeated_and_keeps_recipient_and_topic(api, tenant):
    api.put("/api/topics/news/subscribers/a")
    api.put("/api/topics/news/subscribers/b")
    api.put("/api/topics/other/subscribers/a")
    for _ in range(2):
        assert api.delete("/api/topics/news/subscribers/a").status_code == 204
    assert api.delete("/api/topics/nowhere/subscribers/nobody").status_code == 204
    assert (members(tenant, "news"), members(tenant, "other")) == ({"b"}, {"a"})
    assert Recipient.objects.count() == 2
    assert not Topic.objects.filter(key="nowhere").exists()


def test_topics_are_the_tenants_own(api, tenant, stranger, stranger_api):
    api.put("/api/topics/news/subscribers/a")
    stranger_api.put("/api/topics/news/subscribers/a")
    stranger_api.put("/api/topics/secret/subscribers/a")
    assert [topic["key"] for topic in api.get("/api/topics").json()["results"]] == ["news"]
    api.delete("/api/topics/news/subscribers/a")
    assert members(stranger, "news") == {"a"}
    assert members(tenant, "news") == set()


def test_topics_come_newest_first_in_pages(api, tenant):
    for number in range(3):
        TopicFactory(tenant=tenant, key=f"t{number}", name=f"Topic {number}")
    first = api.get("/api/topics?limit=2").json()
    assert [(topic["key"], topic["name"]) for topic in first["results"]] == [("t2", "Topic 2"), ("t1", "Topic 1")]
    assert [topic["key"] for topic in api.get(first["next"]).json()["results"]] == ["t0"]


@pytest.mark.parametrize("method", ["put", "delete"])
@pytest.mark.parametrize(
    ("key", "user_id", "field"),
    [
        ("x" * 201, "a", "key"),
        ("a%00", "a", "key"),
        ("a", "x" * 256, "userId"),
        ("a", "a%00", "userId"),
        ("a", "a%0A", "userId"),
    ],
)
def test_names_that_cannot_be_are_refused(api, method, key, user_id, field):
    response = getattr(api, method)(f"/api/topics/{key}/subscribers/{user_id}")
    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (400, [field])
    assert not Topic.objects.exists()


def test_topics_need_their_scope(tenant):
    for client in (client_for(tenant, Scope.PREFERENCES_WRITE), user_client(tenant, "a")):
        assert client.get("/api/topics").status_code == 403
        assert client.put("/api/topics/news/subscribers/a").status_code == 403
        assert client.delete("/api/topics/news/subscribers/a").status_code == 403
    assert client_for(tenant, Scope.RECIPIENTS_WRITE).put("/api/topics/news/subscribers/a").status_code == 201


def test_subscribing_costs_the_same_whatever_the_topics_size(tenant):
    costs = []
    for size in (1, 100):
        topic = TopicFactory(tenant=tenant)
        Recipient.objects.bulk_create([Recipient(tenant=tenant, user_id=f"{topic.key}:{number}") for number in range(size)])
        found = Recipient.objects.filter(user_id__startswith=f"{topic.key}:")
        Subscription.objects.bulk_create([Subscription(topic=topic, recipient=recipient) for recipient in found])
        with CaptureQueriesContext(connection) as captured:
            assert subscribe(tenant=tenant, topic_key=topic.key, user_id="new")
        costs.append(len(captured))
    assert costs[0] == costs[1]
