"""A tenant's retry schedules over HTTP."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from deliveries.models import RetrySchedule
from deliveries.retry import LONGEST_DELAY_S, MOST_RETRIES, RetryPolicy
from deliveries.retry_schedules import policies_for
from tenants.vocabulary import Channel, Scope
from tests.conftest import client_for
from tests.staff import superuser_client

PLACE = "/api/retry-schedules"
BUILTIN = list(RetryPolicy().delays_s)


def listed(api) -> dict[str, tuple[list[int], bool, str]]:
    page = api.get(PLACE).json()
    assert (page["next"], page["previous"]) == (None, None)
    return {one["channel"]: (one["delaysSeconds"], one["isDefault"], one["source"]) for one in page["results"]}


def put(api, channel, delays):
    return api.put(f"{PLACE}/{channel}", {"delaysSeconds": delays}, format="json")


def test_without_any_schedule_every_channel_has_the_default(api):
    assert listed(api) == {channel.label: (BUILTIN, True, "builtin") for channel in Channel}


def test_a_schedule_from_its_making_to_its_end(api, tenant):
    own = {"channel": "email", "delaysSeconds": [5, 60], "isDefault": False, "source": "channel"}
    for _ in range(2):
        answer = put(api, "email", [5, 60])
        assert (answer.status_code, answer.json()) == (200, own)
    assert RetrySchedule.objects.count() == 1
    assert policies_for(Channel.EMAIL, [tenant.pk])[tenant.pk].delays_s == (5, 60)
    assert api.get(f"{PLACE}/email").json() == own
    assert listed(api) == {channel.label: (BUILTIN, True, "builtin") for channel in Channel} | {
        "email": ([5, 60], False, "channel")
    }
    assert put(api, "email", []).json()["delaysSeconds"] == []
    for _ in range(2):
        assert api.delete(f"{PLACE}/email").status_code == 204
    assert listed(api)["email"] == (BUILTIN, True, "builtin")
    assert policies_for(Channel.EMAIL, [tenant.pk])[tenant.pk].delays_s == RetryPolicy().delays_s


def test_the_list_says_whose_schedule_counts(api, tenant, stranger):
    RetrySchedule.objects.create(delays_s=[10])
    RetrySchedule.objects.create(channel=Channel.SMS, delays_s=[20])
    RetrySchedule.objects.create(tenant=stranger, channel=Channel.PUSH, delays_s=[99])
    shown = listed(api)
    assert (shown["email"], shown["sms"]) == (([10], True, "installation"), ([20], True, "installation"))
    assert shown["push"] == ([10], True, "installation")
    RetrySchedule.objects.create(tenant=tenant, delays_s=[30])
    assert listed(api)["sms"] == ([30], True, "tenant")
    put(api, "sms", [40])
    assert listed(api)["sms"] == ([40], False, "channel")
    api.delete(f"{PLACE}/sms")
    assert listed(api)["sms"] == ([30], True, "tenant")
    assert RetrySchedule.objects.count() == 4


def test_a_stranger_sees_and_moves_nothing(api, stranger_api, tenant, stranger):
    put(api, "email", [5])
    assert listed(stranger_api)["email"] == (BUILTIN, True, "builtin")
    assert stranger_api.delete(f"{PLACE}/email").status_code == 204
    assert put(stranger_api, "email", [7]).status_code == 200
    assert (listed(api)["email"][0], listed(stranger_api)["email"][0]) == ([5], [7])


@pytest.mark.parametrize(("method", "path"), [("get", ""), ("get", "/email"), ("put", "/email"), ("delete", "/email")])
def test_it_takes_the_scope_admin(tenant, method, path):
    lesser = client_for(tenant, *(scope for scope in Scope if scope is not Scope.ADMIN))
    assert getattr(lesser, method)(f"{PLACE}{path}", {"delaysSeconds": [1]}, format="json").status_code == 403
    assert getattr(APIClient(), method)(f"{PLACE}{path}").status_code == 401
    assert RetrySchedule.objects.count() == 0


@pytest.mark.parametrize("method", ["get", "put", "delete"])
@pytest.mark.parametrize("channel", ["pigeon", "1", "EMAIL"])
def test_a_channel_that_is_none_is_not_there(api, method, channel):
    assert getattr(api, method)(f"{PLACE}/{channel}", {"delaysSeconds": [1]}, format="json").status_code == 404


@pytest.mark.parametrize(
    ("delays", "field"),
    [
        ([0], "delaysSeconds[0]"),
        ([1, -1], "delaysSeconds[1]"),
        ([LONGEST_DELAY_S + 1], "delaysSeconds[0]"),
        ([1] * (MOST_RETRIES + 1), "delaysSeconds"),
        ([1.5], "delaysSeconds[0]"),
        (["soon"], "delaysSeconds[0]"),
    ],
)
def test_what_the_admin_refuses_is_refused_by_field(api, tenant, delays, field):
    answer = put(api, "email", delays)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    form = {"tenant": tenant.pk, "channel": Channel.EMAIL.value, "delays_s": ",".join(map(str, delays))}
    assert superuser_client().post("/admin/deliveries/retryschedule/add/", form).status_code == 200
    assert RetrySchedule.objects.count() == 0


@pytest.mark.parametrize("delays", [[], [1], [LONGEST_DELAY_S], [1] * MOST_RETRIES])
def test_what_the_admin_takes_is_taken(api, tenant, delays):
    assert put(api, "email", delays).json()["delaysSeconds"] == delays
    form = {"tenant": tenant.pk, "channel": Channel.SMS.value, "delays_s": ",".join(map(str, delays))}
    assert superuser_client().post("/admin/deliveries/retryschedule/add/", form).status_code == 302


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "delaysSeconds"),
        ({"delaysSeconds": None}, "delaysSeconds"),
        ({"delaysSeconds": 5}, "delaysSeconds"),
        ({"delaysSeconds": ["5"]}, "delaysSeconds[0]"),
        ({"delaysSeconds": [True]}, "delaysSeconds[0]"),
        ({"delaysSeconds": [1], "delays": [2]}, "delays"),
    ],
)
def test_a_body_of_another_shape_is_refused_by_field(api, body, field):
    answer = api.put(f"{PLACE}/email", body, format="json")
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]
