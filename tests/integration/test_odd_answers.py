"""Vendors' answers that cannot be kept as they are."""

from __future__ import annotations

import json

import pytest

from deliveries.dispatch import dispatch
from deliveries.models import Attempt
from deliveries.providers.kept import forget_providers
from deliveries.states import Status
from tenants import redis
from tenants.vocabulary import Channel
from tests.doubles.twilio import TwilioDouble
from tests.factories import DeliveryFactory


@pytest.fixture(autouse=True)
def fresh(transactional_db):
    redis.client().flushdb()
    yield
    forget_providers()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (201, {"sid": "SM\x00", "status": "queued"}),
        (201, {"sid": "\ud800"}),
        (201, {"sid": "S" * 300}),
        (400, {"code": "9" * 100, "message": "a\x00b"}),
        (400, {"code": "\x00\ud800", "message": "\ud800"}),
    ],
)
def test_what_the_database_refuses_of_one_answer_costs_nobody_their_record(tenant, stranger, settings, status, body):
    numbers = {tenant: "+4915112345678", stranger: "+4915112345679"}
    with TwilioDouble() as twilio:
        settings.TWILIO_API_URL = twilio.url
        settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN = twilio.account_sid, twilio.auth_token
        settings.TWILIO_FROM_NUMBER = "+14155550100"
        twilio.behave(numbers[tenant], status=status, body=json.dumps(body).encode())
        odd, good = (
            DeliveryFactory(tenant=one, channel=Channel.SMS, status=Status.PENDING, address=number)
            for one, number in numbers.items()
        )
        dispatch(Channel.SMS)
    odd.refresh_from_db()
    good.refresh_from_db()
    assert odd.status == (Status.SENT if status == 201 else Status.FAILED)
    assert good.status == Status.SENT
    assert Attempt.objects.count() == 2
