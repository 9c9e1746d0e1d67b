"""The benchmark's floor runs the service's own statements; this says when they have drifted apart."""

import pytest
from django.conf import settings
from django.db import connection

from bench.floor import Floor
from bench.workload import BULK
from deliveries.models import Attempt, Delivery
from deliveries.states import Status
from notifications.models import Event, EventStatus


@pytest.mark.django_db(transaction=True)
def test_the_floor_does_all_the_work_there_is(monkeypatch):
    database = connection.settings_dict
    dsn = f"host={database['HOST']} port={database['PORT'] or 5432} user={database['USER']} dbname={database['NAME']}"
    if database["PASSWORD"]:
        dsn += f" password={database['PASSWORD']}"
    monkeypatch.setenv("BENCH_FLOOR_DATABASE", dsn)
    monkeypatch.setenv("BENCH_FLOOR_REDIS", settings.REDIS_URL)
    floor = Floor(7, BULK + 5)
    try:
        assert floor.work() > 0
    finally:
        floor.close()
    assert Event.objects.filter(tenant_id=7, status=EventStatus.PROCESSED).count() == BULK + 5
    assert Delivery.objects.filter(tenant_id=7, status=Status.SENT, lease_until=None).count() == BULK + 5
    assert Attempt.objects.count() == BULK + 5
