"""Limits: so many in a sliding window, counted in Redis, whoever asks and however often."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import redis as redis_py
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deliveries.models import Delivery
from deliveries.states import Status
from notifications import metrics
from notifications.limits import counting
from notifications.limits.counting import MAY_BE_SENT, Asked, Count, take_places
from notifications.limits.models import Excess
from tenants import redis
from tenants.vocabulary import Channel
from tests.factories import EventTypeFactory, LimitFactory, RecipientFactory, TemplateFactory

NOON = datetime(2031, 7, 1, 12, tzinfo=UTC)


def ask(key, *, limit=2, window_s=60, excess=Excess.SUPPRESS, name=None, passes=False):
    return Asked(name or uuid4().bytes[:12], (Count(f"limit:{key}", limit, window_s, excess),), passes)


@pytest.fixture
def key():
    return uuid4().hex


class TestCounting:
    def test_so_many_and_no_more_until_the_first_is_past(self, key):
        first = take_places([ask(key), ask(key), ask(key)], now=NOON)
        assert [answer.excess for answer in first] == [None, None, Excess.SUPPRESS]
        assert take_places([ask(key)], now=NOON + timedelta(seconds=59))[0].excess is Excess.SUPPRESS
        assert take_places([ask(key)], now=NOON + timedelta(seconds=60)) == [MAY_BE_SENT]

    def test_asking_again_takes_no_second_place(self, key):
        messages = [ask(key), ask(key)]
        for _ in range(3):
            assert take_places(messages, now=NOON) == [MAY_BE_SENT] * 2

    def test_what_is_put_off_is_spread_out_and_keeps_its_turn(self, key):
        messages = [ask(key, excess=Excess.DEFER) for _ in range(6)]
        answers = take_places(messages, now=NOON)
        turns = [None if answer.until is None else (answer.until - NOON).seconds for answer in answers]
        assert turns == [None, None, 60, 60, 120, 120]
        assert take_places(messages, now=NOON) == answers
        later = take_places(messages[2:], now=NOON + timedelta(seconds=60))
        assert [answer.excess for answer in later] == [None, None, Excess.DEFER, Excess.DEFER]

    def test_what_would_come_too_late_is_not_sent(self, key):
        week = 7 * 24 * 3600
        answers = take_places([ask(key, limit=1, window_s=week, excess=Excess.DEFER) for _ in range(3)], now=NOON)
        assert [answer.excess for answer in answers] == [None, Excess.DEFER, Excess.SUPPRESS]

    def test_what_passes_is_counted_all_the_same(self, key):
        assert take_places([ask(key, passes=True) for _ in range(5)], now=NOON) == [MAY_BE_SENT] * 5
        assert take_places([ask(key)], now=NOON)[0].excess is Excess.SUPPRESS

    def test_of_several_limits_the_strictest_counts_and_none_is_charged_for_nothing(self, key):
        loose, tight = Count(f"limit:{key}:a", 5, 60, Excess.DIGEST), Count(f"limit:{key}:b", 1, 60, Excess.SUPPRESS)
        both = [Asked(uuid4().bytes[:12], (loose, tight)) for _ in range(3)]
        assert [(answer.excess, answer.decided_by) for answer in take_places(both, now=NOON)] == [
            (None, 0),
            (Excess.SUPPRESS, 1),
            (Excess.SUPPRESS, 1),
        ]
        left = [Asked(uuid4().bytes[:12], (loose,)) for _ in range(5)]
        assert sum(answer.excess is None for answer in take_places(left, now=NOON)) == 4

    def test_many_at_once_take_no_more_places_than_there_are(self, key):
        answers = []

        def worker():
            answers.extend(take_places([ask(key, limit=10) for _ in range(5)], now=NOON))

        threads = [threading.Thread(target=worker) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(answer.excess is None for answer in answers) == 10

    def test_a_great_many_are_asked_in_several_calls_with_the_same_answers(self, key, monkeypatch):
        calls = []
        script = counting._script()
        monkeypatch.setattr(counting, "_script", lambda: lambda **given: calls.append(given) or script(**given))
        monkeypatch.setattr(counting, "MOST_COUNTS", 2)
        answers = take_places([ask(key, limit=3) for _ in range(5)], now=NOON)
        assert [answer.excess for answer in answers] == [None, None, None, Excess.SUPPRESS, Excess.SUPPRESS]
        assert len(calls) == 3

    def test_it_forgets(self, key):
        take_places([ask(key)], now=datetime.now(UTC))
        assert 0 < redis.client().pttl(f"limit:{key}") <= 60_000

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        limit=st.integers(1, 4),
        moments=st.lists(st.integers(0, 300), min_size=1, max_size=40).map(sorted),
        kinds=st.lists(st.sampled_from([Excess.SUPPRESS, Excess.DEFER]), min_size=40, max_size=40),
    )
    def test_no_window_ever_holds_more_than_the_limit(self, limit, moments, kinds):
        """Whatever comes when, and is put off till when: slide a window over all turns given out."""
        key, turns = uuid4().hex, []
        for second, kind in zip(moments, kinds, strict=False):
            now = NOON + timedelta(seconds=second)
            (answer,) = take_places([ask(key, limit=limit, excess=kind)], now=now)
            if answer.excess is None:
                turns.append(now)
            elif answer.until is not None:
                turns.append(answer.until)
        for start in turns:
            assert sum(start <= turn < start + timedelta(seconds=60) for turn in turns) <= limit

    def test_without_redis_everything_passes_and_it_shows(self, key, monkeypatch):
        from notifications.limits import counting

        nobody = redis_py.Redis(port=1, socket_connect_timeout=0.2)
        monkeypatch.setattr(counting, "_script", lambda: nobody.register_script(counting._SCRIPT))
        before = metrics.UNLIMITED._value.get() if hasattr(metrics.UNLIMITED, "_value") else None
        assert take_places([ask(key, limit=1) for _ in range(3)], now=NOON) == [MAY_BE_SENT] * 3
        assert before is None or metrics.UNLIMITED._value.get() == before + 3


class TestVeryManyCounts:
    """Redis does nothing else while it counts: no call asks for more than so many."""

    def test_parts_say_what_the_whole_would(self, key, monkeypatch):
        both = [Asked(uuid4().bytes[:12], ask(key)[1] + ask(f"{key}-2", limit=4)[1]) for _ in range(5)]
        calls = []
        one_call = counting._ask
        monkeypatch.setattr(counting, "_ask", lambda messages, now: calls.append(len(messages)) or one_call(messages, now))
        monkeypatch.setattr(counting, "MOST_COUNTS", 4)
        answers = take_places(both, now=NOON)
        assert calls == [2, 2, 1]
        assert [answer.excess for answer in answers] == [None, None, *[Excess.SUPPRESS] * 3]
        assert take_places([ask(key)] * 3, now=NOON + timedelta(hours=1)) == [MAY_BE_SENT] * 3

    def test_what_redis_could_not_be_asked_about_passes(self, key, monkeypatch):
        monkeypatch.setattr(counting, "MOST_COUNTS", 1)
        one_call, calls = counting._ask, []

        def fail_after_two(messages, now):
            calls.append(1)
            if len(calls) > 2:
                raise redis_py.TimeoutError
            return one_call(messages, now)

        monkeypatch.setattr(counting, "_ask", fail_after_two)
        answers = take_places([ask(key, limit=1) for _ in range(5)], now=NOON)
        assert [answer.excess for answer in answers] == [None, Excess.SUPPRESS, None, None, None]
        assert len(calls) == 3


class TestInThePipeline:
    @pytest.fixture(autouse=True)
    def ada(self, tenant):
        for channel in (Channel.IN_APP, Channel.EMAIL):
            TemplateFactory(tenant=tenant, channel=channel)
            TemplateFactory(tenant=tenant, channel=channel, event_type="sale")
        EventTypeFactory(tenant=tenant, name="sale", category="marketing")
        RecipientFactory(tenant=tenant, user_id="bob")
        return RecipientFactory(tenant=tenant, user_id="ada")

    def post(self, api, *, user="ada", **event):
        body = {"eventType": "account", "userId": user, "channels": ["in_app"], "data": {"userName": "Ada"}} | event
        assert api.post("/api/events", body, format="json").status_code == 202

    def outcomes(self, **which):
        found = Delivery.objects.filter(**which).order_by("id")
        return [(Status(one.status).label, one.reason) for one in found]

    def test_a_cap_over_a_category_per_recipient(self, api, tenant, drain):
        LimitFactory(tenant=tenant, name="marketing", category="marketing", per=["recipient"], count=3, window_s=86_400)
        for _ in range(5):
            self.post(api, eventType="sale")
        self.post(api, user="bob", eventType="sale")
        self.post(api)
        drain(NOON)
        assert self.outcomes(user_id="ada", event_type="sale") == [("sent", "")] * 3 + [("suppressed", "rate_limited")] * 2
        assert self.outcomes(user_id="bob") == [("sent", "")]
        assert self.outcomes(user_id="ada", event_type="account") == [("sent", "")]
        refused = Delivery.objects.filter(reason="rate_limited").first()
        assert refused.explanation["level"] == "limit"
        assert "marketing" in refused.explanation["why"]
        self.post(api, eventType="sale")
        drain(NOON + timedelta(days=1))
        assert self.outcomes(user_id="ada", event_type="sale")[-1] == ("sent", "")

    def test_deferred_ones_follow_in_turn(self, api, tenant, drain):
        LimitFactory(tenant=tenant, channel=Channel.IN_APP, per=["channel"], count=2, window_s=60, excess="defer")
        for _ in range(5):
            self.post(api)
        drain(NOON)
        assert [label for label, _ in self.outcomes()].count("sent") == 2
        drain(NOON + timedelta(seconds=60))
        assert [label for label, _ in self.outcomes()].count("sent") == 4
        drain(NOON + timedelta(seconds=120))
        assert [label for label, _ in self.outcomes()] == ["sent"] * 5
        last = Delivery.objects.order_by("id").last()
        assert last.explanation["heldFor"][0]["reason"] == "rate_limited"

    def test_excess_may_be_collected(self, api, tenant, drain):
        TemplateFactory(tenant=tenant, event_type="digest", version__body="{{ data.count }} more", version__variables=[])
        LimitFactory(tenant=tenant, event_type="account", per=["recipient", "channel", "eventType"], count=1, excess="digest")
        for _ in range(3):
            self.post(api)
        drain(NOON)
        assert self.outcomes() == [("sent", ""), ("pending", "digest"), ("pending", "digest")]
        drain(NOON + timedelta(days=1))
        assert self.outcomes() == [("sent", ""), ("digested", "digest"), ("digested", "digest"), ("sent", "")]
        assert Delivery.objects.get(event_type="digest").body == "2 more"

    def test_urgent_and_required_ones_pass(self, api, tenant, drain):
        LimitFactory(tenant=tenant, count=1)
        EventTypeFactory(tenant=tenant, name="account", required=True)
        self.post(api)
        self.post(api)
        self.post(api, eventType="sale", priority="urgent")
        self.post(api, eventType="sale")
        drain(NOON)
        assert [reason for _, reason in self.outcomes()] == ["", "", "", "rate_limited"]

    def test_a_sandbox_has_its_own_count_and_another_tenant_none(self, api, tenant, stranger, drain):
        from tests.conftest import client_for

        LimitFactory(tenant=tenant, count=1)
        TemplateFactory(tenant=stranger)
        self.post(client_for(tenant, sandbox=True))
        self.post(api)
        self.post(client_for(stranger))
        self.post(client_for(stranger))
        drain(NOON)
        assert {reason for _, reason in self.outcomes()} == {""}

    def test_a_repeated_chunk_is_charged_once(self, api, tenant, drain, monkeypatch):
        from notifications import tasks
        from notifications.filter import decide

        LimitFactory(tenant=tenant, count=1)
        self.post(api)
        chunks = []
        monkeypatch.setattr(tasks, "_filter", chunks.append)
        drain(NOON)
        for _ in range(3):
            assert [verdict.reason for verdict in decide(chunks[0], now=NOON).verdicts] == [""]

    def test_one_trip_for_a_chunk(self, api, tenant, drain, monkeypatch):
        from notifications.limits import gate

        LimitFactory(tenant=tenant, count=100)
        calls = []
        monkeypatch.setattr(gate, "take_places", lambda asked, now: calls.append(len(asked)) or take_places(asked, now=now))
        for _ in range(10):
            self.post(api)
        drain(NOON)
        assert calls == [10]
