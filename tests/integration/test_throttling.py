"""Limits on requests: against a real Valkey, with the clock handed over where it matters."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.urls import reverse
from rest_framework.test import APIClient

from tenants import redis
from tenants.models import ApiKey
from tenants.services import create_api_key
from tenants.throttling import buckets, requests
from tenants.throttling.limits import RateLimit
from tenants.vocabulary import Scope
from tests.conftest import client_for, user_client
from tests.staff import superuser_client

EVENT = {"eventType": "account", "userId": "u"}
SLOW = RateLimit(5, 3600)
"""Refilled by a token in twelve minutes: in a test, never."""


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    redis.client().flushdb()
    monkeypatch.setattr(buckets, "_silent_until", 0.0)


def limited(tenant, text: str, *scopes: Scope) -> APIClient:
    _, key = create_api_key(tenant=tenant, scopes=scopes or (Scope.ADMIN,), rate_limit=text)
    return APIClient(HTTP_X_API_KEY=key)


def headers_of(response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith(("RateLimit", "Retry"))}


# The bucket


def test_a_bucket_is_emptied_and_refills_at_the_limits_rate():
    limit, start = RateLimit(10, 20), 1_800_000_000.0
    levels = [buckets.take("a", limit, now=start) for _ in range(11)]
    assert [level.allowed for level in levels] == [True] * 10 + [False]
    assert [level.remaining for level in levels] == [*range(9, -1, -1), 0]
    assert (levels[0].reset_s, levels[9].reset_s, levels[10].reset_s) == (2, 20, 20)
    assert (levels[9].wait_s, levels[0].wait_s) == (2, 0)
    assert not buckets.take("a", limit, now=start + 1.9).allowed
    later = buckets.take("a", limit, now=start + 5)
    assert (later.allowed, later.remaining) == (True, 1)
    assert buckets.take("a", limit, now=start + 60).remaining == 9  # never more than it holds


def test_a_refused_request_takes_nothing_out():
    limit, start = RateLimit(1, 10), 1_800_000_000.0
    assert buckets.take("a", limit, now=start).allowed
    assert not any(buckets.take("a", limit, now=start + second).allowed for second in range(1, 10))
    assert buckets.take("a", limit, now=start + 10).allowed


def test_a_clock_that_goes_back_refills_nothing_and_takes_nothing():
    limit, start = RateLimit(3, 30), 1_800_000_000.0
    assert buckets.take("a", limit, now=start).remaining == 2
    assert buckets.take("a", limit, now=start - 100).remaining == 1


def test_a_limit_that_was_lowered_holds_at_once():
    assert buckets.take("a", RateLimit(1000, 3600)).remaining == 999
    assert buckets.take("a", RateLimit(5, 3600)).remaining == 4


def test_by_the_servers_clock_a_full_bucket_is_forgotten():
    level = buckets.take("a", SLOW)
    assert (level.allowed, level.remaining) == (True, 4)
    left_ms = redis.client().pttl("rate:a")
    assert 700_000 < left_ms <= 720_000


def test_many_threads_together_take_no_more_than_there_is():
    start = threading.Barrier(8)

    def take_twenty(_: int) -> int:
        start.wait()
        return sum(buckets.take("a", RateLimit(50, 3600)).allowed for _ in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take_twenty, range(8))) == 50


PROCESS = """
import sys, django
django.setup()
from tenants.throttling import buckets
from tenants.throttling.limits import RateLimit
print("ready", flush=True)
sys.stdin.readline()
print(sum(buckets.take("a", RateLimit(100, 3600)).allowed for _ in range(80)), flush=True)
"""


def test_processes_together_take_no_more_than_there_is():
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                         cwd=django_settings.BASE_DIR)
        for _ in range(2)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    taken = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(taken) == 100


# Over HTTP


def test_headers_count_down_and_then_it_is_429(tenant):
    client = limited(tenant, "3/hour")
    answers = [client.post("/api/events", EVENT) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert [answer["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert headers_of(answers[0]) == {
        "RateLimit-Limit": "3",
        "RateLimit-Remaining": "2",
        "RateLimit-Reset": "1200",
        "RateLimit-Policy": '"default";q=3;w=3600',
    }
    assert answers[3]["Content-Type"] == "application/problem+json"
    assert {name: answers[3].json()[name] for name in ("title", "status")} == {"title": "Too Many Requests", "status": 429}
    assert 1190 <= int(answers[3]["Retry-After"]) <= 1200
    assert 3590 <= int(answers[3]["RateLimit-Reset"]) <= 3600


def test_every_answer_counts_and_has_the_headers(tenant):
    client = limited(tenant, "100/hour", Scope.EVENTS_WRITE)
    answers = [
        client.get("/api/rules"),
        client.delete("/api/events"),
        client.get("/api/events/unknown"),
        client.post("/api/events", {}),
        client.post("/api/events/bulk", {"events": [{**EVENT, "eventId": str(number)} for number in range(50)]}),
    ]
    assert [answer.status_code for answer in answers] == [403, 405, 404, 400, 202]
    assert [answer["RateLimit-Remaining"] for answer in answers] == ["99", "98", "97", "96", "95"]


def test_another_key_is_not_affected(tenant, api):
    client = limited(tenant, "1/hour")
    assert [client.get("/api/events").status_code for _ in range(2)] == [200, 429]
    assert limited(tenant, "1/hour").get("/api/events").status_code == 200
    assert api.get("/api/events").status_code == 200


def test_the_installations_limit_is_for_keys_without_one_of_their_own(tenant, settings):
    settings.API_RATE_LIMIT = RateLimit(2, 3600)
    assert [client.get("/api/events").status_code for client in [client_for(tenant)] * 3] == [200, 200, 429]
    assert "RateLimit-Limit" not in limited(tenant, "off").get("/api/events").headers
    settings.API_RATE_LIMIT = None
    assert "RateLimit-Limit" not in client_for(tenant).get("/api/events").headers
    assert limited(tenant, "7/hour").get("/api/events")["RateLimit-Limit"] == "7"


def test_each_user_of_a_token_has_a_limit(tenant, stranger, settings):
    settings.USER_RATE_LIMIT = RateLimit(2, 3600)
    for _ in range(2):
        assert user_client(tenant, "ada").get("/api/inbox").status_code == 200
    assert user_client(tenant, "ada").get("/api/inbox").status_code == 429  # another token is the same user
    assert user_client(tenant, "bob").get("/api/inbox").status_code == 200
    assert user_client(stranger, "ada").get("/api/inbox").status_code == 200


def test_staff_have_a_limit_for_the_api_and_none_for_the_admin(tenant, settings):
    settings.API_RATE_LIMIT = RateLimit(1, 3600)
    root = superuser_client()
    assert [root.get("/api/events").status_code for _ in range(2)] == [200, 429]
    assert root.get(reverse("admin:index")).status_code == 200


def test_open_endpoints_have_no_limit(db, settings):
    settings.API_RATE_LIMIT = RateLimit(1, 3600)
    for _ in range(3):
        assert not headers_of(APIClient().get("/api/health/live"))


# Credentials that are not valid


@pytest.fixture
def few_failures(monkeypatch):
    monkeypatch.setattr(requests, "FAILURES", RateLimit(2, 3600))


def statuses(count: int, **headers: str) -> list[int]:
    return [APIClient(**headers).get("/api/events").status_code for _ in range(count)]


@pytest.mark.parametrize("wrong", [{"HTTP_X_API_KEY": "nk_wrong"}, {"HTTP_AUTHORIZATION": "Bearer a.b.c"}])
def test_guessing_is_limited_by_address(db, few_failures, wrong):
    assert statuses(3, **wrong) == [401, 401, 429]
    assert statuses(1, **wrong, REMOTE_ADDR="192.0.2.7") == [401]
    refused = APIClient(**wrong).get("/api/events")
    assert int(refused["Retry-After"]) > 1700
    assert refused["RateLimit-Limit"] == "2"


def test_a_valid_key_passes_whoever_fails_at_its_address(tenant, api, few_failures):
    assert statuses(3, HTTP_X_API_KEY="nk_wrong")[-1] == 429
    assert api.get("/api/events").status_code == 200


def test_no_credential_at_all_is_no_guess(db, few_failures):
    assert statuses(4) == [401] * 4


def test_what_a_client_says_of_its_address_is_not_believed(db, few_failures, settings):
    def ask(forwarded: str) -> int:
        return statuses(1, HTTP_X_API_KEY="nk_wrong", HTTP_X_FORWARDED_FOR=forwarded)[0]

    assert [ask(f"192.0.2.{number}") for number in range(3)] == [401, 401, 429]
    settings.TRUST_PROXY_HEADERS = True
    assert [ask(f"{number}.2.3.4, 192.0.2.9") for number in range(3)] == [401, 401, 429]  # only the proxy's own word counts
    assert ask("192.0.2.10") == 401
    assert ask("nonsense") == 401


def test_a_network_of_ipv6_is_one_address(db, few_failures):
    found = [statuses(1, HTTP_X_API_KEY="nk_wrong", REMOTE_ADDR=f"2001:db8::{number}")[0] for number in range(3)]
    assert found == [401, 401, 429]
    assert statuses(1, HTTP_X_API_KEY="nk_wrong", REMOTE_ADDR="2001:db8:0:1::1") == [401]


# Without Redis


def unknown() -> float:
    return buckets.UNKNOWN._value.get()


def test_without_redis_everything_passes_and_is_counted(tenant, settings):
    client = limited(tenant, "1/hour")
    settings.REDIS_URL = "redis://127.0.0.1:1"
    before = unknown()
    answers = [client.post("/api/events", EVENT) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert not headers_of(answers[0])
    assert unknown() - before == 3


def test_a_redis_that_says_nothing_is_asked_once_and_then_left_alone(settings, monkeypatch):
    asked = []
    run = buckets._run
    monkeypatch.setattr(buckets, "_SILENCE_S", 60.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(buckets, "_run", lambda *arguments: (asked.append(1), run(*arguments)))
        assert [buckets.take("a", SLOW) for _ in range(5)] == [None] * 5
    assert len(asked) == 1


def test_a_redis_that_forgot_the_script_is_taught_again():
    redis.client().script_flush()
    assert buckets.take("a", SLOW).remaining == 4


def test_a_connection_that_was_cut_is_made_anew():
    assert buckets.take("a", SLOW).remaining == 4
    redis.client().client_kill_filter(_type="normal", skipme=True)
    assert buckets.take("a", SLOW).remaining == 3


# The field


@pytest.mark.parametrize("text", ["0/s", "600", "600/day", "-1/s", "1e3/s", "1000001/s", "Off", " 5/s", "٣/s"])
def test_a_limit_that_is_none_is_refused(tenant, text):
    key, _ = create_api_key(tenant=tenant, scopes=[Scope.ADMIN])
    key.rate_limit = text
    with pytest.raises(ValidationError) as refused:
        key.full_clean()
    assert list(refused.value.error_dict) == ["rate_limit"]


def test_a_key_gets_its_limit_in_the_admin(tenant):
    root = superuser_client()
    form = {"tenant": tenant.pk, "name": "shop", "scopes": ["admin"], "rate_limit": "a lot"}
    refused = root.post(reverse("admin:tenants_apikey_add"), form)
    assert "rate_limit" in refused.context["adminform"].form.errors
    assert root.post(reverse("admin:tenants_apikey_add"), form | {"rate_limit": "50/second"}).status_code == 200
    key = ApiKey.objects.get()
    assert key.rate_limit == "50/second"
    assert root.post(reverse("admin:tenants_apikey_change", args=[key.pk]), form | {"rate_limit": "off"}).status_code == 302
    key.refresh_from_db()
    assert key.rate_limit == "off"
