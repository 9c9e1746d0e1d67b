"""`GET /api/deliveries/stats` against figures worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils.timezone import now

from deliveries.models import Delivery
from deliveries.states import Status
from deliveries.statistics import statistics_of
from tenants.vocabulary import Channel
from tests.factories import DeliveryFactory

AT = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)


def deliver(tenant, status, channel=Channel.EMAIL, *, hours_ago=1.0, took_ms=None, attempts=1, event_type="account"):
    created_at = AT - timedelta(hours=hours_ago)
    return DeliveryFactory(
        tenant=tenant,
        status=status,
        channel=channel,
        created_at=created_at,
        accepted_at=created_at,
        sent_at=created_at + timedelta(milliseconds=took_ms) if took_ms is not None else None,
        attempt_count=attempts,
        event_type=event_type,
    )


@pytest.fixture
def stats(tenant, stranger):
    """What these rows come to.

    email: 2 sent, 3 delivered, 1 failed, 1 bounced, 1 expired: 5 of 8; attempts 1·7 + 6 over 8 tried.
    sms: 1 suppressed (not tried), 1 canceled, 1 pending: nothing came to an end.
    """
    for took_ms in (100, 200):
        deliver(tenant, Status.SENT, took_ms=took_ms)
    for took_ms in (300, 400, 500):
        deliver(tenant, Status.DELIVERED, took_ms=took_ms, hours_ago=2)
    deliver(tenant, Status.FAILED, attempts=6, event_type="order.paid")
    deliver(tenant, Status.BOUNCED, event_type="order.paid")
    deliver(tenant, Status.EXPIRED, event_type="order.shipped")
    deliver(tenant, Status.SUPPRESSED, Channel.SMS, attempts=0)
    deliver(tenant, Status.CANCELED, Channel.SMS, attempts=0)
    deliver(tenant, Status.PENDING, Channel.SMS, attempts=0)
    deliver(tenant, Status.SENT, took_ms=9000, hours_ago=24.001)
    deliver(stranger, Status.FAILED)
    return statistics_of(Delivery.objects.for_tenant(tenant), hours=24, now=AT)


def test_totals_leave_out_older_deliveries_and_other_tenants(stats):
    assert stats.period == "24h"
    assert stats.total_deliveries == 11
    assert stats.by_status == {
        "pending": 1,
        "digested": 0,
        "sending": 0,
        "sent": 2,
        "delivered": 3,
        "bounced": 1,
        "failed": 1,
        "suppressed": 1,
        "expired": 1,
        "canceled": 1,
    }


def test_the_success_rate_counts_what_came_to_an_end_and_was_meant_to_arrive(stats):
    assert stats.success_rate == 5 / 8


def test_each_channel_has_its_own_figures(stats):
    email, sms = stats.channel_metrics
    assert (email.channel, email.total, email.sent, email.delivered) == (Channel.EMAIL, 8, 2, 3)
    assert (email.failed, email.bounced, email.suppressed) == (1, 1, 0)
    assert email.success_rate == 5 / 8
    assert email.avg_attempts == (7 * 1 + 6) / 8
    # percentile_cont over 100…500: the median is the middle one; p95 lies 0.8, p99 0.96 of the way from 400 to 500.
    assert (email.latency_ms.p50, email.latency_ms.p95, email.latency_ms.p99) == pytest.approx((300, 480, 496))
    assert (sms.channel, sms.total, sms.suppressed) == (Channel.SMS, 3, 1)
    assert (sms.success_rate, sms.avg_attempts, sms.latency_ms.p50) == (None, None, None)


def test_event_types_are_ranked_by_count(stats):
    assert [(one.event_type, one.count) for one in stats.top_event_types] == [
        ("account", 8),
        ("order.paid", 2),
        ("order.shipped", 1),
    ]


def test_the_timeline_has_every_hour_and_adds_up(stats):
    assert [bucket.start for bucket in stats.timeline] == [
        datetime(2026, 3, 9, 15, tzinfo=UTC) + timedelta(hours=hour) for hour in range(25)
    ]
    filled = {bucket.start.hour: bucket for bucket in stats.timeline if bucket.total}
    assert {hour: bucket.total for hour, bucket in filled.items()} == {13: 3, 14: 8}
    assert (filled[13].delivered, filled[14].sent, filled[14].failed, filled[14].suppressed) == (3, 2, 1, 1)


def test_long_periods_are_counted_by_day(tenant):
    deliver(tenant, Status.SENT, hours_ago=0.1, took_ms=5)
    deliver(tenant, Status.SENT, hours_ago=90, took_ms=5)
    stats = statistics_of(Delivery.objects.for_tenant(tenant), hours=96, now=AT)
    assert [(bucket.start.day, bucket.start.hour, bucket.total) for bucket in stats.timeline] == [
        (6, 0, 1),
        (7, 0, 0),
        (8, 0, 0),
        (9, 0, 0),
        (10, 0, 1),
    ]


def test_the_document_has_the_agreed_shape(api, tenant):
    DeliveryFactory(tenant=tenant, created_at=now(), sent_at=now(), attempt_count=1)
    (key, stats), *others = api.get("/api/deliveries/stats").json().items()
    assert (key, others) == ("stats", [])
    assert set(stats) == {
        "period",
        "totalDeliveries",
        "successRate",
        "byStatus",
        "channelMetrics",
        "topEventTypes",
        "timeline",
    }
    assert (stats["period"], stats["totalDeliveries"], stats["successRate"]) == ("24h", 1, 1.0)
    (metrics,) = stats["channelMetrics"]
    assert set(metrics) == {
        "channel",
        "total",
        "sent",
        "delivered",
        "failed",
        "bounced",
        "suppressed",
        "successRate",
        "avgAttempts",
        "latencyMs",
    }
    assert metrics["channel"] == "email"
    assert set(metrics["latencyMs"]) == {"p50", "p95", "p99"}
    assert stats["topEventTypes"] == [{"eventType": "account", "count": 1}]
    assert set(stats["timeline"][-1]) == {"start", "total", "sent", "delivered", "failed", "bounced", "suppressed"}


def test_nothing_at_all_is_no_success_and_no_failure(api):
    stats = api.get("/api/deliveries/stats?period=2160").json()["stats"]
    assert (stats["totalDeliveries"], stats["successRate"], stats["channelMetrics"]) == (0, None, [])
    assert stats["byStatus"]["sent"] == 0


@pytest.mark.parametrize("period", ["0", "2161", "-1", "1.5", "", "day", "%00", "9" * 400])
def test_a_bad_period_is_named(api, period):
    response = api.get(f"/api/deliveries/stats?period={period}")
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == ["period"]


def test_statistics_cost_three_statements_whatever_there_is(tenant, django_assert_num_queries):
    for channel in Channel:
        for event_type in ("a", "b", "c"):
            deliver(tenant, Status.SENT, channel, took_ms=1, event_type=event_type)
    with django_assert_num_queries(3):
        statistics_of(Delivery.objects.for_tenant(tenant), hours=2160, now=AT)
