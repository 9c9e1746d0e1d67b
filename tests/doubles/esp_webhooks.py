"""The e-mail vendors' webhooks: their events about one message, in their own words and with their own proof of origin."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks import Webhook

_BASIC_KEY = "notify:s3cret-of-the-webhook"
_ecdsa = ec.generate_private_key(ec.SECP256R1())
_spki = _ecdsa.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

DELIVERED, HARD, SOFT, COMPLAINED, DEFERRED, OPENED = "delivered", "hard", "soft", "complained", "deferred", "opened"


def _brevo(what: str, delivery_id: str, message_id: str) -> Any:
    event = {HARD: "hard_bounce", SOFT: "soft_bounce", COMPLAINED: "spam", OPENED: "unique_opened"}.get(what, what)
    return {
        "event": event,
        "email": "ada@example.com",
        "message-id": message_id,
        "ts_epoch": int(time.time() * 1000),
        "X-Mailin-custom": json.dumps({"delivery_id": delivery_id}),
        "reason": "why" if what in {HARD, SOFT} else None,
    }


def _mailgun(what: str, delivery_id: str, message_id: str) -> Any:
    event = {HARD: "failed", SOFT: "failed", DEFERRED: "failed"}.get(what, what)
    data: dict[str, Any] = {
        "event": event,
        "recipient": "ada@example.com",
        "timestamp": time.time(),
        "message": {"headers": {"message-id": message_id.strip("<>")}},
        "user-variables": {"delivery_id": delivery_id},
    }
    if event == "failed":
        data["severity"] = "temporary" if what == DEFERRED else "permanent"
        data["reason"] = "bounce" if what == HARD else "espblock"
        data["delivery-status"] = {"code": 550 if what != DEFERRED else 450, "message": "why", "description": ""}
    return {"event-data": data}


def _postmark(what: str, delivery_id: str, message_id: str) -> Any:
    now = datetime.now(UTC).isoformat()
    record = {DELIVERED: "Delivery", OPENED: "Open", COMPLAINED: "SpamComplaint"}.get(what, "Bounce")
    event: dict[str, Any] = {
        "RecordType": record,
        "MessageID": message_id,
        "Recipient": "ada@example.com",
        "Metadata": {"delivery_id": delivery_id},
    }
    if record in {"Bounce", "SpamComplaint"}:
        kind = {HARD: "HardBounce", SOFT: "SoftBounce", DEFERRED: "Transient", COMPLAINED: "SpamComplaint"}[what]
        event |= {"ID": 42, "Type": kind, "Details": "why", "BouncedAt": now}
    else:
        event["DeliveredAt" if what == DELIVERED else "ReceivedAt"] = now
    return event


def _resend(what: str, delivery_id: str, message_id: str) -> Any:
    word = {HARD: "bounced", SOFT: "bounced", DEFERRED: "delivery_delayed"}.get(what, what)
    data: dict[str, Any] = {
        "email_id": message_id,
        "to": ["ada@example.com"],
        "headers": [{"name": "X-Metadata", "value": json.dumps({"delivery_id": delivery_id})}],
    }
    if word == "bounced":
        hard = {"message": "why", "type": "Permanent", "subType": "NoEmail"}
        data["bounce"] = hard if what == HARD else {"message": "why", "type": "Transient", "subType": "MailboxFull"}
    return {"type": f"email.{word}", "created_at": datetime.now(UTC).isoformat(), "data": data}


def _sendgrid(what: str, delivery_id: str, message_id: str) -> Any:
    word = {HARD: "bounce", SOFT: "bounce", COMPLAINED: "spamreport", OPENED: "open"}.get(what, what)
    event: dict[str, Any] = {
        "event": word,
        "email": "ada@example.com",
        "timestamp": int(time.time()),
        "anymail_id": message_id,
        "delivery_id": delivery_id,
        "sg_event_id": secrets.token_hex(8),
    }
    if word == "bounce":
        event |= {"type": "bounce" if what == HARD else "blocked", "status": "5.1.1", "reason": "why"}
    return [event]


def _sparkpost(what: str, delivery_id: str, message_id: str) -> Any:
    word = {DELIVERED: "delivery", COMPLAINED: "spam_complaint", DEFERRED: "delay", OPENED: "open"}.get(what, "bounce")
    event: dict[str, Any] = {
        "type": word,
        "transmission_id": message_id,
        "timestamp": str(int(time.time())),
        "raw_rcpt_to": "ada@example.com",
        "rcpt_meta": {"delivery_id": delivery_id},
    }
    if word == "bounce":
        event |= {"bounce_class": "10" if what == HARD else "22", "error_code": "550", "raw_reason": "why"}
    return [{"msys": {"message_event": event}}]


def _basic(key: str, body: bytes) -> tuple[dict[str, str], bytes]:
    return {"Authorization": "Basic " + base64.b64encode(key.encode()).decode()}, body


def _mailgun_signed(key: str, body: bytes) -> tuple[dict[str, str], bytes]:
    return {}, mailgun_signed(key, body, str(int(time.time())))


def mailgun_signed(key: str, body: bytes, timestamp: str) -> bytes:
    """The event as Mailgun signs it at that time, in seconds since 1970."""
    token = secrets.token_hex(25)
    signature = hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    signed = {"signature": {"timestamp": timestamp, "token": token, "signature": signature}}
    return json.dumps(json.loads(body) | signed).encode()


def _svix_signed(key: str, body: bytes) -> tuple[dict[str, str], bytes]:
    now, message_id = datetime.now(UTC), "msg_" + secrets.token_hex(8)
    signature = Webhook(key).sign(message_id, now, body.decode())
    return {"svix-id": message_id, "svix-timestamp": str(int(now.timestamp())), "svix-signature": signature}, body


def _ecdsa_signed(key: ec.EllipticCurvePrivateKey, body: bytes) -> tuple[dict[str, str], bytes]:
    timestamp = str(int(time.time()))
    signature = base64.b64encode(key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))).decode()
    prefix = "X-Twilio-Email-Event-Webhook-"
    return {f"{prefix}Signature": signature, f"{prefix}Timestamp": timestamp}, body


def _svix_key() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


@dataclass(frozen=True)
class EspWebhook:
    """One vendor's webhook."""

    credentials: Mapping[str, str]
    """What the account here must hold: to send, and to verify."""
    key_field: str
    body: Callable[[str, str, str], Any]
    sign: Callable[[Any, bytes], tuple[dict[str, str], bytes]]
    key: Any
    """What the vendor signs with."""
    forgers_key: Any

    def post(self, url: str, *events: Any, forged: bool = False, signed: bool = True) -> requests.Response:
        """Post events; several go as one list where the vendor sends lists."""
        (first, *more) = events
        value = [one for event in events for one in event] if isinstance(first, list) else first
        assert isinstance(first, list) or not more
        headers, body = {}, json.dumps(value).encode()
        if signed:
            headers, body = self.sign(self.forgers_key if forged else self.key, body)
        return requests.post(url, data=body, headers={"Content-Type": "application/json", **headers}, timeout=10)


_SVIX, _PEM = _svix_key(), base64.b64encode(_spki).decode()
_API = {"api_key": "key-of-the-vendor"}
_FORGER = ec.generate_private_key(ec.SECP256R1())
_BASIC = {"key_field": "webhook_secret", "sign": _basic, "key": _BASIC_KEY, "forgers_key": "notify:guessed"}
WEBHOOKS = {
    "brevo": EspWebhook({**_API, "webhook_secret": _BASIC_KEY}, body=_brevo, **_BASIC),
    "mailgun": EspWebhook(
        {**_API, "webhook_signing_key": "key-that-signs"},
        "webhook_signing_key",
        _mailgun,
        _mailgun_signed,
        "key-that-signs",
        "key-that-was-guessed",
    ),
    "postmark": EspWebhook({"server_token": "token", "webhook_secret": _BASIC_KEY}, body=_postmark, **_BASIC),
    "resend": EspWebhook({**_API, "signing_secret": _SVIX}, "signing_secret", _resend, _svix_signed, _SVIX, _svix_key()),
    "sendgrid": EspWebhook(
        {**_API, "webhook_verification_key": _PEM}, "webhook_verification_key", _sendgrid, _ecdsa_signed, _ecdsa, _FORGER
    ),
    "sparkpost": EspWebhook({**_API, "webhook_secret": _BASIC_KEY}, body=_sparkpost, **_BASIC),
}
