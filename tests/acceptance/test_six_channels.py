"""One posted event, six channels, each handed to a vendor that listens: what they say they received."""

from __future__ import annotations

import json

import pytest
from websockets.sync.client import connect

from tests.acceptance.conftest import Service, eventually

pytestmark = pytest.mark.acceptance

CHANNELS = ["email", "sms", "push", "in_app", "chat", "webhook"]


@pytest.fixture(scope="module")
def api(service: Service):
    with service.client("six") as api:
        recipient = {
            "email": "grace@example.com",
            "phone": "+14155550123",
            "pushTokens": ["device-one", "device-two"],
            "telegramChatId": "424242",
            "webhookUrl": f"{service.doubles.webhook.url}/hook",
        }
        assert api.put("/api/recipients/grace", json=recipient).status_code in {200, 201}
        for channel in CHANNELS:
            template = {
                "channel": channel,
                "eventType": "order.shipped",
                "locale": "en",
                "subject": "Order {{ number }}",
                "body": "Dear {{ name }}, order {{ number }} is on its way.",
                "variables": ["name", "number"],
            } | ({"html": "<p>Dear {{ name }}</p>"} if channel == "email" else {})
            assert api.post("/api/admin/templates", json=template).status_code == 201, channel
        yield api


EVENT = {
    "eventId": "shipped-1",
    "eventType": "order.shipped",
    "userId": "grace",
    "channels": CHANNELS,
    "data": {"name": "Grace O'Hopper <3", "number": 7},
}
TEXT = "Dear Grace O'Hopper <3, order 7 is on its way."


def test_every_vendor_receives_the_message(service: Service, api):
    doubles = service.doubles
    fcm, telegram, webhook = (len(one.received) for one in (doubles.fcm, doubles.telegram, doubles.webhook))
    token = service.user_token("six", "grace")
    with connect(f"ws://127.0.0.1:{service.port}/ws/notifications/?token={token}") as socket:
        assert json.loads(socket.recv(10))["type"] == "ready"
        socket.send(json.dumps({"type": "subscribe"}))
        assert api.post("/api/events", json=EVENT).status_code == 202
        frame = json.loads(socket.recv(10))
        while frame["type"] != "notification":
            frame = json.loads(socket.recv(10))

    def finished():
        deliveries = api.get("/api/events/shipped-1").json()["deliveries"]
        done = len(deliveries) == 6 and all(one["status"] in {"sent", "delivered", "failed", "bounced"} for one in deliveries)
        return deliveries if done else None

    deliveries = {one["channel"]: one for one in eventually(finished)}
    assert {channel: one["status"] for channel, one in deliveries.items()} == {
        "email": "sent",
        "sms": "sent",
        "push": "sent",
        "in_app": "sent",
        "chat": "sent",
        "webhook": "delivered",
    }
    assert not any(one["sandbox"] for one in deliveries.values())
    assert (frame["id"], frame["title"], frame["body"], frame["data"]) == (
        deliveries["in_app"]["id"],
        "Order 7",
        TEXT,
        EVENT["data"],
    )

    (mail,) = [mail for mail in doubles.smtp.received if mail.recipients == ("grace@example.com",)]
    assert mail.message["Subject"] == "Order 7"
    assert mail.message.get_body(("plain",)).get_content().strip() == TEXT
    assert "Dear Grace O&#39;Hopper &lt;3" in mail.message.get_body(("html",)).get_content()

    (sms,) = [form for form in (request.form for request in doubles.twilio.received) if form["To"] == "+14155550123"]
    assert (sms["Body"], sms["From"]) == (TEXT, "+15005550006")

    pushed = [request.json["message"] for request in doubles.fcm.received[fcm:] if request.path.endswith("messages:send")]
    assert {message["token"] for message in pushed} == {"device-one", "device-two"}
    assert {message["notification"]["body"] for message in pushed} == {TEXT}

    (chat,) = [request for request in doubles.telegram.received[telegram:] if request.path.endswith("/sendMessage")]
    assert "order 7 is on its way." in str(chat.json)

    (hook,) = doubles.webhook.received[webhook:]
    assert json.loads(hook.body)["data"]["eventId"] == "shipped-1"
    assert hook.headers["webhook-id"] == deliveries["webhook"]["id"]


def test_the_same_event_again_reaches_nobody_again(service: Service, api):
    to = {"userId": None, "to": {"email": "once@example.com"}, "channels": ["email"]}
    once = EVENT | {"eventId": "once"} | to
    mails = lambda: [mail for mail in service.doubles.smtp.received if mail.recipients == ("once@example.com",)]  # noqa: E731
    api.post("/api/events", json=once)
    assert api.post("/api/events", json=once).json().get("duplicate") is True
    api.post("/api/events", json=once | {"eventId": "twice"})
    eventually(lambda: len(mails()) == 2)
    statuses = [one["status"] for one in api.get("/api/deliveries?eventType=order.shipped&channel=email").json()["results"]]
    assert len(mails()) == 2
    assert "failed" not in statuses


def test_a_vendor_that_refuses_for_now_is_asked_again(service: Service, api):
    service.doubles.smtp.behave("later@example.com", rcpt="451 4.3.0 try again", times=1)
    api.post(
        "/api/events",
        json=EVENT | {"eventId": "later", "userId": None, "to": {"email": "later@example.com"}, "channels": ["email"]},
    )
    (delivery,) = eventually(
        lambda: [one for one in api.get("/api/deliveries?eventId=later").json()["results"] if one["status"] == "sent"]
    )
    attempts = api.get(f"/api/deliveries/{delivery['id']}").json()["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["transient", "sent"]


def test_counters_and_health_tell_of_it(service: Service, api):
    to = {"userId": None, "to": {"phone": "+14155550199"}, "channels": ["sms"]}
    api.post("/api/events", json=EVENT | {"eventId": "counted"} | to)
    sent = 'notifications_deliveries_total{channel="sms",status="sent"}'
    eventually(lambda: sent in api.get("/api/metrics").text)
    assert api.get("/api/health").json()["status"] == "ok"
