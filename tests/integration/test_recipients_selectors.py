"""What the pipeline reads and writes for a whole chunk: right, within the tenant, and in a fixed number of statements."""

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from preferences.models import Preference, Recipient, Subscription
from preferences.resolver import Ladder, Question, resolve
from preferences.selectors import (
    Contact,
    TopicRequest,
    preference_ladders,
    recipients_by_user,
    suppressed,
    topic_page,
    topic_pages,
)
from preferences.services import NewSuppression, add_suppressions, ensure_recipients, retire_devices
from tenants.vocabulary import Channel
from tests.factories import DeviceFactory, PreferenceFactory, RecipientFactory, SuppressionFactory, TopicFactory


def statements(call):
    with CaptureQueriesContext(connection) as captured:
        call()
    return len(captured)


def test_a_contact_has_everything_the_pipeline_needs(tenant):
    recipient = RecipientFactory(
        tenant=tenant,
        user_id="u:1@x",
        telegram_chat_id="7",
        webhook_url="https://a.co",
        locale="de-AT",
        timezone="Europe/Vienna",
        attributes={"plan": "pro", "first_name": "Zoë"},
    )
    for token in ("first", "second"):
        DeviceFactory(recipient=recipient, token=token)
    DeviceFactory(recipient=recipient, token="gone", retired_at=timezone.now())
    contact = recipients_by_user([(tenant.pk, "u:1@x")])[tenant.pk, "u:1@x"]
    assert json.loads(contact.attributes) == {"plan": "pro", "first_name": "Zoë"}
    assert contact == Contact(
        user_id="u:1@x",
        email="u:1@x@example.com",
        phone="+14155550100",
        telegram_chat_id="7",
        webhook_url="https://a.co",
        locale="de-AT",
        timezone="Europe/Vienna",
        attributes=contact.attributes,
        push_tokens=["first", "second"],
    )


def test_recipients_are_found_in_their_own_tenant_only(tenant, stranger):
    RecipientFactory(tenant=tenant, user_id="both", email="mine@example.com")
    RecipientFactory(tenant=stranger, user_id="both", email="theirs@example.com")
    RecipientFactory(tenant=stranger, user_id="theirs")
    found = recipients_by_user([(tenant.pk, "both"), (tenant.pk, "theirs"), (tenant.pk, "nobody")])
    assert {key: contact.email for key, contact in found.items()} == {(tenant.pk, "both"): "mine@example.com"}


def test_ladders_hold_the_users_rungs_and_the_tenants(tenant, stranger):
    off = PreferenceFactory(tenant=tenant, user_id="a", channel=Channel.EMAIL, event_type="order.shipped", enabled=False)
    PreferenceFactory(tenant=tenant, user_id="", category="orders", enabled=False)
    PreferenceFactory(tenant=stranger, user_id="a", enabled=False)
    PreferenceFactory(tenant=stranger, user_id="", enabled=False)
    ladders = preference_ladders([(tenant.pk, "a"), (tenant.pk, "b")])
    question = Question(channel=Channel.EMAIL, event_type="order.shipped", category="orders")
    mine, anybody = (resolve(question, ladders.of(tenant.pk, user)) for user in ("a", "b"))
    assert (mine.level, mine.explanation["rule"], mine.allowed) == ("user.channel_type", str(off.pk), False)
    assert (anybody.level, anybody.allowed) == ("tenant.category", False)
    assert ladders.of(tenant.pk, "").user == {}
    assert ladders.of(stranger.pk, "a") == Ladder()


def test_a_suppressed_address_is_found_in_whatever_case_it_is_asked(tenant, stranger):
    add_suppressions(
        suppressions=[
            NewSuppression(tenant_id=tenant.pk, channel=Channel.EMAIL, address="Bad@Example.com", reason="bounce"),
            NewSuppression(tenant_id=stranger.pk, channel=Channel.EMAIL, address="other@example.com"),
        ]
    )
    SuppressionFactory(tenant=tenant, address="old@example.com", expires_at=timezone.now() - timedelta(seconds=1))
    SuppressionFactory(tenant=tenant, address="new@example.com", expires_at=timezone.now() + timedelta(hours=1))
    asked = [(tenant.pk, Channel.EMAIL, f"{name}@example.com") for name in ("BAD", "bad", "other", "old", "new")]
    found = suppressed([*asked, (tenant.pk, Channel.SMS, "bad@example.com")])
    assert {address for _, _, address in found} == {"BAD@example.com", "bad@example.com", "new@example.com"}
    assert found[asked[0]].reason == "bounce"
    assert found[asked[0]].explanation["rule"] == found[asked[1]].id


def test_a_long_push_token_can_be_suppressed_registered_and_retired(tenant):
    tokens = ["".join(chr(33 + (seed * 7919 + i * 31 + i * i * 17) % 94) for i in range(4096)) for seed in range(2)]
    recipient = RecipientFactory(tenant=tenant, user_id="a")
    for token in tokens:
        DeviceFactory(recipient=recipient, token=token)
    add_suppressions(suppressions=[NewSuppression(tenant_id=tenant.pk, channel=Channel.PUSH, address=tokens[0])])
    assert list(suppressed([(tenant.pk, Channel.PUSH, token) for token in tokens])) == [(tenant.pk, Channel.PUSH, tokens[0])]
    assert retire_devices(tokens=[(tenant.pk, tokens[0])]) == 1
    assert recipients_by_user([(tenant.pk, "a")])[tenant.pk, "a"].push_tokens == tokens[1:]


def test_tokens_are_retired_in_their_own_tenant_only_and_once(tenant, stranger):
    for owner in (tenant, stranger):
        DeviceFactory(recipient=RecipientFactory(tenant=owner, user_id="a"), token="shared")
    assert retire_devices(tokens=[(tenant.pk, "shared"), (tenant.pk, "unknown")]) == 1
    assert retire_devices(tokens=[(tenant.pk, "shared")]) == 0
    assert recipients_by_user([(stranger.pk, "a")])[stranger.pk, "a"].push_tokens == ["shared"]


def test_unknown_users_are_made_known_and_known_ones_left_alone(tenant, stranger):
    RecipientFactory(tenant=tenant, user_id="a", email="a@example.com")
    ensure_recipients([(tenant.pk, "a"), (tenant.pk, "b"), (tenant.pk, "b"), (stranger.pk, "a")])
    found = recipients_by_user([(tenant.pk, "a"), (tenant.pk, "b"), (stranger.pk, "a")])
    assert {key: contact.email for key, contact in found.items()} == {
        (tenant.pk, "a"): "a@example.com",
        (tenant.pk, "b"): "",
        (stranger.pk, "a"): "",
    }
    assert found[tenant.pk, "b"] == Contact(user_id="b")


@pytest.fixture
def topics(tenant, stranger):
    recipients = [RecipientFactory(tenant=tenant, user_id=f"u{number}") for number in range(5)]
    news = TopicFactory(tenant=tenant, key="news")
    Subscription.objects.bulk_create([Subscription(topic=news, recipient=recipient) for recipient in recipients])
    other = TopicFactory(tenant=tenant, key="other")
    Subscription.objects.create(topic=other, recipient=recipients[0])
    theirs = TopicFactory(tenant=stranger, key="theirs")
    Subscription.objects.create(topic=theirs, recipient=RecipientFactory(tenant=stranger, user_id="theirs"))


def test_a_topic_is_read_page_by_page_to_its_end(tenant, topics):
    seen, cursor = [], 0
    while cursor is not None:
        contacts, cursor = topic_page(tenant.pk, "news", cursor, 2)
        seen.append([contact.user_id for contact in contacts])
    assert seen == [["u0", "u1"], ["u2", "u3"], ["u4"]]


def test_who_subscribes_while_a_topic_is_read_comes_at_the_end(tenant, topics):
    _, cursor = topic_page(tenant.pk, "news", 0, 3)
    Subscription.objects.filter(recipient__user_id="u4").delete()
    late = RecipientFactory(tenant=tenant, user_id="late")
    Subscription.objects.create(topic_id=Subscription.objects.get(pk=cursor).topic_id, recipient=late)
    contacts, _ = topic_page(tenant.pk, "news", cursor, 3)
    assert [contact.user_id for contact in contacts] == ["u3", "late"]


def test_pages_of_many_topics_come_in_the_order_asked(tenant, stranger, topics):
    pages = topic_pages(
        [
            TopicRequest(tenant.pk, "other", 0, 10),
            TopicRequest(tenant.pk, "theirs", 0, 10),
            TopicRequest(tenant.pk, "news", 0, 2),
            TopicRequest(stranger.pk, "theirs", 0, 1),
            TopicRequest(stranger.pk, "news", 0, 10),
        ]
    )
    assert [[contact.user_id for contact in page.contacts] for page in pages] == [["u0"], [], ["u0", "u1"], ["theirs"], []]
    assert [page.next_cursor is None for page in pages] == [True, True, False, False, True]
    assert topic_pages([]) == []


@pytest.mark.parametrize("size", [1, 3, 200])
def test_a_chunk_of_any_size_costs_one_statement_per_table(tenant, stranger, size):
    keys = [(owner.pk, f"u{number}") for number in range(size) for owner in (tenant, stranger)]
    ensure_recipients(keys)
    Preference.objects.bulk_create([Preference(tenant_id=owner, user_id=user) for owner, user in keys])
    topics = [TopicFactory(tenant=tenant) for _ in range(min(size, 20))]
    first = Recipient.objects.for_tenant(tenant).first()
    Subscription.objects.bulk_create([Subscription(topic=topic, recipient=first) for topic in topics])
    addresses = [(owner, channel, f"{user}@example.com") for owner, user in keys for channel in (Channel.EMAIL, Channel.CHAT)]
    assert statements(lambda: ensure_recipients([*keys, *((owner, f"{user}x") for owner, user in keys)])) == 1
    assert statements(lambda: recipients_by_user(keys)) == 1
    assert statements(lambda: preference_ladders(keys)) == 1
    assert statements(lambda: suppressed(addresses)) == 1
    assert statements(lambda: topic_pages([TopicRequest(tenant.pk, topic.key, 0, 10) for topic in topics])) == 1
    new = [NewSuppression(tenant_id=owner, channel=channel, address=address) for owner, channel, address in addresses]
    assert statements(lambda: add_suppressions(suppressions=new)) == 1
    assert len(suppressed(addresses)) == len(addresses)


def test_nothing_asked_is_nothing_done(db):
    def nothing():
        ensure_recipients([])
        assert recipients_by_user([]) == {}
        assert preference_ladders([]).of(1, "a") == Ladder()
        assert suppressed([]) == {}
        assert add_suppressions(suppressions=[]) == {}
        assert topic_pages([]) == []

    assert statements(nothing) == 0
