"""From a stored event to recorded deliveries, stage by stage, on a real database."""

import hashlib
import time

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from deliveries.claims import claim_deliveries
from deliveries.dispatch import send_claimed
from deliveries.models import Attempt, AttemptOutcome, Delivery
from deliveries.states import Status
from notifications import enrich, leases, route, tasks
from notifications.claims import claim_events
from notifications.models import Event, EventStatus
from preferences.models import Recipient
from preferences.services import subscribe
from tenants.vocabulary import Channel
from tests.factories import (
    DeviceFactory,
    EventTypeFactory,
    PreferenceFactory,
    RecipientFactory,
    RuleFactory,
    SuppressionFactory,
    TemplateFactory,
)

ALL = ["email", "sms", "push", "in_app", "chat", "webhook"]


@pytest.fixture(autouse=True)
def sandbox(tenant):
    """The simulator's addresses answer in the sandbox only."""
    tenant.sandbox = True
    tenant.save()


@pytest.fixture
def templates(tenant):
    """A template for each channel, naming the channel so that a mix-up shows."""
    for channel in Channel:
        TemplateFactory(
            tenant=tenant,
            channel=channel,
            version__subject=f"{channel.label} for {{{{ userName }}}}",
            version__body=f"{channel.label} body",
        )


@pytest.fixture
def ada(tenant):
    ada = RecipientFactory(
        tenant=tenant,
        user_id="ada",
        email="ok@simulator.invalid",
        phone="+15005550000",
        telegram_chat_id="simulator-ok",
        webhook_url="https://ok.simulator.invalid/hook",
    )
    DeviceFactory(recipient=ada, token="simulator-ok")
    return ada


def post(api, **event):
    body = {"eventId": "e1", "eventType": "account", "data": {"userName": "Ada"}} | event
    response = api.post("/api/events", body)
    assert response.status_code == 202, response.json()


def outcome(**where):
    """channel → (status, reason) of the deliveries there are."""
    rows = Delivery.objects.filter(**where).values_list("channel", "status", "reason")
    return {Channel(channel).label: (Status(status).label, reason) for channel, status, reason in rows}


def test_an_event_becomes_a_delivery_on_every_channel(api, drain, templates, ada):
    post(api, userId="ada", channels=ALL)
    drain()
    delivered = {channel: ("delivered", "") for channel in ALL if channel != "in_app"}
    assert outcome() == delivered | {"in_app": ("sent", "")}
    assert Event.objects.get().status == EventStatus.PROCESSED
    for delivery in Delivery.objects.prefetch_related("attempts"):
        label = Channel(delivery.channel).label
        assert (delivery.subject, delivery.body) == (f"{label} for Ada", f"{label} body")
        (attempt,) = delivery.attempts.all()
        assert (attempt.outcome, attempt.number) == (AttemptOutcome.SENT, 1)
        assert delivery.sandbox is (label != "in_app")
        assert delivery.sent_at is not None


def test_running_a_stage_twice_changes_nothing(api, drain, templates, ada):
    post(api, userId="ada", channels=["in_app", "email"])
    drain()
    Event.objects.update(status=EventStatus.ACCEPTED)
    drain()
    assert Delivery.objects.count() == 2
    assert Attempt.objects.count() == 2


def test_an_unknown_user_is_made_known_and_has_no_address(api, drain, templates):
    post(api, userId="new", channels=["in_app", "email"])
    drain()
    assert outcome() == {"in_app": ("sent", ""), "email": ("suppressed", "no_address")}
    assert Recipient.objects.get().user_id == "new"


def test_an_inline_recipient_is_not_kept(api, drain, templates):
    post(api, to={"email": "ok@simulator.invalid"}, channels=["email", "in_app"])
    drain()
    assert outcome() == {"email": ("delivered", ""), "in_app": ("suppressed", "no_address")}
    assert not Recipient.objects.exists()


def test_inline_contact_points_go_before_what_is_known(api, drain, templates, ada):
    post(api, to={"userId": "ada", "email": "bounce@simulator.invalid"}, channels=["email"])
    drain()
    delivery = Delivery.objects.get()
    assert (delivery.address, delivery.user_id, delivery.status) == ("bounce@simulator.invalid", "ada", Status.BOUNCED)
    assert Recipient.objects.get().email == "ok@simulator.invalid"


def test_a_list_of_recipients_with_one_named_twice(api, drain, templates):
    addresses = [f"p{number}@example.com" for number in range(700)]
    post(api, to=[{"email": address} for address in [*addresses, addresses[0]]], channels=["email"])
    drain()
    assert sorted(Delivery.objects.values_list("address", flat=True)) == sorted(addresses)


def test_an_opt_out_is_recorded_with_the_rule_that_decided(api, drain, templates, ada, tenant):
    preference = PreferenceFactory(tenant=tenant, user_id="ada", channel=Channel.EMAIL, event_type="account", enabled=False)
    post(api, userId="ada", channels=["email", "in_app"])
    drain()
    assert outcome() == {"in_app": ("sent", ""), "email": ("suppressed", "opted_out")}
    assert str(preference.id) in str(Delivery.objects.get(channel=Channel.EMAIL).explanation)


def test_a_required_type_is_sent_all_the_same(api, drain, templates, ada, tenant):
    EventTypeFactory(tenant=tenant, name="account", required=True)
    PreferenceFactory(tenant=tenant, user_id="ada", enabled=False)
    post(api, userId="ada", channels=["email"])
    drain()
    assert outcome() == {"email": ("delivered", "")}


def test_a_suppressed_address_gets_nothing(api, drain, templates, ada, tenant):
    SuppressionFactory(tenant=tenant, channel=Channel.EMAIL, address="ok@simulator.invalid")
    post(api, userId="ada", channels=["email", "sms"])
    drain()
    assert outcome() == {"email": ("suppressed", "suppressed_address"), "sms": ("delivered", "")}


def test_an_expired_event_is_recorded_and_not_sent(api, drain, templates, ada):
    post(api, userId="ada", channels=["email", "in_app"], expiresAt="2020-01-01T00:00:00Z")
    drain()
    assert outcome() == {"email": ("expired", "expired"), "in_app": ("expired", "expired")}
    assert {one.explanation["expiresAt"] for one in Delivery.objects.all()} == {"2020-01-01T00:00:00Z"}
    assert Event.objects.get().status == EventStatus.EXPIRED


def test_a_scheduled_event_waits(api, drain, templates, ada):
    post(api, userId="ada", channels=["in_app"], scheduledAt="2027-01-01T00:00:00Z")
    drain()
    assert not Delivery.objects.exists()
    Event.objects.update(due_at=now())
    drain()
    assert outcome() == {"in_app": ("sent", "")}


def test_a_missing_variable_fails_its_own_delivery_by_name(api, drain, tenant, ada):
    TemplateFactory(tenant=tenant, channel=Channel.EMAIL, version__subject="x", version__body="Dear {{ userName }}")
    TemplateFactory(tenant=tenant, channel=Channel.SMS, version__subject="", version__body="plain", version__variables=[])
    post(api, userId="ada", channels=["email", "sms"], data={})
    drain()
    assert outcome() == {"email": ("failed", "missing_variable"), "sms": ("delivered", "")}
    assert "userName" in Delivery.objects.get(channel=Channel.EMAIL).error


def test_everyone_reads_dates_and_money_as_at_home(api, drain, tenant, ada):
    """The recipient's locale and time zone, else the template's locale and the tenant's zone."""
    tenant.timezone, tenant.default_locale = "Asia/Tokyo", "fr"
    tenant.save()
    ada.locale, ada.timezone = "de-AT", "Europe/Vienna"
    ada.save()
    body = "{{ data.total | money: 'EUR' }} {{ data.at | datetime: 'short' }} {{ recipient.timezone }}"
    TemplateFactory(tenant=tenant, channel=Channel.IN_APP, locale="en", version__body=body, version__variables=[])
    RecipientFactory(tenant=tenant, user_id="bob", locale="", timezone="")
    eve = {"userId": "eve", "locale": "en-US", "timezone": "America/New_York"}
    post(api, to=[{"userId": "ada"}, {"userId": "bob"}, eve], channels=["in_app"], data={"total": 1234.5, "at": 1772407805})
    drain()
    assert dict(Delivery.objects.values_list("user_id", "body")) == {
        "ada": "€\u00a01.234,50 02.03.26, 00:30 Europe/Vienna",
        "bob": "€1,234.50 3/2/26, 8:30\u202fAM Asia/Tokyo",
        "eve": "€1,234.50 3/1/26, 6:30\u202fPM America/New_York",
    }


def test_a_test_of_a_template_is_read_where_its_recipient_is(api, drain, tenant):
    body = "{{ data.total | money: 'EUR' }} {{ data.at | datetime: 'short' }}"
    template = TemplateFactory(tenant=tenant, channel=Channel.SMS, locale="de-AT", version__body=body, version__variables=[])
    phone, data = {"phone": "+15005550000"}, {"total": 1234.5, "at": 1772407805}
    for to in (phone, phone | {"locale": "en-US", "timezone": "America/New_York"}):
        assert api.post(f"/api/admin/templates/{template.pk}/test", {"to": to, "data": data}).status_code == 202
        drain()
    assert list(Delivery.objects.order_by("id").values_list("body", flat=True)) == [
        "€ 1.234,50 01.03.26, 23:30",
        "€1,234.50 3/1/26, 6:30 PM",
    ]


def test_a_value_that_cannot_be_formatted_fails_its_own_delivery(api, drain, tenant, ada):
    TemplateFactory(
        tenant=tenant, channel=Channel.SMS, version__body="\n{{ data.total | money: 'EUR' }}", version__variables=[]
    )
    TemplateFactory(tenant=tenant, channel=Channel.IN_APP, version__body="Fine", version__variables=[])
    post(api, userId="ada", channels=["sms", "in_app"], data={"total": {"cents": 5}})
    drain()
    assert outcome() == {"sms": ("failed", "render_error"), "in_app": ("sent", "")}
    error = Delivery.objects.get(channel=Channel.SMS).error
    assert error == "body, line 2: money: the value must be a number, but is an object"


def test_no_template_is_said_so(api, drain, ada):
    post(api, userId="ada", channels=["email"])
    drain()
    assert outcome() == {"email": ("failed", "no_template")}


def test_temporary_failures_are_tried_again(api, drain, templates, tenant):
    post(api, to={"email": "temporary@simulator.invalid"}, channels=["email"])
    drain()
    for attempts in (1, 2):
        delivery = Delivery.objects.get()
        assert (delivery.status, delivery.attempt_count) == (Status.PENDING, attempts)
        assert delivery.next_attempt_at > now()
        Delivery.objects.update(next_attempt_at=now())
        drain()
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempt_count) == (Status.SENT, 3) or delivery.status == Status.DELIVERED
    assert list(delivery.attempts.values_list("outcome", flat=True)) == [
        AttemptOutcome.TRANSIENT,
        AttemptOutcome.TRANSIENT,
        AttemptOutcome.SENT,
    ]


def test_what_never_works_ends_as_a_dead_letter(api, drain, templates):
    post(api, to=[{"email": "permanent@simulator.invalid"}, {"email": "down@simulator.invalid"}], channels=["email"])
    for _ in range(6):
        drain()
        Delivery.objects.filter(status=Status.PENDING).update(next_attempt_at=now())
    rows = dict(Delivery.objects.values_list("address", "attempt_count"))
    assert rows == {"permanent@simulator.invalid": 1, "down@simulator.invalid": 6}
    assert set(Delivery.objects.values_list("status", flat=True)) == {Status.FAILED}
    assert Delivery.objects.get(address__startswith="down").reason == "retries_exhausted"


def test_rules_route_what_names_no_recipient(api, drain, tenant):
    TemplateFactory(tenant=tenant, channel=Channel.IN_APP, event_type="order.shipped", version__body="x", version__variables=[])
    rule = RuleFactory(tenant=tenant, condition="payload.total > 10", recipients={"path": "payload.customer"})
    RuleFactory(tenant=tenant, condition="payload.missing == 1", recipients={"userIds": ["broken"]})
    RuleFactory(tenant=tenant, event_type="invoice.*", recipients={"userIds": ["other"]})
    api.post("/api/events", {"event_type": "order.shipped", "event_id": "big", "payload": {"total": 11, "customer": "c1"}})
    api.post("/api/events", {"event_type": "order.shipped", "event_id": "small", "payload": {"total": 9, "customer": "c1"}})
    drain()
    (delivery,) = Delivery.objects.all()
    assert (delivery.event_id, delivery.user_id, delivery.explanation["routedByRule"]) == ("big", "c1", str(rule.id))
    assert set(Event.objects.values_list("status", flat=True)) == {EventStatus.PROCESSED}


@pytest.mark.parametrize(
    "poison",
    [
        {"condition": "payload.a.map(x, payload.a).size() > 0", "recipients": {"userIds": ["nobody"]}},
        {"condition": "payload.a.size() > 0", "recipients": {"path": "payload.a.map(x, payload.a)[0]"}},
    ],
)
def test_a_poisonous_rule_holds_up_neither_its_tenants_other_rules_nor_other_tenants(
    api, stranger_api, drain, tenant, stranger, poison
):
    for owner in (tenant, stranger):
        TemplateFactory(tenant=owner, channel=Channel.IN_APP, event_type="order", version__body="x", version__variables=[])
        RuleFactory(tenant=owner, event_type="order", condition="payload.a.exists(x, x == 7)", recipients={"userIds": ["ada"]})
    RuleFactory(tenant=stranger, event_type="order", position=-1, **poison)
    event = {"eventType": "order", "data": {"a": list(range(4000))}}
    for number in range(30):  # a minute of work each, were they not left out after the first
        stranger_api.post("/api/events", event | {"eventId": f"e{number}"})
    api.post("/api/events", event)
    drain()
    assert set(Event.objects.values_list("status", flat=True)) == {EventStatus.PROCESSED}
    assert Delivery.objects.filter(tenant=tenant, user_id="ada").count() == 1
    assert Delivery.objects.filter(tenant=stranger, user_id="ada").count() == 30
    assert not Delivery.objects.exclude(user_id="ada").exists()


def test_channels_come_from_rules_then_the_type_then_the_tenant(api, drain, templates, tenant, ada):
    post(api, userId="ada", eventId="by tenant")
    EventTypeFactory(tenant=tenant, name="account", default_channels=[Channel.SMS])
    drain()
    post(api, userId="ada", eventId="by type")
    drain()
    RuleFactory(tenant=tenant, event_type="acc*", channels=[Channel.EMAIL, Channel.PUSH])
    post(api, userId="ada", eventId="by rule")
    drain()
    assert set(outcome(event_id="by type")) == {"sms"}
    assert set(outcome(event_id="by rule")) == {"email", "push"}


def test_a_topic_reaches_each_subscriber_once_in_many_chunks(api, drain, templates, tenant, stranger):
    for number in range(1203):
        Recipient(tenant=tenant, user_id=f"s{number}")
    recipients = Recipient.objects.bulk_create(Recipient(tenant=tenant, user_id=f"s{number}") for number in range(1203))
    subscribe(tenant=tenant, topic_key="news", user_id="s0")
    topic = tenant.topic_set.get()
    topic.subscriptions.bulk_create(topic.subscriptions.model(topic=topic, recipient=one) for one in recipients[1:])
    subscribe(tenant=stranger, topic_key="news", user_id="not mine")
    post(api, to={"topic": "news"}, channels=["in_app"])
    drain()
    assert sorted(Delivery.objects.values_list("user_id", flat=True)) == sorted(f"s{number}" for number in range(1203))
    assert Event.objects.get().status == EventStatus.PROCESSED


def test_a_cancel_between_the_stages_stops_the_event(api, drain, templates, ada):
    post(api, userId="ada", channels=["email", "in_app"])
    claim = claim_events(now=now())
    assert api.delete("/api/events/e1").json()["status"] == "canceled"
    tasks._enrich(claim, claim.events)
    assert not Delivery.objects.exists()


def test_a_cancel_withdraws_what_waits(api, drain, templates):
    post(api, to={"email": "down@simulator.invalid"}, channels=["email"])
    drain()
    assert api.delete("/api/events/e1").json()["canceledDeliveries"] == 1
    assert outcome() == {"email": ("canceled", "")} or outcome()["email"][0] == "canceled"
    Delivery.objects.update(next_attempt_at=now())
    drain()
    assert Delivery.objects.get().attempt_count == 1


def test_what_is_being_sent_when_its_event_is_canceled_is_not_tried_again(api, drain, templates):
    post(api, to={"email": "down@simulator.invalid"}, channels=["email"])
    tasks.enrich()
    claimed = claim_deliveries(channel=Channel.EMAIL, limit=9, now=now())
    assert len(claimed) == 1
    assert api.delete("/api/events/e1").json()["canceledDeliveries"] == 0
    list(send_claimed(Channel.EMAIL, claimed))
    assert outcome()["email"][0] == "pending"
    Delivery.objects.update(next_attempt_at=now())
    drain()
    assert outcome() == {"email": ("canceled", "")}
    assert Attempt.objects.count() == 1


def test_one_that_died_with_its_worker_after_a_cancel_is_not_tried_again(api, drain, templates):
    post(api, to={"email": "ok@simulator.invalid"}, channels=["email"])
    tasks.enrich()
    assert claim_deliveries(channel=Channel.EMAIL, limit=9, now=now())
    api.delete("/api/events/e1")
    Delivery.objects.update(lease_until=now())
    drain()
    assert outcome() == {"email": ("canceled", "")}
    assert list(Attempt.objects.values_list("code", flat=True)) == ["interrupted"]


def test_a_lease_that_ran_out_is_taken_up_again(api, drain, templates, ada):
    post(api, userId="ada", channels=["in_app"])
    claim = claim_events(now=now())
    assert claim_events(now=now()).events == []
    Event.objects.update(lease_until=now())
    drain()
    assert outcome() == {"in_app": ("sent", "")}
    tasks._enrich(claim, claim.events)  # the first worker wakes up: its lease is gone
    assert Delivery.objects.count() == 1


def test_a_worker_that_died_while_sending_leaves_an_ambiguous_attempt(api, drain, templates, ada):
    post(api, userId="ada", channels=["email"])
    drain()
    Delivery.objects.update(status=Status.SENDING, lease_until=now(), attempt_count=1, next_attempt_at=now())
    Attempt.objects.all().delete()
    drain()
    assert list(Attempt.objects.values_list("number", "outcome")) == [(1, AttemptOutcome.AMBIGUOUS), (2, AttemptOutcome.SENT)]


def test_one_event_that_no_stage_digests_does_not_stop_the_others(api, drain, templates, tenant, ada):
    for number in range(5):
        post(api, eventId=f"e{number}", userId="ada", channels=["in_app"])
    Event.objects.filter(event_id="e3").update(plan={"not": "a plan"})
    drain()
    assert Event.objects.get(event_id="e3").status == EventStatus.FAILED
    assert Event.objects.filter(status=EventStatus.PROCESSED).count() == 4
    assert Delivery.objects.count() == 4


def test_a_suspect_works_alone_and_its_chunk_mates_do_not_share_its_end(api, drain, templates, ada):
    for number in range(20):
        post(api, eventId=f"e{number}", userId="ada", channels=["in_app"])
    Event.objects.update(attempt_count=2)  # a worker died twice with all of them in hand
    Event.objects.filter(event_id="e7").update(attempt_count=5)  # … and e7 three times more, alone
    drain()
    assert Event.objects.get(event_id="e7").status == EventStatus.FAILED
    assert Event.objects.filter(status=EventStatus.PROCESSED).count() == 19


def test_a_claim_is_of_the_sound_or_of_suspects_few_at_first_and_then_alone(api, templates, ada, monkeypatch):
    monkeypatch.setattr(leases, "SUSPECTS_TOGETHER", 2)
    for number in range(8):
        post(api, eventId=f"e{number}", userId="ada", channels=["in_app"])
    Event.objects.filter(event_id__in=["e0", "e1", "e2"]).update(attempt_count=2)
    Event.objects.filter(event_id__in=["e3", "e4"]).update(attempt_count=3)
    seen = set()
    for _ in range(80):
        claim = claim_events(now=now())
        chosen, left = leases.triage(claim)
        assert {event.event_id for event in [*chosen, *left]} == {f"e{number}" for number in range(8)}
        assert len(chosen) + len(left) == 8
        seen.add((len(chosen), *sorted({event.attempt_count for event in chosen})))
        leases.give_back([event.id for event in claim.events], claim.lease_id)
    assert seen == {(3, 1), (2, 3), (1, 4)}
    assert set(Event.objects.values_list("attempt_count", flat=True)) == {0, 2, 3}  # given back is not tried


def test_urgent_events_and_small_tenants_go_first(api, stranger_api, drain):
    for _ in range(3):
        api.post("/api/events/bulk", {"events": [{"eventType": "a", "userId": "u", "priority": "low"} for _ in range(200)]})
    stranger_api.post("/api/events", {"eventType": "a", "userId": "u", "eventId": "otp", "priority": "urgent"})
    stranger_api.post("/api/events", {"eventType": "a", "userId": "u", "eventId": "small", "priority": "low"})
    claim = claim_events(now=now(), limit=100)
    assert {"otp", "small"} <= {event.event_id for event in claim.events}
    assert len(claim.events) == 100
    assert claim.more


def statements(api, drain, count, start):
    api.post(
        "/api/events/bulk",
        {
            "events": [
                {"eventType": "account", "userId": f"u{start + n}", "channels": ["in_app", "email"], "data": {"userName": "x"}}
                for n in range(count)
            ]
        },
    )
    with CaptureQueriesContext(connection) as captured:
        tasks.enrich()
    return [query["sql"] for query in captured.captured_queries if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))]


def test_statements_per_chunk_do_not_grow_with_it(api, drain, templates, tenant):
    statements(api, drain, 1, 5000)  # templates are compiled once a process
    few = statements(api, drain, 2, 0)
    many = statements(api, drain, 400, 1000)
    assert Delivery.objects.filter(channel=Channel.IN_APP, status=Status.SENT).count() == 403
    assert [query[:60] for query in many] == [query[:60] for query in few]


@pytest.mark.parametrize("number", ["1e20", "18446744073709551616", "-9223372036854775809", "9" * 400, "1e308", "-0.0"])
def test_numbers_of_any_size_arrive(api, drain, tenant, number):
    TemplateFactory(tenant=tenant, channel=Channel.IN_APP, version__body="{{ data.amount }} {{ recipient.attributes.most }}")
    api.put("/api/recipients/big", f'{{"attributes": {{"most": {number}}}}}', content_type="application/json")
    body = f'{{"eventType": "account", "userId": "big", "data": {{"amount": {number}}}, "metadata": {{"n": {number}}}}}'
    assert api.post("/api/events", body, content_type="application/json").status_code == 202
    drain()
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.error) == (Status.SENT, "")
    assert [float(shown) for shown in delivery.body.split()] == [float(number)] * 2


def test_an_event_with_much_data_goes_out_in_small_chunks(api, drain, templates, tenant, monkeypatch):
    monkeypatch.setattr(enrich, "MOST_BYTES", 40_000)
    people = [{"userId": f"u{n}"} for n in range(25)]
    event = {"eventType": "account", "to": people, "channels": ["in_app"], "data": {"userName": "x", "long": "y" * 10_000}}
    assert api.post("/api/events", event).status_code == 202
    handed = []
    written = route.write
    monkeypatch.setattr(route, "write", lambda chunk, now: handed.append(len(chunk.targets)) or written(chunk, now=now))
    drain()
    assert Delivery.objects.filter(status=Status.SENT).count() == 25
    assert handed == [3] * 8 + [1]


def test_a_claim_of_heavy_events_is_cut(api, tenant, monkeypatch):
    monkeypatch.setattr("notifications.claims.MOST_BYTES", 20_000)
    for n in range(6):
        noise = hashlib.sha512(str(n).encode()).hexdigest()
        data = {"noise": [hashlib.sha512(f"{noise}{k}".encode()).hexdigest() for k in range(100)]}
        api.post("/api/events", {"eventType": "account", "userId": f"u{n}", "channels": ["in_app"], "data": data})
    claim = claim_events(now=now())
    assert 1 <= len(claim.events) < 6
    assert claim.more
    rest = claim_events(now=now())
    assert not {event.id for event in claim.events} & {event.id for event in rest.events}
    assert rest.events


def test_a_template_too_slow_for_an_event_is_tried_once_and_fails_its_deliveries_alone(api, drain, tenant):
    slow = "{% for i in (1..9000) %}{% if data.a == data.b %}x{% endif %}{% endfor %}"
    TemplateFactory(tenant=tenant, channel=Channel.IN_APP, event_type="slow", version__body=slow)
    TemplateFactory(tenant=tenant, channel=Channel.IN_APP, event_type="sound", version__body="sound")
    data = {"a": {"x": list(range(20_000))}, "b": {"x": list(range(20_000))}}
    people = [{"userId": f"u{n}"} for n in range(100)]
    api.post("/api/events", {"eventType": "slow", "to": people, "channels": ["in_app"], "data": data})
    api.post("/api/events", {"eventType": "sound", "userId": "u", "channels": ["in_app"]})
    started = time.thread_time()
    drain()
    assert time.thread_time() - started < 10  # a hundred renders would be 25 s
    assert Delivery.objects.filter(status=Status.FAILED, reason="render_too_slow").count() == 100
    assert Delivery.objects.get(event_type="sound").status == Status.SENT
