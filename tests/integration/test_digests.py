"""Digests: collected until their time has come, asked about once more, and sent as one."""

import threading
from datetime import UTC, datetime, time, timedelta

import pytest
from django.db import connection

from deliveries.models import Delivery
from deliveries.states import Status
from notifications import tasks
from notifications.digests import closing
from notifications.digests.claims import claim_digests
from notifications.models import Digest, Event, Hold
from templates_app.models import TemplateVersion
from tenants.vocabulary import Channel
from tests.factories import (
    DigestScheduleFactory,
    EventTypeFactory,
    PreferenceFactory,
    RecipientFactory,
    SuppressionFactory,
    TemplateFactory,
)

NOON = datetime(2031, 7, 1, 12, tzinfo=UTC)
NEXT = datetime(2031, 7, 2, 7, tzinfo=UTC)
"""Nine in the morning in Vienna."""
LIST = "{% for item in items %}{{ item.data.userName }} {% endfor %}{{ count }}{% if more > 0 %}, {{ more }} more{% endif %}"
GIVEN = [{"name": name, "required": True} for name in ("items", "count", "more")]


@pytest.fixture
def ada(tenant):
    for channel in (Channel.IN_APP, Channel.EMAIL):
        TemplateFactory(tenant=tenant, channel=channel)
        TemplateFactory(tenant=tenant, channel=channel, event_type="digest", version__body=LIST, version__variables=GIVEN)
    PreferenceFactory(tenant=tenant, user_id="ada", delivery="digest")
    return RecipientFactory(tenant=tenant, user_id="ada", timezone="Europe/Vienna")


def post(api, name="Ada", **event):
    body = {"eventType": "account", "userId": "ada", "channels": ["in_app"], "data": {"userName": name}} | event
    response = api.post("/api/events", body, format="json")
    assert response.status_code == 202, response.json()
    return response.json()["eventId"]


def messages():
    return list(Delivery.objects.filter(event_type="digest").order_by("id"))


def the(event_id):
    return Delivery.objects.get(event_id=event_id)


def test_items_are_collected_and_go_out_as_one(api, ada, drain):
    items = [post(api, name) for name in ("a", "b", "c")]
    drain(NOON)
    assert {(one.status, one.reason, one.next_attempt_at) for one in map(the, items)} == {(Status.PENDING, "digest", NEXT)}
    assert Digest.objects.get().due_at == NEXT
    drain(NEXT)
    (message,) = messages()
    assert message.error == ""
    assert (message.status, message.body, message.user_id) == (Status.SENT, "a b c 3", "ada")
    for item in map(the, items):
        assert (item.status, item.explanation["digestEventId"]) == (Status.DIGESTED, message.event_id)
    digest = Digest.objects.get()
    assert (digest.item_count, digest.sent_count, digest.event_id) == (3, 3, message.event_id)
    assert not Hold.objects.exists()
    drain(NEXT + timedelta(days=2))
    assert len(messages()) == 1


def test_its_event_can_be_looked_up(api, ada, drain):
    post(api)
    drain(NOON)
    drain(NEXT)
    answer = api.get(f"/api/events/{messages()[0].event_id}")
    assert answer.status_code == 200
    assert answer.json()["eventType"] == "digest"


def test_the_next_item_opens_another(api, ada, drain):
    post(api, "a")
    drain(NOON)
    drain(NEXT)
    post(api, "b")
    drain(NEXT)
    drain(NEXT + timedelta(days=1))
    assert [message.body for message in messages()] == ["a 1", "b 1"]


def test_channels_keys_users_and_sandboxes_are_kept_apart(api, tenant, ada, drain):
    from tests.conftest import client_for

    RecipientFactory(tenant=tenant, user_id="bob", timezone="Europe/Vienna")
    PreferenceFactory(tenant=tenant, user_id="bob", delivery="digest")
    post(api, "a")
    post(api, "b", channels=["email"])
    post(api, "c", digestKey="thread-1")
    post(api, "d", digestKey="thread-1")
    post(api, "e", userId="bob")
    post(client_for(tenant, sandbox=True), "f", channels=["email"])
    drain(NOON)
    drain(NEXT)
    assert sorted(message.body for message in messages()) == ["a 1", "b 1", "c d 2", "e 1", "f 1"]
    assert [message.sandbox for message in messages() if message.body == "f 1"] == [True]


def test_every_item_is_asked_about_again(api, tenant, ada, drain):
    kept, opted_out, expired, canceled = post(api, "kept"), post(api, eventType="other"), None, post(api)
    expired = post(api, expiresAt=(NEXT - timedelta(hours=1)).isoformat())
    drain(NOON)
    PreferenceFactory(tenant=tenant, user_id="ada", event_type="other", enabled=False)
    assert api.delete(f"/api/events/{canceled}").status_code == 200
    drain(NEXT)
    assert [message.body for message in messages()] == ["kept 1"]
    assert the(kept).status == Status.DIGESTED
    assert (the(opted_out).status, the(opted_out).reason) == (Status.SUPPRESSED, "opted_out")
    assert the(expired).status == Status.EXPIRED
    assert the(canceled).status == Status.CANCELED


def test_nothing_left_is_no_message(api, tenant, ada, drain):
    item = post(api, channels=["email"])
    drain(NOON)
    SuppressionFactory(tenant=tenant, address="ada@example.com")
    drain(NEXT)
    assert the(item).reason == "suppressed_address"
    assert messages() == []
    assert Digest.objects.get().event_id == ""


def test_the_first_few_are_shown_and_the_others_counted(api, tenant, ada, drain):
    DigestScheduleFactory(tenant=tenant, most_items=2)
    for name in "abcde":
        post(api, name)
    drain(NOON)
    drain(NEXT + timedelta(hours=2))
    assert [message.body for message in messages()] == ["a b 5, 3 more"]


def test_items_are_in_the_order_of_their_events(api, ada, drain):
    first, *_ = [post(api, name) for name in "abc"]
    Event.objects.filter(event_id=first).update(attempt_count=0)  # its row lies behind the others now
    drain(NOON)
    drain(NEXT)
    assert [message.body for message in messages()] == ["a b c 3"]


def test_a_broken_template_kills_its_own_digest_only(api, tenant, ada, drain):
    TemplateFactory(tenant=tenant, event_type="broken", version__body="{{ nobody }}", version__variables=[])
    DigestScheduleFactory(tenant=tenant, event_type="other", template="broken")
    post(api, "a")
    post(api, "b", eventType="other")
    drain(NOON)
    drain(NEXT + timedelta(hours=2))
    assert [message.body for message in messages()] == ["a 1"]
    assert Delivery.objects.get(event_type="broken").status == Status.FAILED


def test_once_the_template_is_mended_a_failed_digest_is_sent_once(api, tenant, ada, drain):
    template = TemplateFactory(tenant=tenant, event_type="broken", version__body="{{ nobody }}", version__variables=[])
    DigestScheduleFactory(tenant=tenant, template="broken")
    for name in ("a", "b"):
        post(api, name)
    drain(NOON)
    drain(NEXT + timedelta(hours=2))
    failed = Delivery.objects.get(event_type="broken")
    assert (failed.status, failed.reason) == (Status.FAILED, "missing_variable")
    version = TemplateVersion.objects.create(tenant=tenant, template=template, number=2, body=LIST, variables=GIVEN)
    template.published_version = version
    template.save()
    for status in (202, 409):
        assert api.post(f"/api/deliveries/{failed.pk}/retry").status_code == status
    drain(NEXT + timedelta(hours=3))
    sent = Delivery.objects.get(event_type="broken")
    assert (sent.pk, sent.status, sent.body) == (failed.pk, Status.SENT, "a b 2")
    assert sent.explanation["replayedAt"]


def test_a_window_begins_with_the_first_item(api, tenant, ada, drain):
    DigestScheduleFactory(tenant=tenant, cadence="window", window_s=600)
    post(api, "a")
    drain(NOON)
    later = post(api, "b")
    drain(NOON + timedelta(seconds=500))
    assert the(later).next_attempt_at == NOON + timedelta(seconds=600)
    drain(NOON + timedelta(seconds=599))
    assert messages() == []
    drain(NOON + timedelta(seconds=600))
    assert [message.body for message in messages()] == ["a b 2"]


def test_a_sliding_window_begins_anew_with_each_and_ends_all_the_same(api, tenant, ada, drain):
    DigestScheduleFactory(tenant=tenant, cadence="window", window_s=600, slides=True, longest_s=1500)
    for seconds in (0, 500, 1000, 1400):
        post(api, str(seconds))
        drain(NOON + timedelta(seconds=seconds))
        assert messages() == []
    assert Digest.objects.get().due_at == NOON + timedelta(seconds=1500)
    drain(NOON + timedelta(seconds=1500))
    assert [message.body for message in messages()] == ["0 500 1000 1400 4"]


def test_a_digest_is_held_in_quiet_hours_and_not_collected_again(api, tenant, ada, drain):
    ada.quiet_hours = [{"start": "08:00", "end": "10:00"}]
    ada.save()
    post(api, "a")
    drain(NOON)
    drain(NEXT)
    (message,) = messages()
    assert (message.status, message.reason) == (Status.PENDING, "quiet_hours")
    drain(NEXT + timedelta(hours=1))
    assert messages()[0].status == Status.SENT


def test_who_wants_single_things_only_gets_the_digest_of_them(api, tenant, ada, drain):
    tenant_default = PreferenceFactory(tenant=tenant, user_id="", enabled=False)
    assert tenant_default.user_id == ""
    from preferences.models import Preference

    Preference.objects.filter(user_id="ada").delete()
    PreferenceFactory(tenant=tenant, user_id="ada", enabled=False)
    PreferenceFactory(tenant=tenant, user_id="ada", event_type="account", delivery="digest")
    post(api, "a")
    drain(NOON)
    drain(NEXT)
    assert [message.status for message in messages()] == [Status.SENT]


def test_who_turned_digests_off_gets_none(api, tenant, ada, drain):
    PreferenceFactory(tenant=tenant, user_id="ada", event_type="digest", enabled=False)
    post(api)
    drain(NOON)
    drain(NEXT)
    assert [(message.status, message.reason) for message in messages()] == [(Status.SUPPRESSED, "opted_out")]


@pytest.mark.parametrize("event", [{"priority": "urgent"}, {"eventType": "security"}])
def test_urgent_and_required_ones_are_not_collected(api, tenant, ada, drain, event):
    EventTypeFactory(tenant=tenant, name="security", required=True)
    TemplateFactory(tenant=tenant, event_type="security")
    item = post(api, **event)
    drain(NOON)
    assert the(item).status == Status.SENT


def test_a_recipient_who_is_only_an_address(api, tenant, drain):
    TemplateFactory(tenant=tenant, channel=Channel.EMAIL)
    TemplateFactory(tenant=tenant, channel=Channel.EMAIL, event_type="digest", version__body=LIST, version__variables=GIVEN)
    PreferenceFactory(tenant=tenant, user_id="", delivery="digest")
    for name in ("a", "b"):
        post(api, name, userId=None, to={"email": "ok@simulator.invalid", "timezone": "Europe/Vienna"}, channels=["email"])
    post(api, "c", userId=None, to={"email": "other@simulator.invalid"}, channels=["email"])
    drain(NOON)
    drain(NEXT + timedelta(hours=3))
    assert sorted((message.address, message.body) for message in messages()) == [
        ("ok@simulator.invalid", "a b 2"),
        ("other@simulator.invalid", "c 1"),
    ]


def test_large_items_are_counted_and_not_shown(api, tenant, ada, drain):
    for name in "abc":
        post(api, name * 120_000)
    drain(NOON)
    drain(NEXT)
    event = Event.objects.get(event_type="digest")
    assert (len(event.data["items"]), event.data["count"], event.data["more"]) == (2, 3, 1)


def test_a_worker_that_dies_in_between_leaves_it_for_another(api, ada, drain):
    post(api, "a")
    drain(NOON)
    claim = claim_digests(now=NEXT)
    assert len(claim.digests) == 1
    post(api, "late")
    drain(NEXT)  # it is closed: what comes now opens another
    assert messages() == []
    after_lease = NEXT + timedelta(minutes=1)
    drain(after_lease)
    assert [message.body for message in messages()] == ["a 1"]
    closing.close(claim.digests, lease_id=claim.lease_id, now=after_lease)  # it was not dead, only late
    drain(after_lease)
    assert [message.body for message in messages()] == ["a 1"]


@pytest.mark.django_db(transaction=True)
def test_many_workers_close_the_same_window_and_there_is_one_message(api, ada, drain):
    """Half of them claim before anybody has closed; all of them close; items come in meanwhile."""
    for name in "abc":
        post(api, name)
    drain(NOON)
    started = threading.Barrier(8)
    errors = []

    def worker(number):
        try:
            started.wait(10)
            if number % 2:
                claim = claim_digests(now=NEXT)
                if claim.digests:
                    closing.close(claim.digests, lease_id=claim.lease_id, now=NEXT)
            else:
                post(api, f"late{number}")
                tasks.enrich()
        except Exception as error:  # noqa: BLE001
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=worker, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    drain(NEXT)
    drain(NEXT + timedelta(days=1))
    shown = [item["data"]["userName"] for event in Event.objects.filter(event_type="digest") for item in event.data["items"]]
    assert sorted(shown) == ["a", "b", "c", "late0", "late2", "late4", "late6"]
    assert Event.objects.filter(event_type="digest").count() == Digest.objects.count()


def test_one_window_at_a_time_by_the_database_itself(tenant):
    from django.db import IntegrityError, transaction

    values = {"tenant": tenant, "user_id": "ada", "channel": Channel.EMAIL, "due_at": NEXT, "closes_by": NEXT}
    Digest.objects.create(**values)
    with pytest.raises(IntegrityError), transaction.atomic():
        Digest.objects.create(**values)
    Digest.objects.update(closed_at=NEXT)
    Digest.objects.create(**values)


def test_hourly_and_weekly(api, tenant, ada, drain):
    DigestScheduleFactory(tenant=tenant, event_type="account", cadence="hourly", at=time(0, 15))
    DigestScheduleFactory(tenant=tenant, event_type="other", cadence="weekly", at=time(8), weekday=4)
    post(api)
    post(api, eventType="other")
    drain(NOON)
    due = set(Digest.objects.values_list("due_at", flat=True))
    assert due == {NOON + timedelta(minutes=15), datetime(2031, 7, 4, 6, tzinfo=UTC)}


def test_without_a_template_of_its_own_the_built_in_words_are_sent(api, tenant, drain):
    """A template for any event is none for a digest; one for the digest's own type is, in whatever language."""
    TemplateFactory(tenant=tenant, event_type="*", version__body="Any event", version__variables=[])
    DigestScheduleFactory(tenant=tenant, event_type="weekly", template="digest.weekly")
    for user_id, locale in (("ada", "de-AT"), ("bob", "sv")):
        RecipientFactory(tenant=tenant, user_id=user_id, locale=locale)
        PreferenceFactory(tenant=tenant, user_id=user_id, delivery="digest")
    post(api, "a", data={"title": "<b>Neu</b>"})
    post(api, "a", data={})
    post(api, "a", userId="bob", eventType="weekly")
    drain(NOON)
    drain(NEXT + timedelta(hours=3))
    first, second = Delivery.objects.filter(event_type__startswith="digest").order_by("user_id")
    assert first.error == second.error == ""
    assert (first.status, first.subject) == (Status.SENT, "2 neue Nachrichten")
    assert [line.partition(" (")[0] for line in first.body.splitlines()] == ["- <b>Neu</b>", "- account"]
    assert (second.event_type, second.subject) == ("digest.weekly", "1 new message")
    assert first.template_version_id != second.template_version_id


def test_an_own_template_in_another_language_goes_before_the_built_in_words(api, tenant, ada, drain):
    ada.locale = "fr"
    ada.save()
    post(api, "a")
    drain(NOON)
    drain(NEXT)
    assert [message.body for message in messages()] == ["a 1"]
