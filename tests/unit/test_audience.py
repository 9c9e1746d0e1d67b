"""Whom an event is for, by its rules: what each says, and what they come to together."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from notifications.audience import NO_CHANNELS, NO_RECIPIENTS, NO_RULE_MATCHED, reason_for_nothing, sources_of
from notifications.claims import ClaimedEvent
from notifications.models import Rule
from notifications.wire import TenantFacts

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TENANT = TenantFacts("acme", "Acme", "en", [4])
FAULTY = ("payload.gone > 1", "payload.n", "payload.n > 'a'")
USERS = st.lists(st.sampled_from(["ada", "bob", "cy"]), max_size=3)


def event(**given):
    values = {
        "id": UUID(int=1),
        "tenant_id": 1,
        "event_id": "e1",
        "event_type": "order",
        "user_id": "",
        "to": None,
        "channels": None,
        "priority": 2,
        "data": msgspec.json.encode({"n": 1, "who": ["eve"]}).decode(),
        "metadata": "{}",
        "sandbox": False,
        "created_at": NOON,
        "due_at": NOON,
        "expires_at": None,
        "cursor": 0,
        "plan": None,
        "attempt_count": 1,
    }
    return ClaimedEvent(**values | given)


def rules(conditions=("", "payload.n == 1", "payload.n > 1", *FAULTY)):
    recipients = st.one_of(
        st.just({}),
        st.fixed_dictionaries({"userIds": USERS}),
        st.fixed_dictionaries({"topic": st.sampled_from(["news", "staff"])}),
        st.fixed_dictionaries({"path": st.sampled_from(["payload.who", "payload.gone", "payload.n > 1"])}),
    )
    one = st.builds(
        Rule,
        tenant_id=st.just(1),
        event_type=st.sampled_from(["order", "ord*", "invoice.*"]),
        condition=st.sampled_from(conditions),
        recipients=recipients,
        channels=st.lists(st.sampled_from([1, 2, 4]), max_size=2, unique=True),
    )
    return st.lists(one, max_size=6)


EVENTS = st.builds(
    event,
    user_id=st.sampled_from(["", "eve"]),
    channels=st.sampled_from([None, [1], [2, 4]]),
    event_type=st.sampled_from(["order", "order", "other"]),
)


def asked(given_event, given_rules):
    heard = []
    sources = sources_of(given_event, rules=given_rules, event_type=None, tenant=TENANT, heard=heard)
    return sources, heard


def wanted(sources):
    people = [[one["userId"] for one in source.recipients] for source in sources]
    return [
        (users, source.topic, source.channels, source.rule)
        for users, source in zip(people, sources, strict=True)
        if users or source.topic
    ]


@given(EVENTS, rules())
def test_every_rule_is_heard_once_in_order_or_none_is(given_event, given_rules):
    _, heard = asked(given_event, given_rules)
    is_whole = bool(given_event.user_id) and given_event.channels is not None
    assert [one.rule for one in heard] == ([] if is_whole else given_rules)


@given(EVENTS, rules(), rules(FAULTY), st.randoms(use_true_random=False))
def test_faulty_rules_change_nothing_for_the_others(given_event, sound, faulty, random):
    mixed = list(sound)
    for rule in faulty:
        mixed.insert(random.randint(0, len(mixed)), rule)
    assert wanted(asked(given_event, mixed)[0]) == wanted(asked(given_event, sound)[0])


@given(rules())
def test_an_event_that_names_nobody_goes_to_those_whom_the_rules_name(given_rules):
    sources, heard = asked(event(), given_rules)
    assert wanted(sources) == wanted([one.source for one in heard if one.source is not None])
    reached = [source for source in sources if source.recipients or source.topic]
    assert (reason_for_nothing(sources, reached) == NO_RULE_MATCHED) is all(one.source is None for one in heard)


@given(EVENTS, rules())
def test_there_is_a_reason_exactly_if_there_is_no_delivery(given_event, given_rules):
    sources, _ = asked(given_event, given_rules)
    reached = [source for source in sources if source.recipients or source.topic]
    reason = reason_for_nothing(sources, reached)
    assert (reason == "") is any(source.channels for source in reached)
    assert reason in {"", NO_RULE_MATCHED, NO_RECIPIENTS, NO_CHANNELS}
    assert reason != NO_CHANNELS or reached


def test_a_faulty_rule_is_logged_unless_somebody_listens(caplog):
    broken = Rule(tenant_id=1, event_type="order", condition="payload.gone > 1", channels=[4])
    _, (heard,) = asked(event(), [broken])
    assert (caplog.records, heard.source, heard.error.part) == ([], None, "condition")
    sources_of(event(), rules=[broken], event_type=None, tenant=TENANT)
    (line,) = [record.msg for record in caplog.records]
    assert (line["event"], line["rule_id"], line["event_id"]) == ("rule_failed", str(broken.id), "e1")
