"""Heartbeats from the posted event to the one that is raised, on a real database; time is handed over."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now as clock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications.claims import ClaimedEvent
from notifications.heartbeats import seeing, sweeping
from notifications.heartbeats.seeing import Watch, see, watches_of
from notifications.heartbeats.services import declare_key, forget_key, save_heartbeat
from notifications.heartbeats.sweeping import sweep_heartbeats
from notifications.models import Event, EventStatus, Heartbeat, HeartbeatKey
from notifications.surroundings import surroundings_of
from notifications.sweep import sweep
from tenants.models import Tenant
from tenants.vocabulary import Priority
from tests.factories import EventFactory, EventTypeFactory, HeartbeatFactory, RuleFactory, TenantFactory, id_at

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def claimed(tenant, at: datetime, event_type: str = "backup.done", **values) -> ClaimedEvent:
    """An event as a claim hands it on."""
    identity = id_at(at)
    data = values.pop("data", '{"machine": "m1"}')
    facts = {"user_id": "", "to": None, "channels": None, "priority": 2, "metadata": "{}", "sandbox": False}
    facts |= {"expires_at": None, "cursor": 0, "plan": None, "attempt_count": 1, "event_id": str(identity)}
    return ClaimedEvent(
        **facts
        | {"id": identity, "tenant_id": tenant.pk, "event_type": event_type, "data": data, "created_at": at, "due_at": at}
        | values
    )


def beat(heartbeat: Heartbeat, at: datetime, machine: str = "m1", **values) -> None:
    event = claimed(heartbeat.tenant, at, data=f'{{"machine": "{machine}"}}', **values)
    see([event], {heartbeat.tenant_id: [Watch(heartbeat.id, heartbeat.event_type, heartbeat.key)]})


def raised(tenant) -> list[Event]:
    return list(Event.objects.for_tenant(tenant).filter(event_id__startswith="heartbeat-").order_by("created_at", "id"))


def kinds(tenant) -> list[str]:
    return [event.event_type.removeprefix("heartbeat.") for event in raised(tenant)]


def its_deadline_passes() -> None:
    HeartbeatKey.objects.update(due_at=clock(), check_at=clock())
    sweep(now=clock())


@pytest.fixture
def heartbeat(tenant) -> Heartbeat:
    return HeartbeatFactory(tenant=tenant, name="nightly backup")  # every ten minutes, for each machine


# Raising


def test_a_key_that_stays_away_is_missed_once_and_recovers_once(tenant, heartbeat):
    beat(heartbeat, START)
    assert not sweep_heartbeats(now=START + 9 * MINUTE)
    assert sweep_heartbeats(now=START + 10 * MINUTE)
    assert not sweep_heartbeats(now=START + 10 * MINUTE)
    assert not sweep_heartbeats(now=START + 60 * MINUTE)
    (missed,) = raised(tenant)
    key = HeartbeatKey.objects.get()
    assert (missed.event_id, missed.event_type) == (f"heartbeat-{key.pk}-1-missed", "heartbeat.missed")
    assert missed.data == {
        "heartbeat": "nightly backup",
        "key": "m1",
        "lastSeenAt": "2026-03-01T12:00:00Z",
        "expectedEvery": 600,
        "missedSince": "2026-03-01T12:10:00Z",
    }
    assert (key.is_missing, key.missing_since) == (True, START + 10 * MINUTE)

    beat(heartbeat, START + 90 * MINUTE)
    assert sweep_heartbeats(now=START + 90 * MINUTE)
    assert not sweep_heartbeats(now=START + 91 * MINUTE)
    _, recovered = raised(tenant)
    assert (recovered.event_id, recovered.event_type) == (f"heartbeat-{key.pk}-1-recovered", "heartbeat.recovered")
    assert recovered.data["awayFor"] == 90 * 60
    assert recovered.data["lastSeenAt"] == "2026-03-01T13:30:00Z"
    assert recovered.data["missedSince"] == "2026-03-01T12:10:00Z"
    key.refresh_from_db()
    assert (key.is_missing, key.missing_since) == (False, None)

    assert sweep_heartbeats(now=START + 100 * MINUTE)
    assert raised(tenant)[-1].event_id == f"heartbeat-{key.pk}-2-missed"


def test_grace_is_waited_for(tenant, heartbeat):
    Heartbeat.objects.update(grace_s=30)
    beat(heartbeat, START)
    assert not sweep_heartbeats(now=START + 10 * MINUTE + timedelta(seconds=29))
    assert sweep_heartbeats(now=START + 10 * MINUTE + timedelta(seconds=30))


def test_keys_are_missed_by_themselves(tenant, heartbeat):
    beat(heartbeat, START, "m1")
    beat(heartbeat, START, "m2")
    beat(heartbeat, START + 5 * MINUTE, "m2")
    sweep_heartbeats(now=START + 10 * MINUTE)
    assert [event.data["key"] for event in raised(tenant)] == ["m1"]


def test_events_have_the_tenants_names_priority_and_sandbox(tenant, heartbeat):
    tenant.sandbox = True
    tenant.save()
    EventTypeFactory(tenant=tenant, name="machine.silent", default_priority=Priority.URGENT)
    Heartbeat.objects.update(missed_event_type="machine.silent", recovered_event_type="machine.back")
    beat(heartbeat, START)
    sweep_heartbeats(now=START + 10 * MINUTE)
    beat(heartbeat, START + 20 * MINUTE)
    sweep_heartbeats(now=START + 20 * MINUTE)
    seen = [(event.event_type, event.priority, event.sandbox, event.status) for event in raised(tenant)]
    assert seen == [
        ("machine.silent", Priority.URGENT, True, EventStatus.ACCEPTED),
        ("machine.back", Priority.NORMAL, True, EventStatus.ACCEPTED),
    ]


def test_what_is_raised_goes_to_whom_the_rules_name(api, tenant, drain):
    HeartbeatFactory(tenant=tenant)
    RuleFactory(tenant=tenant, event_type="heartbeat.*", recipients={"userIds": ["ops"]})
    assert api.post("/api/events", {"eventType": "backup.done", "userId": "u", "data": {"machine": "m1"}}).status_code == 202
    drain()
    assert HeartbeatKey.objects.get().key == "m1"
    its_deadline_passes()
    drain()
    event = Event.objects.get(event_type="heartbeat.missed")
    assert event.status == EventStatus.PROCESSED
    shown = api.get(f"/api/events/{event.event_id}").json()
    assert [delivery["userId"] for delivery in shown["deliveries"]] == ["ops"]


def test_many_tenants_cost_the_same_statements(tenant, heartbeat):
    def statements(at: datetime) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            assert sweep_heartbeats(now=at)
        return [query["sql"][:40] for query in captured.captured_queries if "SAVEPOINT" not in query["sql"]]

    beat(heartbeat, START)
    few = statements(START + 10 * MINUTE)
    for _ in range(3):
        other = HeartbeatFactory()
        for number in range(50):
            beat(other, START + 60 * MINUTE, f"m{number}")
    assert statements(START + 70 * MINUTE) == few
    assert Event.objects.filter(event_type="heartbeat.missed").count() == 151


# Seeing


def test_the_pipeline_notes_all_of_a_chunk_in_one_statement(api, tenant, drain):
    one, two = HeartbeatFactory(tenant=tenant), HeartbeatFactory(tenant=tenant, event_type="*", key="")
    events = [{"eventType": "backup.done", "userId": "u", "data": {"machine": f"m{n % 20}"}} for n in range(60)]
    assert api.post("/api/events/bulk", {"events": events}).json()["accepted"] == 60
    with CaptureQueriesContext(connection) as captured:
        drain()
    writes = [query["sql"] for query in captured.captured_queries if "INTO notifications_heartbeatkey" in query["sql"]]
    assert len(writes) == 1
    assert (one.keys.count(), two.keys.count()) == (20, 1)
    assert HeartbeatKey.objects.filter(tenant=tenant).count() == 21
    accepted_at = Event.objects.first().created_at
    assert {key.last_seen_at for key in HeartbeatKey.objects.all()} == {accepted_at}


def test_a_tenant_without_heartbeats_costs_no_statement(api, tenant, stranger, drain):
    HeartbeatFactory(tenant=stranger)
    HeartbeatFactory(tenant=tenant, is_active=False)
    api.post("/api/events", {"eventType": "backup.done", "userId": "u", "data": {"machine": "m1"}})
    with CaptureQueriesContext(connection) as captured:
        drain()
    naming = [query["sql"] for query in captured.captured_queries if "heartbeat" in query["sql"]]
    assert len(naming) == 1
    assert "EXISTS (SELECT FROM notifications_heartbeat" in naming[0]  # with what is read of the tenants anyhow
    assert not HeartbeatKey.objects.exists()


def test_whether_there_are_heartbeats_is_read_with_the_tenants(tenant, stranger):
    mine = HeartbeatFactory(tenant=tenant)
    HeartbeatFactory(tenant=stranger, is_active=False)
    both, theirs = [(tenant.pk, "x"), (stranger.pk, "x")], [(stranger.pk, "x")]
    assert surroundings_of(both, asked_rules=()).have_heartbeats
    assert not surroundings_of(theirs, asked_rules=()).have_heartbeats
    assert watches_of([tenant.pk, stranger.pk]) == {tenant.pk: [Watch(mine.id, "backup.*", "payload.machine")]}


def test_a_chunk_that_is_begun_again_and_a_late_event_move_nothing_back(tenant, heartbeat):
    beat(heartbeat, START + 5 * MINUTE)
    for _ in range(2):
        beat(heartbeat, START)
    key = HeartbeatKey.objects.get()
    assert (key.last_seen_at, key.due_at) == (START + 5 * MINUTE, START + 15 * MINUTE)


def test_a_scheduled_event_counts_from_when_it_was_accepted(tenant, heartbeat):
    beat(heartbeat, START, due_at=START + 60 * MINUTE)
    assert HeartbeatKey.objects.get().last_seen_at == START


def test_a_broadcast_that_goes_on_is_no_further_beat(tenant, heartbeat):
    beat(heartbeat, START, cursor=500)
    assert not HeartbeatKey.objects.exists()


@pytest.mark.parametrize("data", ["{}", '{"machine": null}', '{"machine": true}', '{"machine": ""}', '{"machine": [1]}'])
def test_a_key_that_cannot_be_found_touches_only_its_heartbeat(tenant, heartbeat, data):
    sound = HeartbeatFactory(tenant=tenant, key="event.type")
    watches = [Watch(one.id, one.event_type, one.key) for one in (heartbeat, sound)]
    see([claimed(tenant, START, data=data)], {tenant.pk: watches})
    assert [(key.heartbeat_id, key.key) for key in HeartbeatKey.objects.all()] == [(sound.id, "backup.done")]


def test_a_number_is_a_key(tenant, heartbeat):
    see([claimed(tenant, START, data='{"machine": 7}')], {tenant.pk: [Watch(heartbeat.id, "*", "payload.machine")]})
    assert HeartbeatKey.objects.get().key == "7"


def test_there_is_an_end_to_keys(tenant, heartbeat, monkeypatch):
    monkeypatch.setattr(seeing, "MOST_KEYS", 3)
    other = HeartbeatFactory(tenant=tenant)
    watches = {tenant.pk: [Watch(one.id, one.event_type, one.key) for one in (heartbeat, other)]}
    for machine in ("m1", "m2"):
        beat(heartbeat, START, machine)
    see([claimed(tenant, START + MINUTE, data=f'{{"machine": "m{n}"}}') for n in range(1, 6)], watches)
    assert sorted(heartbeat.keys.values_list("key", flat=True)) == ["m1", "m2", "m3"]
    assert sorted(other.keys.values_list("key", flat=True)) == ["m1", "m2", "m3"]
    assert set(heartbeat.keys.values_list("last_seen_at", flat=True)) == {START + MINUTE}


def test_a_heartbeat_does_not_hear_itself(api, tenant, drain):
    HeartbeatFactory(tenant=tenant, event_type="*", key="event.type")
    api.post("/api/events", {"eventType": "backup.done", "userId": "u"})
    drain()
    its_deadline_passes()
    drain()
    assert Event.objects.filter(event_type="heartbeat.missed", status=EventStatus.PROCESSED).count() == 1
    assert [row.key for row in HeartbeatKey.objects.all()] == ["backup.done"]


@pytest.mark.django_db(transaction=True)
def test_chunks_seen_at_the_same_time_do_not_wait_for_each_other_for_ever():
    heartbeat = HeartbeatFactory()
    start = threading.Barrier(4)

    def work(worker: int) -> None:
        try:
            start.wait()
            for turn in range(5):
                order = [f"m{n}" for n in range(40)]
                events = [
                    claimed(heartbeat.tenant, START + turn * MINUTE, data=f'{{"machine": "{name}"}}')
                    for name in (order if worker % 2 else reversed(order))
                ]
                see(events, {heartbeat.tenant_id: [Watch(heartbeat.id, "backup.*", "payload.machine")]})
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert HeartbeatKey.objects.count() == 40
    assert set(HeartbeatKey.objects.values_list("last_seen_at", flat=True)) == {START + 4 * MINUTE}


@pytest.mark.django_db(transaction=True)
def test_a_heartbeat_that_is_deleted_while_it_is_seen_stops_nobody():
    doomed, sound = HeartbeatFactory(), HeartbeatFactory()
    watches = {doomed.tenant_id: [Watch(one.id, "*", "payload.machine") for one in (doomed, sound)]}
    deleted = threading.Event()

    def delete_slowly() -> None:
        try:
            with transaction.atomic():
                Heartbeat.objects.filter(pk=doomed.pk).delete()
                deleted.set()
                with connection.cursor() as cursor:
                    waits = False
                    while not waits:  # until the other one stands before the row that is going
                        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
                        (waits,) = cursor.fetchone()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as elsewhere:
        deleting = elsewhere.submit(delete_slowly)
        assert deleted.wait(30)
        see([claimed(doomed.tenant, START)], watches)
        deleting.result(30)
    assert [key.heartbeat_id for key in HeartbeatKey.objects.all()] == [sound.id]


# Whom nobody may accuse


def waiting_event(tenant, at: datetime, **values) -> Event:
    return EventFactory(tenant=tenant, event_type="backup.done", created_at=at, **values)


def test_while_its_own_event_may_be_waiting_nobody_is_accused(tenant, heartbeat):
    beat(heartbeat, START)
    event = waiting_event(tenant, START + 9 * MINUTE)
    assert not sweep_heartbeats(now=START + 10 * MINUTE)
    assert not sweep_heartbeats(now=START + 40 * MINUTE - timedelta(seconds=57))  # looked at again and again meanwhile
    Event.objects.filter(pk=event.pk).update(status=EventStatus.PROCESSED)


@pytest.mark.parametrize(
    "values",
    [{"event_type": "order.shipped"}, {"status": EventStatus.PROCESSED}, {"created_at": START + 10 * MINUTE + MINUTE / 60}],
    ids=["another type", "worked off", "accepted after the deadline"],
)
def test_what_is_no_beat_before_the_deadline_holds_nobody_back(tenant, heartbeat, values):
    beat(heartbeat, START)
    EventFactory(**{"tenant": tenant, "event_type": "backup.done", "created_at": START, **values})
    assert sweep_heartbeats(now=START + 10 * MINUTE + MINUTE / 30)


def test_another_tenants_backlog_holds_nobody_back(tenant, stranger, heartbeat):
    beat(heartbeat, START)
    waiting_event(stranger, START)
    assert sweep_heartbeats(now=START + 10 * MINUTE)


def test_once_the_backlog_is_worked_off_the_verdict_follows(tenant, heartbeat):
    beat(heartbeat, START)
    event = waiting_event(tenant, START + 9 * MINUTE)
    now = START + 10 * MINUTE
    for _ in range(100):
        assert not sweep_heartbeats(now=now)
        now += timedelta(seconds=1)
    Event.objects.filter(pk=event.pk).update(status=EventStatus.PROCESSED)
    assert sweep_heartbeats(now=now + timedelta(seconds=5))
    assert kinds(tenant) == ["missed"]


def test_a_backlog_longer_than_is_looked_at_holds_everybody_back(tenant, heartbeat, monkeypatch):
    monkeypatch.setattr(sweeping, "_LOOKED_AT", 3)
    beat(heartbeat, START)
    for number in range(3):
        EventFactory(tenant=tenant, event_type="other", created_at=START + number * MINUTE)
    assert not sweep_heartbeats(now=START + 10 * MINUTE)


def test_after_the_service_itself_was_away_deadlines_begin_anew(tenant, heartbeat):
    beat(heartbeat, START)
    back = START + 3 * 60 * MINUTE
    assert not sweep_heartbeats(now=back)
    assert not sweep_heartbeats(now=back + 9 * MINUTE)
    assert sweep_heartbeats(now=back + 10 * MINUTE)


# Switched off and on


def test_an_inactive_heartbeat_raises_nothing_and_begins_anew(tenant, heartbeat):
    beat(heartbeat, START)
    heartbeat.is_active = False
    save_heartbeat(heartbeat)
    assert not sweep_heartbeats(now=START + 10 * MINUTE)
    assert HeartbeatKey.objects.get().check_at is None  # nor is it looked at every second
    heartbeat.is_active = True
    save_heartbeat(heartbeat)
    assert not sweep_heartbeats(now=START + 20 * MINUTE)
    assert not sweep_heartbeats(now=START + 29 * MINUTE)
    assert sweep_heartbeats(now=START + 30 * MINUTE)


def test_an_inactive_tenant_raises_nothing_and_begins_anew(tenant, heartbeat):
    beat(heartbeat, START)
    Tenant.objects.filter(pk=tenant.pk).update(is_active=False)
    assert not sweep_heartbeats(now=START + 5 * MINUTE)
    Tenant.objects.filter(pk=tenant.pk).update(is_active=True)
    assert not sweep_heartbeats(now=START + 9 * MINUTE)
    assert not sweep_heartbeats(now=START + 18 * MINUTE)
    assert sweep_heartbeats(now=START + 19 * MINUTE)


def test_a_tenant_switched_off_since_the_deadline_passed_raises_nothing(tenant, heartbeat):
    beat(heartbeat, START)
    Tenant.objects.filter(pk=tenant.pk).update(is_active=False)
    assert not sweep_heartbeats(now=START + 10 * MINUTE)
    assert not raised(tenant)


def test_what_was_missing_before_is_not_missed_again(tenant, heartbeat):
    beat(heartbeat, START)
    sweep_heartbeats(now=START + 10 * MINUTE)
    save_heartbeat(heartbeat)
    for minutes in (11, 21, 31):
        assert not sweep_heartbeats(now=START + minutes * MINUTE)
    beat(heartbeat, START + 40 * MINUTE)
    sweep_heartbeats(now=START + 40 * MINUTE)
    assert kinds(tenant) == ["missed", "recovered"]


def test_another_key_forgets_the_keys(tenant, heartbeat):
    beat(heartbeat, START)
    heartbeat.key = "payload.host"
    save_heartbeat(heartbeat)
    assert not HeartbeatKey.objects.exists()


# Declared and retired


def test_a_declared_key_is_missed_though_it_was_never_seen(tenant, heartbeat):
    key, is_new = declare_key(heartbeat, "m9")
    assert is_new
    assert declare_key(heartbeat, "m9") == (key, False)
    sweep_heartbeats(now=key.due_at)
    (missed,) = raised(tenant)
    assert (missed.data["key"], missed.data["lastSeenAt"]) == ("m9", None)
    beat(heartbeat, key.due_at + 10 * MINUTE, "m9")
    sweep_heartbeats(now=key.due_at + 10 * MINUTE)
    assert raised(tenant)[-1].data["awayFor"] == 20 * 60


def test_a_retired_key_is_missed_no_more(tenant, heartbeat):
    beat(heartbeat, START)
    assert forget_key(heartbeat, "m1")
    assert not forget_key(heartbeat, "m1")
    assert not sweep_heartbeats(now=START + 10 * MINUTE)


def test_a_heartbeat_without_a_key_expects_its_one_thing_from_the_start(tenant):
    heartbeat = Heartbeat(tenant=tenant, name="nightly", event_type="backup.done", every_s=60)
    save_heartbeat(heartbeat)
    sweep_heartbeats(now=clock())
    due_at = HeartbeatKey.objects.get().due_at
    sweep_heartbeats(now=due_at)
    (missed,) = raised(tenant)
    assert missed.data["key"] == ""


# At the same time


@pytest.mark.django_db(transaction=True)
def test_two_schedulers_at_once_raise_each_event_once():
    heartbeat = HeartbeatFactory()
    for number in range(60):
        beat(heartbeat, START, f"m{number}")
    start = threading.Barrier(4)

    def turn(_: int) -> None:
        try:
            start.wait()
            for _ in range(3):
                sweep_heartbeats(now=START + 10 * MINUTE)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(turn, range(4)))
    assert len(raised(heartbeat.tenant)) == 60
    assert set(HeartbeatKey.objects.values_list("miss_count", flat=True)) == {1}


def test_a_scheduler_that_dies_in_between_leaves_nothing_half_done(tenant, heartbeat, monkeypatch):
    class Died(Exception):
        pass

    def die(*_: object, **__: object) -> int:
        raise Died

    beat(heartbeat, START)
    with monkeypatch.context() as patched:
        patched.setattr(sweeping, "store_raised", die)
        with pytest.raises(Died), transaction.atomic():
            sweep_heartbeats(now=START + 10 * MINUTE)
    assert not HeartbeatKey.objects.get().is_missing
    assert sweep_heartbeats(now=START + 10 * MINUTE)
    assert kinds(tenant) == ["missed"]


# Whatever happens


STEPS = st.lists(
    st.tuples(st.sampled_from(["beat", "late beat", "sweep", "sweep twice", "save"]), st.integers(0, 45)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_missed_and_recovered_take_turns_whatever_happens(db, steps):
    heartbeat = HeartbeatFactory(tenant=TenantFactory(), every_s=60, grace_s=0)
    now, last = START, None
    for what, seconds in steps:
        now += timedelta(seconds=seconds)
        if what == "beat":
            beat(heartbeat, now)
            last = now
        elif what == "late beat":
            beat(heartbeat, now - timedelta(seconds=50))
            last = max(last or now - timedelta(seconds=50), now - timedelta(seconds=50))
        elif what == "save":
            save_heartbeat(heartbeat)
        else:
            sweep_heartbeats(now=now)
            if what == "sweep twice":
                assert not sweep_heartbeats(now=now)
            key = heartbeat.keys.first()
            if key is not None and key.is_missing:
                assert last + timedelta(seconds=60) <= now  # nobody is missing who was seen in time
    found = kinds(heartbeat.tenant)
    assert found == ["missed", "recovered"] * (len(found) // 2) + ["missed"] * (len(found) % 2)
    key = heartbeat.keys.first()
    assert (key.is_missing if key else False) == (len(found) % 2 == 1)
