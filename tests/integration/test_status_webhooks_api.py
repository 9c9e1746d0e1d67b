"""Status endpoints over HTTP and in the admin."""

from __future__ import annotations

import html
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier, Event, Semaphore
from uuid import uuid4

import pytest
from django.db import connection
from django.urls import reverse
from django.utils.timezone import localtime, now
from rest_framework.test import APIClient

from deliveries.models import StatusEndpoint, StatusMessage
from deliveries.providers.kept import forget_providers
from deliveries.providers.webhook import WebhookProvider
from deliveries.states import Status
from deliveries.status_webhooks import services
from deliveries.status_webhooks.models import MessageState
from tenants import redis
from tenants.http.problems import Conflict
from tenants.vocabulary import Scope
from tests.conftest import client_for
from tests.doubles.webhook import WebhookDouble
from tests.staff import staff_client, superuser_client

PLACE = "/api/status-webhooks"


@pytest.fixture(autouse=True)
def fresh(db, settings):
    settings.DEBUG = True
    redis.client().flushdb()
    yield
    forget_providers()


@pytest.fixture
def receiver():
    with WebhookDouble() as double:
        yield double


@pytest.fixture
def endpoint(tenant, receiver) -> StatusEndpoint:
    return StatusEndpoint.objects.create(tenant=tenant, url=f"{receiver.url}/hook")


def message_of(endpoint, **values) -> StatusMessage:
    defaults = {"tenant": endpoint.tenant, "delivery_id": uuid4(), "status": Status.SENT, "payload": {"status": "sent"}}
    return StatusMessage.objects.create(endpoint=endpoint, **defaults | values)


def test_an_endpoint_from_its_creation_to_its_end(api, receiver):
    body = {"url": f"{receiver.url}/hook", "description": "Orders", "statuses": ["failed", "bounced", "failed"]}
    created = api.post(PLACE, body, format="json")
    assert created.status_code == 201
    shown = created.json()
    secret = shown.pop("secret")
    assert secret.startswith("whsec_")
    assert shown["statuses"] == ["bounced", "failed"]
    assert (shown["isActive"], shown["failingSince"], shown["disabledAt"], shown["disabledReason"]) == (True, None, None, None)
    assert api.get(f"{PLACE}/{shown['id']}").json() == shown
    assert api.get(PLACE).json()["results"] == [shown]
    changed = api.patch(f"{PLACE}/{shown['id']}", {"isActive": False, "description": ""}, format="json").json()
    assert (changed["isActive"], changed["description"], changed["statuses"]) == (False, "", ["bounced", "failed"])
    assert api.delete(f"{PLACE}/{shown['id']}").status_code == 204
    assert api.get(f"{PLACE}/{shown['id']}").status_code == 404


def test_by_default_it_hears_of_every_state_of_rest(api, receiver):
    shown = api.post(PLACE, {"url": receiver.url}, format="json").json()
    assert set(shown["statuses"]) == {"sent", "delivered", "bounced", "failed", "suppressed", "expired", "canceled", "digested"}


def test_the_secret_is_encrypted_and_its_own(api, tenant, receiver):
    secrets = [api.post(PLACE, {"url": receiver.url}, format="json").json()["secret"] for _ in range(2)]
    assert len(set(secrets)) == 2
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(secret, '') FROM deliveries_statusendpoint")
        stored = cursor.fetchone()[0]
    assert not any(secret.removeprefix("whsec_") in stored for secret in secrets)


def takes(api, receiver, endpoint, secret) -> bool:
    """Whether a receiver that knows only this secret takes a request."""
    receiver.secret = secret
    return api.post(f"{PLACE}/{endpoint.pk}/test").json()["success"]


def rotate(api, endpoint, **body) -> dict:
    answer = api.post(f"{PLACE}/{endpoint.pk}/rotate-secret", body, format="json")
    assert answer.status_code == 200
    return answer.json()


def test_for_a_day_after_a_rotation_both_secrets_sign(api, receiver, endpoint):
    old = endpoint.secret
    assert api.get(f"{PLACE}/{endpoint.pk}").json()["oldSecretUntil"] is None
    rotated = rotate(api, endpoint)
    new, until = rotated["secret"], datetime.fromisoformat(rotated["oldSecretUntil"])
    assert new != old
    assert timedelta(hours=23) < until - now() <= timedelta(hours=24)
    assert api.get(f"{PLACE}/{endpoint.pk}").json()["oldSecretUntil"] == rotated["oldSecretUntil"]
    assert takes(api, receiver, endpoint, new)
    assert takes(api, receiver, endpoint, old)
    assert len(receiver.received[-1].headers["webhook-signature"].split(" ")) == 2
    StatusEndpoint.objects.update(old_secret_until=now())
    assert takes(api, receiver, endpoint, new)
    assert not takes(api, receiver, endpoint, old)
    assert api.get(f"{PLACE}/{endpoint.pk}").json()["oldSecretUntil"] is None


def test_a_leaked_secret_is_forgotten_at_once(api, receiver, endpoint):
    first = endpoint.secret
    second = rotate(api, endpoint)["secret"]
    rotated = rotate(api, endpoint, forgetOld=True)
    assert rotated["oldSecretUntil"] is None
    assert takes(api, receiver, endpoint, rotated["secret"])
    assert not takes(api, receiver, endpoint, first)
    assert not takes(api, receiver, endpoint, second)
    assert StatusEndpoint.objects.get().old_secret == ""


def test_of_two_rotations_in_a_day_the_last_two_secrets_sign(api, receiver, endpoint):
    first, second, third = endpoint.secret, rotate(api, endpoint)["secret"], rotate(api, endpoint)["secret"]
    assert takes(api, receiver, endpoint, third)
    assert takes(api, receiver, endpoint, second)
    assert not takes(api, receiver, endpoint, first)


def test_an_old_secret_is_encrypted_shown_nowhere_and_deleted_when_it_signs_no_more(api, tenant, receiver, endpoint):
    other = StatusEndpoint.objects.create(tenant=tenant, url=receiver.url)
    old = endpoint.secret
    rotate(api, endpoint)
    rotate(api, other)
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(secret || ' ' || old_secret, ' ') FROM deliveries_statusendpoint")
        stored = cursor.fetchone()[0]
    assert len(stored.split()) == 4
    assert old.removeprefix("whsec_") not in stored
    assert old not in api.get(f"{PLACE}/{endpoint.pk}").content.decode()
    StatusEndpoint.objects.filter(pk=endpoint.pk).update(old_secret_until=now())
    assert [services.forget_old_secrets() for _ in range(2)] == [1, 0]
    endpoint.refresh_from_db()
    other.refresh_from_db()
    assert (endpoint.old_secret, endpoint.old_secret_until) == ("", None)
    assert other.old_secret


@pytest.mark.parametrize(("body", "field"), [({"forgetOld": "perhaps"}, "forgetOld"), ({"forget": True}, "forget")])
def test_a_faulty_rotation_is_refused_by_field(api, endpoint, body, field):
    answer = api.post(f"{PLACE}/{endpoint.pk}/rotate-secret", body, format="json")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
    assert StatusEndpoint.objects.get().secret == endpoint.secret


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": ""}, "url"),
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "https://user:word@127.0.0.1/"}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://nowhere.invalid/"}, "url"),
        ({"url": "https://127.0.0.1/", "statuses": []}, "statuses"),
        ({"url": "https://127.0.0.1/", "statuses": ["sending"]}, "statuses"),
        ({"url": "https://127.0.0.1/", "secret": "whsec_mine"}, "secret"),
    ],
)
def test_a_faulty_endpoint_is_refused_by_field(api, body, field):
    response = api.post(PLACE, body, format="json")
    assert response.status_code == 400
    assert {error["field"].partition("[")[0].partition(".")[0] for error in response.json()["errors"]} == {field}
    assert StatusEndpoint.objects.count() == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.215.14/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://inside.customer.test/",
    ],
)
def test_in_production_an_unencrypted_or_private_url_is_refused(settings, monkeypatch, api, endpoint, url):
    settings.DEBUG = False
    leads = {"inside.customer.test": ["192.168.0.7"]}
    monkeypatch.setattr(WebhookProvider, "resolver", staticmethod(lambda host, port: leads.get(host, ["127.0.0.1"])))
    assert api.post(PLACE, {"url": url}, format="json").status_code == 400
    assert api.patch(f"{PLACE}/{endpoint.pk}", {"url": url}, format="json").status_code == 400
    monkeypatch.setattr(WebhookProvider, "resolver", staticmethod(lambda host, port: ["93.184.215.14"]))
    assert api.post(PLACE, {"url": "https://inside.customer.test/"}, format="json").status_code == 201


def test_there_is_an_end_to_endpoints(monkeypatch, api, endpoint, stranger_api, receiver):
    monkeypatch.setattr(services, "MOST_ENDPOINTS", 1)
    assert api.post(PLACE, {"url": receiver.url}, format="json").status_code == 409
    assert stranger_api.post(PLACE, {"url": receiver.url}, format="json").status_code == 201


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("get", ""),
        ("patch", ""),
        ("delete", ""),
        ("get", "/messages"),
        ("post", "/replay"),
        ("post", "/rotate-secret"),
        ("post", "/test"),
    ],
)
def test_a_stranger_finds_nothing_and_other_scopes_reach_nothing(tenant, stranger_api, receiver, endpoint, method, rest):
    message = message_of(endpoint, state=MessageState.FAILED)
    assert getattr(stranger_api, method)(f"{PLACE}/{endpoint.pk}{rest}", {}, format="json").status_code == 404
    assert stranger_api.get(PLACE).json()["results"] == []
    lesser = client_for(tenant, *(scope for scope in Scope if scope is not Scope.ADMIN))
    assert getattr(lesser, method)(f"{PLACE}/{endpoint.pk}{rest}", {}, format="json").status_code == 403
    assert APIClient().get(PLACE).status_code == 401
    message.refresh_from_db()
    assert message.state == MessageState.FAILED
    assert StatusEndpoint.objects.get().secret == endpoint.secret
    assert receiver.requests == []


def test_messages_are_listed_by_state(api, endpoint):
    other = StatusEndpoint.objects.create(tenant=endpoint.tenant, url=endpoint.url)
    message_of(other)
    sent = message_of(endpoint, state=MessageState.SENT, done_at=now(), response_code="200", response_excerpt="ok")
    waiting = message_of(endpoint, status=Status.FAILED)
    listed = api.get(f"{PLACE}/{endpoint.pk}/messages").json()["results"]
    assert [one["id"] for one in listed] == [str(waiting.pk), str(sent.pk)]
    assert (listed[0]["type"], listed[0]["state"]) == ("delivery.failed", "pending")
    assert listed[0]["nextAttemptAt"] is not None
    assert (listed[1]["responseCode"], listed[1]["nextAttemptAt"]) == ("200", None)
    assert [one["id"] for one in api.get(f"{PLACE}/{endpoint.pk}/messages?state=sent").json()["results"]] == [str(sent.pk)]
    page = api.get(f"{PLACE}/{endpoint.pk}/messages?limit=1").json()
    assert [one["id"] for one in api.get(page["next"]).json()["results"]] == [str(sent.pk)]
    assert api.get(f"{PLACE}/{endpoint.pk}/messages?state=lost").status_code == 400


@pytest.mark.parametrize(
    ("body", "again"),
    [
        ({}, {"failed", "old failed"}),
        ({"state": "sent"}, {"sent"}),
        ({"state": "all"}, {"failed", "old failed", "sent"}),
        ({"from": "hour ago"}, {"failed"}),
        ({"to": "hour ago"}, {"old failed"}),
    ],
)
def test_a_replay_sends_again_under_the_same_ids(api, endpoint, body, again):
    from tests.factories import id_at

    hour_ago, old = now() - timedelta(hours=1), now() - timedelta(hours=2)
    done = {"done_at": now(), "attempt_count": 10}
    messages = {
        "failed": message_of(endpoint, state=MessageState.FAILED, **done),
        "old failed": message_of(endpoint, id=id_at(old), created_at=old, state=MessageState.FAILED, **done),
        "sent": message_of(endpoint, state=MessageState.SENT, **done),
    }
    body = {name: hour_ago.isoformat() if value == "hour ago" else value for name, value in body.items()}
    response = api.post(f"{PLACE}/{endpoint.pk}/replay", body, format="json")
    assert (response.status_code, response.json()) == (202, {"replayed": len(again), "more": False})
    assert redis.client().exists("bell:status_webhooks")
    pending = StatusMessage.objects.filter(state=MessageState.PENDING, attempt_count=0, done_at=None)
    assert set(pending.values_list("pk", flat=True)) == {messages[name].pk for name in again}


def test_a_replay_is_bounded_and_takes_an_active_endpoint(monkeypatch, api, endpoint):
    monkeypatch.setattr(services, "MOST_REPLAYED", 2)
    for _ in range(3):
        message_of(endpoint, state=MessageState.FAILED)
    replay = f"{PLACE}/{endpoint.pk}/replay"
    assert api.post(replay, {}, format="json").json() == {"replayed": 2, "more": True}
    assert api.post(replay, {}, format="json").json() == {"replayed": 1, "more": False}
    StatusEndpoint.objects.update(is_active=False)
    assert api.post(replay, {}, format="json").status_code == 409


def test_enabling_begins_anew(api, endpoint):
    StatusEndpoint.objects.update(is_active=False, failing_since=now(), disabled_at=now(), disabled_reason="gone")
    assert api.get(f"{PLACE}/{endpoint.pk}").json()["disabledReason"] == "gone"
    shown = api.patch(f"{PLACE}/{endpoint.pk}", {"isActive": True}, format="json").json()
    assert (shown["isActive"], shown["failingSince"], shown["disabledAt"], shown["disabledReason"]) == (True, None, None, None)


class _Silent(WebhookDouble):
    """Takes requests and answers them when it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived, self.go_on = Semaphore(0), Event()

    def answer(self, request, behaviour):
        self.arrived.release()
        self.go_on.wait(10)
        return super().answer(request, behaviour)


def test_servers_that_are_slow_to_answer_do_not_take_every_web_thread(api, endpoint):
    with _Silent() as silent, ThreadPoolExecutor(services.WAITING_AT_ONCE) as pool:
        slow = StatusEndpoint(tenant=endpoint.tenant, url=silent.url)
        under_way = [pool.submit(services.send_test, endpoint=slow, now=now()) for _ in range(services.WAITING_AT_ONCE)]
        for _ in under_way:
            assert silent.arrived.acquire(timeout=10)
        refused = api.post(f"{PLACE}/{endpoint.pk}/test")
        also_refused = api.post(PLACE, {"url": endpoint.url}, format="json")
        root = superuser_client()
        chosen = {"action": "send_a_test", "_selected_action": [str(endpoint.pk)]}
        page = root.post(reverse("admin:deliveries_statusendpoint_changelist"), chosen, follow=True)
        silent.go_on.set()
    assert [one.result().success for one in under_way] == [True] * services.WAITING_AT_ONCE
    for answer in (refused, also_refused):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "Try again in a moment" in page.content.decode()
    assert api.post(f"{PLACE}/{endpoint.pk}/test").json()["success"]


@pytest.mark.django_db(transaction=True)
def test_many_at_once_get_no_more_endpoints_than_there_may_be(monkeypatch, tenant):
    monkeypatch.setattr(services, "MOST_ENDPOINTS", 1)
    together = Barrier(4)

    def create(number: int) -> bool:
        together.wait(10)
        try:
            services.create_endpoint(tenant=tenant, url=f"https://example.com/{number}")
        except Conflict:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(create, range(4))) == [False, False, False, True]
    assert StatusEndpoint.objects.count() == 1


def test_a_test_is_sent_at_once_and_its_answer_shown(api, receiver, endpoint):
    receiver.secret = endpoint.secret
    answer = api.post(f"{PLACE}/{endpoint.pk}/test").json()
    assert answer == {"success": True, "responseCode": "200", "responseExcerpt": "thank you"}
    assert receiver.received[0].json["type"] == "webhook.test"
    receiver.behave("/hook", status=500)
    answer = api.post(f"{PLACE}/{endpoint.pk}/test").json()
    assert answer == {"success": False, "responseCode": "http_500", "responseExcerpt": "refused by the double"}
    assert StatusMessage.objects.count() == 0


# The admin


def act(client, model, action, rows):
    place = reverse(f"admin:deliveries_{model}_changelist")
    return client.post(place, {"action": action, "_selected_action": [str(row.pk) for row in rows]}, follow=True)


def test_staff_create_one_and_see_its_secret_once(tenant, receiver):
    root = superuser_client()
    page = reverse("admin:deliveries_statusendpoint_add")
    form = {"tenant": tenant.pk, "url": "ftp://x", "statuses": [Status.SENT.value], "is_active": "on"}
    assert "url" in root.post(page, form).context["adminform"].form.errors
    response = root.post(page, form | {"url": receiver.url}, follow=True)
    endpoint = StatusEndpoint.objects.get()
    assert endpoint.statuses == [Status.SENT.value]
    assert endpoint.secret in response.content.decode().replace("&#x2F;", "/").replace("&#x3D;", "=").replace("&#x2B;", "+")
    again = root.get(reverse("admin:deliveries_statusendpoint_change", args=[endpoint.pk])).content.decode()
    assert endpoint.secret.removeprefix("whsec_") not in again


def test_staff_enable_a_disabled_one_and_send_again(endpoint):
    StatusEndpoint.objects.update(is_active=False, disabled_at=now(), disabled_reason="failing", failing_since=now())
    failed = message_of(endpoint, state=MessageState.FAILED)
    root = superuser_client()
    shown = root.get(reverse("admin:deliveries_statusendpoint_change", args=[endpoint.pk])).content.decode()
    assert "it failed for days without one success" in shown
    assert "not active" in act(root, "statusmessage", "send_again", [failed]).content.decode()
    act(root, "statusendpoint", "enable", [endpoint])
    endpoint.refresh_from_db()
    assert (endpoint.is_active, endpoint.disabled_reason, endpoint.failing_since) == (True, "", None)
    act(root, "statusmessage", "send_again", [failed])
    failed.refresh_from_db()
    assert failed.state == MessageState.PENDING


def test_staff_who_may_only_look_cannot_act(endpoint):
    failed = message_of(endpoint, state=MessageState.FAILED)
    client = staff_client("deliveries.view_statusmessage", "deliveries.view_statusendpoint")
    act(client, "statusmessage", "send_again", [failed])
    act(client, "statusendpoint", "new_secret", [endpoint])
    act(client, "statusendpoint", "new_secret_at_once", [endpoint])
    failed.refresh_from_db()
    assert failed.state == MessageState.FAILED
    assert StatusEndpoint.objects.get().secret == endpoint.secret


def test_staff_send_a_test_and_replay(receiver, endpoint):
    failed = message_of(endpoint, state=MessageState.FAILED)
    root = superuser_client()
    assert "answered 200" in act(root, "statusendpoint", "send_a_test", [endpoint]).content.decode()
    old = endpoint.secret
    shown = act(root, "statusendpoint", "new_secret", [endpoint]).content.decode()
    rotated = StatusEndpoint.objects.get()
    assert rotated.secret != old == rotated.old_secret
    assert old.removeprefix("whsec_") not in html.unescape(shown)
    page = root.get(reverse("admin:deliveries_statusendpoint_change", args=[endpoint.pk])).content.decode()
    assert f"{localtime(rotated.old_secret_until):%Y-%m-%d %H:%M:%S}" in page
    act(root, "statusendpoint", "new_secret_at_once", [endpoint])
    assert StatusEndpoint.objects.get().secret != rotated.secret
    assert StatusEndpoint.objects.get().old_secret == ""
    act(root, "statusendpoint", "replay_failed", [endpoint])
    failed.refresh_from_db()
    assert failed.state == MessageState.PENDING
