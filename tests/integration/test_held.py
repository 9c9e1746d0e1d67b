"""What waits for its time: held when it may not be sent yet, and asked about again, by the same gates, when it may."""

from datetime import UTC, datetime, time, timedelta

import pytest
from django.utils.timezone import now

from deliveries.models import Delivery
from deliveries.states import Status
from notifications.models import Event, Hold
from preferences.models import Preference
from tenants.vocabulary import Channel, Priority
from tests.factories import (
    DeviceFactory,
    EventTypeFactory,
    PreferenceFactory,
    RecipientFactory,
    RuleFactory,
    SuppressionFactory,
    TemplateFactory,
)

NIGHT = [{"start": "22:00", "end": "07:00"}]
LATE = datetime(2031, 7, 1, 21, 30, tzinfo=UTC)
"""Half past eleven at night in Vienna."""
MORNING = datetime(2031, 7, 2, 5, 0, tzinfo=UTC)


@pytest.fixture
def ada(tenant):
    for channel in (Channel.IN_APP, Channel.EMAIL, Channel.SMS, Channel.PUSH):
        TemplateFactory(tenant=tenant, channel=channel)
    recipient = RecipientFactory(tenant=tenant, user_id="ada", timezone="Europe/Vienna")
    DeviceFactory(recipient=recipient, token="simulator-ok")
    return recipient


def quiet(recipient, windows=NIGHT):
    recipient.quiet_hours = windows
    recipient.save()


def post(api, **event):
    body = {"eventType": "account", "userId": "ada", "channels": ["in_app"], "data": {"userName": "Ada"}} | event
    response = api.post("/api/events", body, format="json")
    assert response.status_code == 202, response.json()
    return response.json()["eventId"]


def deliveries(event_id):
    return {Channel(one.channel).label: one for one in Delivery.objects.filter(event_id=event_id)}


def the(event_id):
    (delivery,) = Delivery.objects.filter(event_id=event_id)
    return delivery


class TestQuietHours:
    def test_what_comes_at_night_is_held_and_goes_out_in_the_morning(self, api, ada, drain):
        quiet(ada)
        event_id = post(api)
        drain(LATE)
        held = the(event_id)
        assert (held.status, held.reason, held.is_held, held.next_attempt_at) == (Status.PENDING, "quiet_hours", True, MORNING)
        assert held.explanation["level"] == "user.quiet_hours"
        assert held.body == ""
        drain(MORNING - timedelta(seconds=1))
        assert the(event_id).is_held
        drain(MORNING)
        sent = the(event_id)
        assert (sent.id, sent.status, sent.body, sent.is_held) == (held.id, Status.SENT, "Hello Ada", False)
        assert sent.explanation["heldFor"] == [
            {"reason": "quiet_hours", "since": "2031-07-01T21:30:00Z", "until": "2031-07-02T05:00:00Z"}
        ]
        assert not Hold.objects.exists()

    def test_by_day_nothing_is_held(self, api, ada, drain):
        quiet(ada)
        event_id = post(api)
        drain(MORNING + timedelta(hours=3))
        assert the(event_id).status == Status.SENT

    def test_what_changed_meanwhile_counts(self, api, tenant, ada, drain):
        quiet(ada)
        opted_out, suppressed, moved = (post(api, channels=[channel]) for channel in ("in_app", "email", "sms"))
        drain(LATE)
        PreferenceFactory(tenant=tenant, user_id="ada", channel=Channel.IN_APP, enabled=False)
        SuppressionFactory(tenant=tenant, address="ada@example.com")
        ada.refresh_from_db()
        ada.phone = "+15005550002"
        ada.save()
        drain(MORNING)
        assert (the(opted_out).status, the(opted_out).reason) == (Status.SUPPRESSED, "opted_out")
        assert (the(suppressed).status, the(suppressed).reason) == (Status.SUPPRESSED, "suppressed_address")
        assert the(moved).address == "+15005550002"

    def test_what_expires_at_night_is_recorded_as_expired_when_it_does(self, api, ada, drain):
        quiet(ada)
        expires_at = LATE + timedelta(hours=2)
        event_id = post(api, expiresAt=expires_at.isoformat())
        drain(LATE)
        assert the(event_id).next_attempt_at == expires_at
        drain(expires_at)
        assert the(event_id).status == Status.EXPIRED

    def test_a_cancel_withdraws_what_is_held(self, api, ada, drain):
        quiet(ada)
        event_id = post(api)
        drain(LATE)
        assert api.delete(f"/api/events/{event_id}").status_code == 200
        drain(MORNING)
        canceled = the(event_id)
        assert (canceled.status, canceled.reason, canceled.is_held) == (Status.CANCELED, "", False)
        assert canceled.explanation.keys() == {"canceledAt"}
        assert "delivery.canceled" in [one["type"] for one in api.get(f"/api/events/{event_id}").json()["timeline"]]
        assert not Hold.objects.exists()

    @pytest.mark.parametrize("event", [{"priority": "urgent"}, {"eventType": "security"}])
    def test_urgent_and_required_ones_pass(self, api, tenant, ada, drain, event):
        EventTypeFactory(tenant=tenant, name="security", required=True)
        TemplateFactory(tenant=tenant, event_type="security")
        quiet(ada)
        event_id = post(api, **event)
        drain(LATE)
        assert the(event_id).status == Status.SENT

    def test_a_preferences_own_go_before_the_users(self, api, tenant, ada, drain):
        quiet(ada)
        PreferenceFactory(
            tenant=tenant, user_id="ada", event_type="account", quiet_hours_start=time(20), quiet_hours_end=time(9)
        )
        event_id = post(api)
        drain(LATE)
        assert the(event_id).next_attempt_at == MORNING + timedelta(hours=2)
        assert the(event_id).explanation["level"] == "user.type"
        Preference.objects.update(quiet_hours_days=0, quiet_hours_start=None, quiet_hours_end=None)
        free = post(api)
        drain(LATE)
        assert the(free).status == Status.SENT

    def test_the_tenants_count_for_who_has_none(self, api, tenant, ada, drain):
        tenant.quiet_hours = NIGHT
        tenant.save()
        event_id = post(api)
        drain(LATE)
        assert the(event_id).explanation["level"] == "tenant.quiet_hours"

    def test_only_on_the_days_named(self, api, ada, drain):
        quiet(ada, [{"start": "22:00", "end": "07:00", "days": ["sat", "sun"]}])
        event_id = post(api)
        drain(LATE)  # a Tuesday
        assert the(event_id).status == Status.SENT

    def test_an_address_given_with_the_event_is_kept(self, api, ada, drain):
        quiet(ada)
        event_id = post(api, userId=None, channels=["email"], to={"userId": "ada", "email": "elsewhere@example.com"})
        drain(LATE)
        drain(MORNING)
        assert the(event_id).address == "elsewhere@example.com"

    def test_of_a_tenant_that_was_switched_off_nothing_goes_out(self, api, tenant, ada, drain):
        quiet(ada)
        event_id = post(api)
        drain(LATE)
        tenant.is_active = False
        tenant.save()
        drain(MORNING)
        assert (the(event_id).status, the(event_id).reason) == (Status.SUPPRESSED, "tenant_inactive")

    def test_one_whose_event_is_gone_does_not_wait_for_ever(self, api, ada, drain):
        quiet(ada)
        event_id = post(api)
        drain(LATE)
        Event.objects.filter(event_id=event_id).delete()
        drain(MORNING)
        assert (the(event_id).status, the(event_id).reason) == (Status.FAILED, "event_gone")
        assert not Hold.objects.exists()

    def test_running_a_release_twice_changes_nothing(self, api, ada, drain, monkeypatch):
        from notifications import tasks

        quiet(ada)
        event_id = post(api)
        drain(LATE)
        chunks = []
        monkeypatch.setattr(tasks, "_filter", chunks.append)
        drain(MORNING)
        monkeypatch.undo()
        (chunk,) = chunks
        from notifications.filter import decide
        from notifications.route import write

        assert write(decide(chunk, now=MORNING), now=MORNING).in_app
        again = write(decide(chunk, now=MORNING), now=MORNING)
        assert not again.in_app
        assert not again.statuses
        assert the(event_id).status == Status.SENDING


class TestEscalation:
    STEPS = [{"channel": "in_app"}, {"channel": "push", "afterSeconds": 600}, {"channel": "sms", "afterSeconds": 300}]

    def test_each_channel_has_its_turn(self, api, ada, drain):
        event_id = post(api, channels=None, escalation=self.STEPS)
        drain(LATE)
        planned = deliveries(event_id)
        assert planned["in_app"].status == Status.SENT
        assert (planned["push"].reason, planned["push"].next_attempt_at) == ("escalation", LATE + timedelta(seconds=600))
        assert (planned["sms"].reason, planned["sms"].next_attempt_at) == ("escalation", LATE + timedelta(seconds=900))
        drain(LATE + timedelta(seconds=600))
        assert deliveries(event_id)["push"].status != Status.PENDING or not deliveries(event_id)["push"].is_held
        assert deliveries(event_id)["sms"].is_held

    def test_it_stops_when_the_message_was_read(self, api, ada, drain):
        event_id = post(api, channels=None, escalation=self.STEPS)
        drain(LATE)
        Delivery.objects.filter(event_id=event_id, channel=Channel.IN_APP).update(read_at=now())
        drain(LATE + timedelta(seconds=900))
        for channel in ("push", "sms"):
            stopped = deliveries(event_id)[channel]
            assert (stopped.status, stopped.reason) == (Status.SUPPRESSED, "already_reached")

    def test_it_stops_when_one_was_delivered(self, api, ada, drain):
        event_id = post(api, channels=None, escalation=self.STEPS)
        drain(LATE)
        drain(LATE + timedelta(seconds=600))
        Delivery.objects.filter(event_id=event_id, channel=Channel.PUSH).update(status=Status.DELIVERED)
        drain(LATE + timedelta(seconds=900))
        assert deliveries(event_id)["sms"].reason == "already_reached"

    def test_in_the_morning_steps_keep_their_distance(self, api, ada, drain):
        quiet(ada)
        event_id = post(api, channels=None, escalation=self.STEPS)
        drain(LATE)
        for seconds in (600, 900):
            drain(LATE + timedelta(seconds=seconds))
        waiting = {channel: (one.reason, one.next_attempt_at) for channel, one in deliveries(event_id).items()}
        assert waiting == {
            "in_app": ("quiet_hours", MORNING),
            "push": ("quiet_hours", MORNING + timedelta(seconds=600)),
            "sms": ("quiet_hours", MORNING + timedelta(seconds=900)),
        }
        drain(MORNING)
        Delivery.objects.filter(event_id=event_id, channel=Channel.IN_APP).update(read_at=now())
        drain(MORNING + timedelta(seconds=900))
        assert {deliveries(event_id)[channel].reason for channel in ("push", "sms")} == {"already_reached"}

    def test_a_step_after_one_that_was_not_held_comes_when_quiet_hours_end(self, api, tenant, ada, drain):
        early = datetime(2031, 7, 1, 19, 55, tzinfo=UTC)
        quiet(ada)
        event_id = post(api, channels=None, escalation=self.STEPS)
        drain(early)
        Delivery.objects.filter(event_id=event_id, channel=Channel.IN_APP, status=Status.SENT).get()
        for seconds in (600, 900):
            drain(early + timedelta(seconds=seconds))
        found = deliveries(event_id)
        assert found["push"].next_attempt_at == MORNING
        assert found["sms"].next_attempt_at == MORNING + timedelta(seconds=300)

    def test_where_a_channel_is_refused_the_next_one_does_not_wait(self, api, tenant, ada, drain):
        PreferenceFactory(tenant=tenant, user_id="ada", channel=Channel.IN_APP, enabled=False)
        event_id = post(api, channels=None, escalation=self.STEPS)
        drain(LATE)
        found = deliveries(event_id)
        assert found["in_app"].reason == "opted_out"
        assert not found["push"].is_held
        assert found["sms"].next_attempt_at == LATE + timedelta(seconds=300)

    def test_nor_where_it_is_refused_later(self, api, tenant, ada, drain):
        event_id = post(api, channels=None, escalation=self.STEPS)
        drain(LATE)
        PreferenceFactory(tenant=tenant, user_id="ada", channel=Channel.PUSH, enabled=False)
        drain(LATE + timedelta(seconds=600))
        assert deliveries(event_id)["push"].reason == "opted_out"
        assert not deliveries(event_id)["sms"].is_held

    @pytest.mark.parametrize(
        ("event", "field", "code"),
        [
            ({"escalation": [*STEPS, {"channel": "in_app"}]}, "escalation[3].channel", "cyclic"),
            ({"escalation": STEPS, "channels": ["sms"]}, "escalation", "contradiction"),
            ({"escalation": STEPS[:1]}, "escalation", "type"),
            ({"escalation": [{"channel": "pigeon"}, {"channel": "sms"}]}, "escalation[0].channel", "choice"),
            (
                {"escalation": [{"channel": "in_app"}, {"channel": "sms", "afterSeconds": -1}]},
                "escalation[1].afterSeconds",
                "type",
            ),
            ({"digestKey": ""}, "digestKey", "type"),
            ({"eventId": "digest-01a1ff7d-a3e9-74ac-9dcb-02a80c0cdc59"}, "eventId", "reserved"),
            ({"eventId": "heartbeat-01a1ff7d-a3e9-74ac-9dcb-02a80c0cdc59-1-missed"}, "eventId", "reserved"),
        ],
    )
    def test_bad_ones_are_named(self, api, event, field, code):
        response = api.post("/api/events", {"eventType": "account", "userId": "ada", **event}, format="json")
        assert response.status_code == 400
        assert [(error["field"], error["code"]) for error in response.json()["errors"]] == [(field, code)]


class TestRules:
    def test_a_delay_waits_and_asks_again(self, api, tenant, ada, drain):
        rule = RuleFactory(tenant=tenant, event_type="account", channels=[Channel.IN_APP], delay_s=3600)
        event_id = post(api, channels=None)
        drain(LATE)
        held = the(event_id)
        assert (held.reason, held.next_attempt_at) == ("delayed", LATE + timedelta(hours=1))
        drain(LATE + timedelta(hours=1))
        assert the(event_id).status == Status.SENT
        assert the(event_id).explanation["routedByRule"] == str(rule.pk)

    def test_its_priority_and_template_are_used(self, api, tenant, ada, drain):
        TemplateFactory(tenant=tenant, event_type="shout", version__body="HELLO {{ userName }}")
        RuleFactory(tenant=tenant, event_type="account", priority=Priority.URGENT, template="shout")
        quiet(ada)
        event_id = post(api, channels=None)
        drain(LATE)
        sent = the(event_id)
        assert (sent.status, sent.priority, sent.body) == (Status.SENT, Priority.URGENT, "HELLO Ada")

    def test_digest_or_immediate(self, api, tenant, ada, drain):
        RuleFactory(tenant=tenant, event_type="account", delivery="digest", position=1)
        collected = post(api, channels=None)
        drain(LATE)
        assert the(collected).reason == "digest"
        assert the(collected).explanation["level"] == "rule"
        PreferenceFactory(tenant=tenant, user_id="", delivery="digest")
        RuleFactory(tenant=tenant, event_type="account", delivery="immediate", position=0)
        at_once = post(api, channels=None)
        drain(LATE)
        assert the(at_once).status == Status.SENT
        PreferenceFactory(tenant=tenant, user_id="ada", delivery="digest")
        chosen = post(api, channels=None)
        drain(LATE)
        assert the(chosen).reason == "digest"

    def test_rules_of_different_manners_share_out_the_channels(self, api, tenant, ada, drain):
        RuleFactory(tenant=tenant, event_type="account", channels=[Channel.IN_APP])
        RuleFactory(tenant=tenant, event_type="account", channels=[Channel.IN_APP, Channel.EMAIL], delay_s=60, position=1)
        event_id = post(api, channels=None)
        drain(LATE)
        found = deliveries(event_id)
        assert found["in_app"].status == Status.SENT
        assert (found["email"].reason, found["email"].next_attempt_at) == ("delayed", LATE + timedelta(seconds=60))

    @pytest.mark.parametrize("kind", ["role", "group"])
    def test_the_members_of_a_role_or_group(self, api, tenant, stranger, ada, drain, kind):
        for user_id, attributes in {
            "bob": {kind: "support"},
            "cy": {f"{kind}s": ["sales", "support"]},
            "eve": {kind: "sales"},
        }.items():
            RecipientFactory(tenant=tenant, user_id=user_id, attributes=attributes)
        RecipientFactory(tenant=stranger, user_id="mallory", attributes={kind: "support"})
        RuleFactory(tenant=tenant, event_type="account", recipients={kind: "support"})
        event_id = post(api, channels=None, userId=None)
        drain(LATE)
        assert set(Delivery.objects.filter(event_id=event_id).values_list("user_id", flat=True)) == {"bob", "cy"}

    def test_members_are_found_by_their_index(self, tenant):
        from django.db import connection

        from preferences.selectors import _MEMBERS

        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO preferences_recipient (id, tenant_id, user_id, email, phone, telegram_chat_id, webhook_url, "
                "locale, timezone, attributes, created_at, updated_at) "
                "SELECT gen_random_uuid(), %s, n::text, '', '', '', '', '', '', "
                "CASE WHEN n %% 20 = 0 THEN jsonb_build_object('role', n::text) ELSE '{}' END, now(), now() "
                "FROM generate_series(1, 5000) n",
                [tenant.pk],
            )
            cursor.execute("ANALYZE preferences_recipient")
            cursor.execute(f"EXPLAIN {_MEMBERS}", [tenant.pk, '{"role": "a"}', '{"roles": ["a"]}', 10])
            assert "recipient_attributes" in str(cursor.fetchall())

    def test_a_role_of_too_many_reaches_nobody(self, api, tenant, ada, drain, monkeypatch):
        from notifications import audience

        monkeypatch.setattr(audience, "MOST_MEMBERS", 1)
        for _ in range(2):
            RecipientFactory(tenant=tenant, attributes={"role": "support"})
        RuleFactory(tenant=tenant, event_type="account", recipients={"role": "support"})
        event_id = post(api, channels=None, userId=None)
        drain(LATE)
        assert not Delivery.objects.filter(event_id=event_id).exists()
        answer = api.post("/api/rules/explain", {"event": {"eventType": "account"}}, format="json").json()
        assert "more than 1 members" in answer["rules"][0]["problems"][0]["message"]

    def test_the_api_takes_them(self, api, tenant):
        rule = {
            "name": "late",
            "eventType": "order.*",
            "channels": ["email"],
            "recipients": {"role": "support"},
            "priority": "high",
            "template": "order",
            "delivery": "digest",
            "delaySeconds": 60,
        }
        stored = api.post("/api/rules", rule, format="json")
        assert stored.status_code == 201, stored.json()
        assert stored.json().items() >= rule.items()
        assert api.patch(f"/api/rules/{stored.json()['id']}", {"priority": None}, format="json").json()["priority"] is None
        for field, value in {"delaySeconds": -1, "priority": "soon", "template": "a b", "delivery": "never"}.items():
            refused = api.patch(f"/api/rules/{stored.json()['id']}", {field: value}, format="json")
            assert [error["field"] for error in refused.json()["errors"]] == [field]
        refused = api.patch(f"/api/rules/{stored.json()['id']}", {"recipients": {"role": 1}}, format="json")
        assert [error["field"] for error in refused.json()["errors"]] == ["recipients"]


class TestProgress:
    def test_a_broadcast_shows_how_far_it_has_come(self, api, tenant, ada, drain, monkeypatch):
        from notifications import enrich, tasks
        from preferences.services import subscribe

        for number in range(7):
            subscribe(tenant=tenant, topic_key="all", user_id=f"user-{number}")
        monkeypatch.setattr(enrich, "PAGE", 3)
        monkeypatch.setattr(tasks.bells, "ring_enrich", lambda **_: True)
        event_id = post(api, userId=None, to={"topic": "all"})
        seen = []
        for _ in range(3):
            seen.append(api.get(f"/api/events/{event_id}").json()["progress"])
            tasks.enrich()
        assert [(one["recipients"], one["of"]) for one in seen] == [(0, 7), (3, 7), (6, 7)]
        assert seen[2]["byStatus"] == {"sent": 6}
        done = api.get(f"/api/events/{event_id}").json()
        assert (done["status"], done["progress"]) == ("processed", {"recipients": 7, "of": 7, "byStatus": {"sent": 7}})

    def test_canceled_half_way_the_rest_gets_nothing(self, api, tenant, ada, drain, monkeypatch):
        from notifications import enrich, tasks
        from preferences.services import subscribe

        for number in range(7):
            subscribe(tenant=tenant, topic_key="all", user_id=f"user-{number}")
        monkeypatch.setattr(enrich, "PAGE", 3)
        event_id = post(api, userId=None, to={"topic": "all"})
        monkeypatch.setattr(tasks.bells, "ring_enrich", lambda **_: True)
        tasks.enrich()
        assert api.delete(f"/api/events/{event_id}").json()["status"] == "canceled"
        drain(LATE)
        progress = api.get(f"/api/events/{event_id}").json()["progress"]
        assert progress == {"recipients": 3, "of": None, "byStatus": {"sent": 3}}

    def test_what_was_planned_and_what_waited_is_in_the_timeline(self, api, ada, drain):
        quiet(ada)
        event_id = post(api, digestKey="k")
        drain(LATE)
        detail = "quiet_hours until 2031-07-02T05:00:00Z"
        held = api.get(f"/api/events/{event_id}").json()
        assert held["digestKey"] == "k"
        assert [entry["detail"] for entry in held["timeline"] if entry["type"] == "delivery.held"] == [detail]
        drain(MORNING)
        later = api.get(f"/api/events/{event_id}").json()["timeline"]
        assert [entry["detail"] for entry in later if entry["type"] == "delivery.held"] == [detail]

    def test_an_escalation_can_be_seen(self, api, ada, drain):
        event_id = post(api, channels=None, escalation=TestEscalation.STEPS)
        shown = api.get(f"/api/events/{event_id}").json()
        assert shown["escalation"] == [{"afterSeconds": 0} | step for step in TestEscalation.STEPS]
