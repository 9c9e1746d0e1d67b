import os
import re
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.utils.timezone import now
from prometheus_client.parser import text_string_to_metric_families
from rest_framework.test import APIClient

from config.operations.backlog import HELD
from deliveries.metrics import count_attempts, count_deliveries, count_doorbell, count_outcomes, observe_latency, provider_call
from deliveries.models import AttemptOutcome, Delivery, StatusEndpoint, StatusMessage
from deliveries.states import Status
from notifications.metrics import count_accepted, count_failed, count_processed
from notifications.models import Event, EventStatus, Hold
from notifications.queues import QUEUES
from tenants.vocabulary import Channel, Priority, Scope
from tests.conftest import client_for, user_client
from tests.factories import DigestFactory

OTHER_PROCESS = """
import sys, django
django.setup()
from prometheus_client import Gauge
from deliveries.metrics import count_outcomes, observe_latency
from deliveries.states import Status
from notifications.metrics import count_processed
from tenants.vocabulary import Channel
live = Gauge("test_live", "For the test.", multiprocess_mode="livesum")
for line in sys.stdin:
    count = int(line)
    count_processed(count)
    count_outcomes(Channel.SMS, [Status.SENT] * count)
    observe_latency(Channel.SMS, [0.02] * count)
    live.set(count)
    print("done", flush=True)
"""


class Worker:
    """Another process of the service, which counts what it is told to."""

    def __init__(self) -> None:
        environment = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER_PROCESS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=settings.BASE_DIR,
        )

    def count(self, number: int) -> None:
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def worker():
    workers = []

    def start() -> Worker:
        workers.append(Worker())
        return workers[-1]

    yield start
    for one in workers:
        one.kill()


@pytest.fixture
def scrape(api):
    def scrape() -> dict[str, float]:
        response = api.get("/api/metrics")
        assert response.status_code == 200
        families = text_string_to_metric_families(response.content.decode())
        return {name(sample): sample.value for family in families for sample in family.samples}

    return scrape


def name(sample) -> str:
    labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
    return f"{sample.name}{{{labels}}}" if labels else sample.name


SMS_SENT = "notifications_deliveries_total{channel=sms,status=sent}"
SMS_COUNT = "notifications_delivery_seconds_count{channel=sms}"
PROCESSED = "notifications_events_processed_total"


def test_processes_add_up_and_the_dead_keep_their_counts_but_not_their_gauges(worker, scrape):
    before = scrape()
    first, second = worker(), worker()
    first.count(3)
    second.count(4)
    both = scrape()
    assert both[PROCESSED] - before.get(PROCESSED, 0) == 7
    assert both[SMS_SENT] - before.get(SMS_SENT, 0) == 7
    assert both[SMS_COUNT] - before.get(SMS_COUNT, 0) == 7
    assert both["test_live"] - before.get("test_live", 0) == 7

    first.kill()
    for _ in range(2):  # the second scrape reads what the first one archived
        after = scrape()
        assert after[PROCESSED] == both[PROCESSED]
        assert after[SMS_SENT] == both[SMS_SENT]
        assert after[SMS_COUNT] == both[SMS_COUNT]
        assert after["test_live"] - before.get("test_live", 0) == 4
    assert not list(settings.ENV.metrics_dir.glob(f"*-{first.process.pid}-*"))
    assert list(settings.ENV.metrics_dir.glob(f"counter_*-{second.process.pid}-*.db"))

    second.count(10)
    assert scrape()[PROCESSED] - before.get(PROCESSED, 0) == 17
    second.kill()
    third = worker()
    third.count(1)
    end = scrape()
    assert end[PROCESSED] - before.get(PROCESSED, 0) == 18
    assert end["test_live"] - before.get("test_live", 0) == 1


def test_histograms_of_the_dead_keep_their_buckets(worker, scrape):
    bucket = "notifications_delivery_seconds_bucket{{channel=sms,le={}}}"
    before = scrape()
    one = worker()
    one.count(5)
    one.kill()
    for _ in range(2):
        after = scrape()
        assert after[bucket.format("0.025")] - before.get(bucket.format("0.025"), 0) == 5
        assert after[bucket.format("0.01")] - before.get(bucket.format("0.01"), 0) == 0
        assert after[bucket.format("+Inf")] - before.get(bucket.format("+Inf"), 0) == 5


def test_chunks_are_counted_by_label(scrape):
    before = scrape()
    count_accepted({Priority.HIGH: 3, Priority.LOW: 2})
    count_processed(4)
    count_failed({"poison": 2})
    count_deliveries({(Channel.EMAIL, Status.SUPPRESSED): 5})
    count_outcomes(Channel.EMAIL, [Status.SENT, Status.SENT, Status.FAILED])
    count_attempts(Channel.EMAIL, "smtp", [AttemptOutcome.SENT, AttemptOutcome.THROTTLED, AttemptOutcome.SENT])
    count_doorbell("enrich", rung=True)
    count_doorbell("enrich", rung=False)
    with pytest.raises(TimeoutError), provider_call(Channel.EMAIL, "smtp"):
        raise TimeoutError
    after = scrape()
    grown = {key: value - before.get(key, 0) for key, value in after.items()}
    assert grown["notifications_events_accepted_total{priority=high}"] == 3
    assert grown["notifications_events_accepted_total{priority=low}"] == 2
    assert grown[PROCESSED] == 4
    assert grown["notifications_events_failed_total{reason=poison}"] == 2
    assert grown["notifications_deliveries_total{channel=email,status=suppressed}"] == 5
    assert grown["notifications_deliveries_total{channel=email,status=sent}"] == 2
    assert grown["notifications_deliveries_total{channel=email,status=failed}"] == 1
    assert grown["notifications_attempts_total{channel=email,outcome=sent,provider=smtp}"] == 2
    assert grown["notifications_attempts_total{channel=email,outcome=throttled,provider=smtp}"] == 1
    assert grown["notifications_doorbells_total{bell=enrich,outcome=rung}"] == 1
    assert grown["notifications_doorbells_total{bell=enrich,outcome=lost}"] == 1
    assert grown["notifications_provider_call_seconds_count{channel=email,provider=smtp}"] == 1


def test_latencies_fall_into_their_buckets(scrape):
    before = scrape()
    observe_latency(Channel.CHAT, [0.005, 0.006, 0.2, 3.0, 10_000.0])
    observe_latency(Channel.CHAT, [])
    after = scrape()

    def grown(le: str) -> float:
        key = f"notifications_delivery_seconds_bucket{{channel=chat,le={le}}}"
        return after[key] - before.get(key, 0)

    assert [grown(le) for le in ("0.005", "0.01", "0.25", "2.5", "5.0", "600.0", "+Inf")] == [1, 2, 3, 3, 4, 4, 5]
    total = "notifications_delivery_seconds_sum{channel=chat}"
    assert after[total] - before.get(total, 0) == pytest.approx(10_003.211)


def event(tenant, number: int, **values) -> Event:
    return Event(tenant=tenant, event_id=f"e{number}", event_type="x", content_hash=b"", **({"due_at": now()} | values))


def delivery(tenant, number: int, **values) -> Delivery:
    defaults = {"event_type": "x", "user_id": "u", "channel": Channel.EMAIL, "accepted_at": now()}
    return Delivery(tenant=tenant, event_id=f"e{number}", **(defaults | values))


@pytest.mark.django_db(transaction=True)
def test_the_backlog_is_what_is_due_now(tenant, stranger, scrape):
    minute_ago, tomorrow = now() - timedelta(minutes=1), now() + timedelta(days=1)
    Event.objects.bulk_create(
        [
            event(tenant, 1, due_at=minute_ago),
            event(tenant, 2, priority=Priority.URGENT),
            event(stranger, 3, priority=Priority.LOW),
            event(tenant, 4, due_at=tomorrow),
            event(tenant, 5, status=EventStatus.PROCESSED),
        ]
    )
    Delivery.objects.bulk_create(
        [
            delivery(tenant, 1, next_attempt_at=minute_ago),
            delivery(stranger, 2, status=Status.SENDING, priority=Priority.URGENT),
            delivery(tenant, 3, next_attempt_at=tomorrow),
            delivery(tenant, 4, status=Status.SENT),
            delivery(tenant, 5, channel=Channel.SMS),
        ]
    )
    well, failing, paused = (
        StatusEndpoint.objects.create(tenant=tenant, url="https://example.com", **values)
        for values in ({}, {"failing_since": minute_ago}, {"is_active": False})
    )
    told = {"tenant": tenant, "delivery_id": well.pk, "status": Status.SENT, "payload": {}}
    for endpoint in (well, failing, paused):
        StatusMessage.objects.create(endpoint=endpoint, next_attempt_at=minute_ago, **told)
    StatusMessage.objects.create(endpoint=well, next_attempt_at=tomorrow, **told)
    seen = scrape()
    assert seen["notifications_queue_depth{queue=status_webhooks}"] == 1
    assert 60 <= seen["notifications_queue_oldest_seconds{queue=status_webhooks}"] < 120
    assert seen["notifications_queue_depth{queue=pipeline}"] == 3
    assert seen["notifications_queue_depth{queue=send.email}"] == 2
    assert seen["notifications_queue_depth{queue=send.sms}"] == 1
    assert seen["notifications_queue_depth{queue=send.push}"] == 0
    assert 60 <= seen["notifications_queue_oldest_seconds{queue=pipeline}"] < 120
    assert 60 <= seen["notifications_queue_oldest_seconds{queue=send.email}"] < 120
    assert seen["notifications_waiting_for_retry{channel=email}"] == 1
    assert seen["notifications_waiting_for_retry{channel=sms}"] == 0
    assert seen["notifications_queue_oldest_seconds{queue=send.push}"] == 0


@pytest.mark.django_db(transaction=True)
def test_what_is_held_and_how_overdue_it_is(tenant, stranger, scrape):
    minute_ago, hour_ago, tomorrow = now() - timedelta(minutes=1), now() - timedelta(hours=1), now() + timedelta(days=1)
    held = [
        delivery(tenant, 1, is_held=True, reason="quiet_hours", next_attempt_at=tomorrow),
        delivery(stranger, 2, is_held=True, reason="quiet_hours", next_attempt_at=minute_ago),
        delivery(tenant, 3, is_held=True, reason="digest", next_attempt_at=hour_ago),
        delivery(tenant, 4, next_attempt_at=tomorrow),
    ]
    Delivery.objects.bulk_create(held)
    digest = DigestFactory(tenant=tenant, due_at=minute_ago, priority=Priority.LOW)
    DigestFactory(tenant=stranger, due_at=hour_ago, finished_at=now(), closed_at=now())
    for one, values in zip(held, ({"due_at": tomorrow}, {"due_at": minute_ago}, {"digest_id": digest.pk}), strict=False):
        Hold.objects.create(
            delivery_id=one.pk, tenant=one.tenant, event=one.pk, channel=one.channel, target={}, priority=Priority.LOW, **values
        )
    seen = scrape()
    reasons = {name: seen[f"notifications_held{{reason={name}}}"] for name in HELD}
    assert reasons == {"quiet_hours": 2, "digest": 1, "delayed": 0, "escalation": 0, "rate_limited": 0}
    for kind in ("delivery", "digest"):
        assert 60 <= seen[f"notifications_held_overdue_seconds{{kind={kind}}}"] < 120


@pytest.mark.django_db(transaction=True)
def test_the_backlog_of_an_empty_installation_is_nothing(scrape):
    seen = scrape()
    assert [seen[f"notifications_held_overdue_seconds{{kind={kind}}}"] for kind in ("delivery", "digest")] == [0, 0]
    assert [seen[f"notifications_queue_depth{{queue={queue}}}"] for queue in QUEUES] == [0] * len(QUEUES)
    assert [seen[f"notifications_queue_oldest_seconds{{queue={queue}}}"] for queue in QUEUES] == [0] * len(QUEUES)


@pytest.mark.django_db(transaction=True)
def test_a_backlog_is_not_counted_beyond_its_cap(monkeypatch, tenant, scrape):
    monkeypatch.setattr("config.operations.backlog.CAP", 3)
    Event.objects.bulk_create([event(tenant, number, priority=number % 2) for number in range(8)])
    Delivery.objects.bulk_create([delivery(tenant, number, priority=number % 2) for number in range(8)])
    seen = scrape()
    assert seen["notifications_queue_depth{queue=pipeline}"] == seen["notifications_queue_depth{queue=send.email}"] == 3


@pytest.mark.django_db
def test_without_postgres_the_scrape_answers_without_the_backlog(monkeypatch, settings):
    settings.DEBUG = True
    count_processed(1)
    monkeypatch.setitem(connection.settings_dict, "HOST", "/nowhere")
    response = APIClient().get("/api/metrics")
    assert response.status_code == 200
    assert b"notifications_events_processed_total" in response.content
    assert b"notifications_queue_depth" not in response.content


@pytest.mark.django_db
def test_metrics_are_for_staff_and_admin_keys_unless_developing(tenant, admin_client, settings):
    assert APIClient().get("/api/metrics").status_code == 401
    assert client_for(tenant, Scope.EVENTS_WRITE, Scope.DELIVERIES_READ).get("/api/metrics").status_code == 403
    assert user_client(tenant, "u").get("/api/metrics").status_code == 403
    assert client_for(tenant, Scope.ADMIN).get("/api/metrics").status_code == 200
    assert admin_client.get("/api/metrics").status_code == 200
    settings.DEBUG = True
    assert APIClient().get("/api/metrics").status_code == 200


def test_errors_are_problem_documents_and_openmetrics_is_spoken(api):
    refused = APIClient().get("/api/metrics")
    assert refused["Content-Type"] == "application/problem+json"
    assert refused.json()["status"] == 401
    accept = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    openmetrics = api.get("/api/metrics", HTTP_ACCEPT=accept)
    assert openmetrics["Content-Type"].startswith("application/openmetrics-text")
    assert openmetrics.content.endswith(b"# EOF\n")
    plain = api.get("/api/metrics", HTTP_ACCEPT="text/html,application/xhtml+xml,*/*;q=0.8")
    assert plain["Content-Type"].startswith("text/plain")


def test_requests_are_counted_by_view_and_not_by_path(scrape):
    key = "django_http_responses_total_by_status_view_method_total{{method={},status={},view={}}}".format
    before = scrape()
    client = APIClient()
    client.get("/api/health/live")
    client.get("/nothing-here-1")
    client.generic("BREW", "/nothing-here-2")
    after = scrape()
    for series in (key("GET", 200, "live"), key("GET", 404, "<unnamed view>"), key("<invalid method>", 404, "<unnamed view>")):
        assert after[series] - before.get(series, 0) == 1
    assert not [name for name in after if "nothing-here" in name]
    assert re.search(r"latency_seconds_by_view_method_count\{method=GET,view=live\}", "\n".join(after))


def test_no_metric_is_labelled_with_a_tenant(scrape):
    count_accepted({Priority.HIGH: 1})
    assert not [series for series in scrape() if "tenant=" in series or "acme" in series]
