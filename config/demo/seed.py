"""Makes the demo tenant, or completes it: whatever is there stays as it is."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from config.demo.content import KINDS, NEWS, OPTIONAL, RECIPIENTS, TENANT, USER, Kind
from config.provisioning import provision_tenant
from notifications.models import EventType, Rule
from preferences.choices import set_preference
from preferences.models import Recipient
from preferences.services import subscribe, upsert_recipients
from templates_app.models import Template
from templates_app.services import create_template
from templates_app.validation import Content
from tenants.models import Tenant
from tenants.selectors import InvalidCredential, api_key_by_text
from tenants.services import create_api_key, create_user_token
from tenants.vocabulary import Channel, Scope

ADMIN = "admin"
_TOKEN_TTL = timedelta(days=1)


def seed() -> dict[str, str]:
    """The demo tenant and its admin; returns what there is to show, secrets included."""
    tenant = demo_tenant() or provision_tenant(slug=TENANT, name="Demo")
    with transaction.atomic():
        _event_types(tenant)
        _templates(tenant)
        _recipients(tenant)
        _rules(tenant)
    return {
        "demoUrl": f"{settings.PUBLIC_URL}/demo/",
        "tenant": tenant.slug,
        "user": USER,
        "apiKey": demo_api_key(tenant),
        "userToken": create_user_token(tenant=tenant, user_id=USER, ttl=_TOKEN_TTL),
        "adminUser": ADMIN,
        "adminPassword": _admin_password(_kept()),
    }


def demo_tenant() -> Tenant | None:
    return Tenant.objects.filter(slug=TENANT).first()


def demo_api_key(tenant: Tenant) -> str:
    """The demo tenant's key, the same for as long as it is valid."""
    kept = _kept()
    text = kept.get("apiKey")
    try:
        if text and api_key_by_text(text).tenant_id == tenant.pk:
            return text
    except InvalidCredential:
        pass  # the database is a new one, or the key was revoked
    _, text = create_api_key(tenant=tenant, scopes=[Scope.ADMIN], name="demo")
    kept.put("apiKey", text)
    return text


class _Kept:
    """Secrets that can be shown at every start because they are kept, readable by their owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, name: str) -> str:
        return str(self._read().get(name, ""))

    def put(self, name: str, value: str) -> None:
        values = self._read() | {name: value}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(values))
        draft.replace(self.path)

    def _read(self) -> dict[str, Any]:
        try:
            values = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}


def _event_types(tenant: Tenant) -> None:
    EventType.objects.bulk_create(
        [
            EventType(
                tenant=tenant,
                name=kind.name,
                category=kind.category,
                description=kind.description,
                default_channels=[channel.value for channel in kind.channels],
                default_priority=kind.priority,
                required=kind.required,
            )
            for kind in KINDS
        ],
        ignore_conflicts=True,
    )


def _templates(tenant: Tenant) -> None:
    there = set(Template.objects.for_tenant(tenant).values_list("channel", "event_type"))
    for kind in KINDS:
        for channel in kind.channels:
            if (channel.value, kind.name) not in there:
                create_template(
                    tenant=tenant, channel=channel, event_type=kind.name, content=_content(kind, channel), created_by="demo"
                )


def _content(kind: Kind, channel: Channel) -> Content:
    with_subject = channel in {Channel.EMAIL, Channel.PUSH, Channel.IN_APP, Channel.WEBHOOK}
    return Content(
        subject=kind.subject if with_subject else "",
        body=kind.text,
        html=kind.html if channel is Channel.EMAIL else "",
        variables=[
            {"name": name, "required": name not in OPTIONAL, "example": example} for name, example in kind.variables.items()
        ],
    )


def _recipients(tenant: Tenant) -> None:
    there = set(Recipient.objects.for_tenant(tenant).values_list("user_id", flat=True))
    missing = [one for one in RECIPIENTS if one.user_id not in there]
    if not missing:
        return
    upsert_recipients(tenant=tenant, recipients=missing)
    for one in missing:
        subscribe(tenant=tenant, topic_key=NEWS, user_id=one.user_id)
    # Somebody who muted marketing by e-mail, so that there is a suppression to look at.
    set_preference(
        tenant=tenant, user_id=USER, channel=Channel.EMAIL, event_type="", category="marketing", values={"enabled": False}
    )


def _rules(tenant: Tenant) -> None:
    if Rule.objects.for_tenant(tenant).exists():
        return
    Rule.objects.create(
        tenant=tenant,
        name="Tell the customer about a shipment",
        event_type="order.*",
        condition="has(payload.customerId)",
        recipients={"path": "payload.customerId"},
        channels=[Channel.IN_APP.value, Channel.EMAIL.value],
    )
    Rule.objects.create(
        tenant=tenant,
        name="Newsletters go to the topic",
        event_type="newsletter",
        recipients={"topic": NEWS},
        channels=[Channel.IN_APP.value, Channel.EMAIL.value],
        position=1,
    )


def _kept() -> _Kept:
    return _Kept(settings.ENV.stack.state / "demo.json")


def _admin_password(kept: _Kept) -> str:
    """Random, and set anew only if the admin is new or nobody can know it any more."""
    users = get_user_model().objects
    password = kept.get("adminPassword")
    user = users.filter(username=ADMIN).first()
    if user is not None and password:
        return password if user.check_password(password) else "(as you changed it)"
    password = password or secrets.token_urlsafe(12)
    if user is None:
        users.create_superuser(username=ADMIN, password=password)
    else:
        user.set_password(password)
        user.save(update_fields=["password"])
    kept.put("adminPassword", password)
    return password
