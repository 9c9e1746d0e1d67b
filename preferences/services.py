"""Writes. Those that take many rows cost the same number of statements, however many there are.

Rows are sorted before they are written, so that two writers of the same rows wait for each other rather than deadlock.
In `RETURNING (xmax = 0)`, PostgreSQL tells a row inserted from one that was there and was updated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone
from uuid_utils.compat import uuid7

from preferences.contact_points import comparable
from preferences.erasure import erase_elsewhere, erase_history
from preferences.models import Preference, Recipient, Subscription, Suppression, Topic
from preferences.quiet_hours import Windows, written
from preferences.selectors import fetch
from tenants.columns import int_array, text_array, time_array, uuid_array
from tenants.models import Tenant
from tenants.vocabulary import Channel

SHARED_TOKENS: Final = "simulator-"
"""Push tokens that begin so are the sandbox's and may belong to any number of recipients."""


class PushToken(NamedTuple):
    token: str
    platform: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientData:
    """All there is to know of a recipient, in normal form. `push_tokens` and `quiet_hours` left out stay as they are."""

    user_id: str
    email: str = ""
    phone: str = ""
    telegram_chat_id: str = ""
    webhook_url: str = ""
    locale: str = ""
    timezone: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    push_tokens: Sequence[PushToken] | None = None
    quiet_hours: Windows | None = None


_TEXTS: Final = ("user_id", "email", "phone", "telegram_chat_id", "webhook_url", "locale", "timezone")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSuppression:
    """An address, in the normal form of its channel, that must not be sent to; for good if nothing expires it."""

    tenant_id: int
    channel: Channel
    address: str
    reason: str = Suppression.Reason.MANUAL.value
    detail: str = ""
    expires_at: datetime | None = None


_ENSURE_RECIPIENTS: Final = """
INSERT INTO preferences_recipient
    (id, tenant_id, user_id, email, phone, telegram_chat_id, webhook_url, locale, timezone, attributes, created_at, updated_at)
SELECT id, tenant_id, user_id, '', '', '', '', '', '', '{}', now(), now()
FROM unnest(%s::uuid[], %s::bigint[], %s::text[]) AS new(id, tenant_id, user_id)
ON CONFLICT (tenant_id, user_id) DO NOTHING
"""

_UPSERT_RECIPIENTS: Final = """
INSERT INTO preferences_recipient AS old
    (id, tenant_id, user_id, email, phone, telegram_chat_id, webhook_url, locale, timezone, attributes, quiet_hours,
     created_at, updated_at)
SELECT id, %s, user_id, email, phone, telegram_chat_id, webhook_url, locale, timezone, attributes::jsonb, quiet_hours::jsonb,
     now(), now()
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[],
            %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
    AS new(id, user_id, email, phone, telegram_chat_id, webhook_url, locale, timezone, attributes, quiet_hours)
ON CONFLICT (tenant_id, user_id) DO UPDATE SET
    email = EXCLUDED.email, phone = EXCLUDED.phone, telegram_chat_id = EXCLUDED.telegram_chat_id,
    webhook_url = EXCLUDED.webhook_url, locale = EXCLUDED.locale, timezone = EXCLUDED.timezone,
    attributes = EXCLUDED.attributes, quiet_hours = COALESCE(EXCLUDED.quiet_hours, old.quiet_hours),
    updated_at = EXCLUDED.updated_at
RETURNING user_id, id, (xmax = 0)
"""

# A device belongs to whoever registered its token last: the next person to sign in on a phone must not get the
# messages of the one before.
_REMOVE_DEVICES: Final = """
WITH kept AS (SELECT * FROM unnest(%(recipients)s::uuid[], %(tokens)s::text[]) AS kept(recipient_id, token)),
gone AS (
    SELECT d.id FROM preferences_device d
    WHERE d.tenant_id = %(tenant)s AND (d.recipient_id = ANY(%(replaced)s::uuid[]) OR md5(d.token) = ANY(%(moved)s::text[]))
      AND NOT EXISTS (SELECT FROM kept WHERE kept.recipient_id = d.recipient_id AND kept.token = d.token)
    ORDER BY d.id FOR UPDATE
)
DELETE FROM preferences_device WHERE id IN (SELECT id FROM gone)
"""

_ADD_DEVICES: Final = """
INSERT INTO preferences_device (id, tenant_id, recipient_id, token, platform, created_at)
SELECT id, %s, recipient_id, token, platform, now()
FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[]) AS new(id, recipient_id, token, platform)
ON CONFLICT (recipient_id, md5(token)) DO UPDATE SET platform = EXCLUDED.platform, retired_at = NULL
"""

# By the digest, by which tokens are indexed.
_RETIRE_DEVICES: Final = """
UPDATE preferences_device d SET retired_at = %s
FROM unnest(%s::bigint[], %s::text[]) AS gone(tenant_id, token)
WHERE d.tenant_id = gone.tenant_id AND md5(d.token) = md5(gone.token) AND d.token = gone.token AND d.retired_at IS NULL
"""

# The lock keeps a recipient that is being erased at the same moment from being subscribed.
_SUBSCRIBE: Final = """
INSERT INTO preferences_subscription (topic_id, recipient_id, created_at)
SELECT t.id, r.id, now() FROM preferences_topic t JOIN preferences_recipient r ON r.tenant_id = t.tenant_id
WHERE t.tenant_id = %s AND t.key = %s AND r.user_id = %s
FOR KEY SHARE
ON CONFLICT (topic_id, recipient_id) DO NOTHING
"""

# A suppression is only ever made longer; who wants it shorter takes it away first.
_ADD_SUPPRESSIONS: Final = """
INSERT INTO preferences_suppression AS old (id, tenant_id, channel, address, reason, detail, created_at, expires_at)
SELECT id, tenant_id, channel, address, reason, detail, now(), expires_at
FROM unnest(%s::uuid[], %s::bigint[], %s::smallint[], %s::text[], %s::text[], %s::text[], %s::timestamptz[])
    AS new(id, tenant_id, channel, address, reason, detail, expires_at)
ON CONFLICT (tenant_id, channel, md5(address)) DO UPDATE SET
    reason = EXCLUDED.reason, detail = EXCLUDED.detail,
    expires_at = CASE WHEN old.expires_at IS NOT NULL AND EXCLUDED.expires_at IS NOT NULL
                      THEN GREATEST(old.expires_at, EXCLUDED.expires_at) END
RETURNING id, (xmax = 0)
"""


def ensure_recipients(keys: Collection[tuple[int, str]]) -> None:
    """Make every (tenant id, user id) known that is not yet; one statement."""
    if keys:
        tenants, users = zip(*sorted(set(keys)), strict=True)
        fetch(_ENSURE_RECIPIENTS, [_new_ids(len(users)), int_array(tenants), text_array(users)])


@transaction.atomic
def upsert_recipients(*, tenant: Tenant, recipients: Collection[RecipientData]) -> dict[str, bool]:
    """Store recipients as given, new or not; says for each user id whether it is new. User ids must not repeat."""
    if not recipients:
        return {}
    ordered = sorted(recipients, key=attrgetter("user_id"))
    columns = [text_array(getattr(one, name) for one in ordered) for name in _TEXTS]
    attributes = text_array(_json(one.attributes) for one in ordered)
    hours = text_array(None if one.quiet_hours is None else _json(written(one.quiet_hours)) for one in ordered)
    rows = fetch(_UPSERT_RECIPIENTS, [tenant.pk, _new_ids(len(ordered)), *columns, attributes, hours])
    stored = {user_id: (row_id, new) for user_id, row_id, new in rows}
    given = {stored[one.user_id][0]: one.push_tokens for one in recipients if one.push_tokens is not None}
    if given:
        _replace_devices(tenant, given)
    return {user_id: new for user_id, (_, new) in stored.items()}


@transaction.atomic
def patch_recipient(*, tenant: Tenant, user_id: str, changes: Mapping[str, Any]) -> None:
    """Change the named fields of RecipientData (`push_tokens` replaces the devices); raises Recipient.DoesNotExist."""
    recipient = Recipient.objects.for_tenant(tenant).select_for_update().get(user_id=user_id)
    own = {name: value for name, value in changes.items() if name != "push_tokens"}
    if "quiet_hours" in own:
        own["quiet_hours"] = written(own["quiet_hours"])
    for name, value in own.items():
        setattr(recipient, name, value)
    recipient.save(update_fields=[*own, "updated_at"])
    if "push_tokens" in changes:
        _replace_devices(tenant, {recipient.pk: changes["push_tokens"]})


def erase_user(*, tenant: Tenant, user_id: str) -> bool:
    """Forget a recipient, and then erase the user from the history, batch by batch; False if there was nothing to forget.

    Not inside a transaction: each batch's locks are to end with it. Interrupted, it goes on when it is called again.
    """
    forgotten = erase_recipient(tenant=tenant, user_id=user_id)
    return erase_history(tenant, user_id) or forgotten


@transaction.atomic
def erase_recipient(*, tenant: Tenant, user_id: str) -> bool:
    """Forget a recipient with what is its own, here and in other rooms (`erasure`); False if there was nothing to forget.

    The history of its events and deliveries stays: see `erase_user`.
    """
    # Locked first, so that nobody adds to a recipient while what belongs to it is being collected.
    found = list(Recipient.objects.for_tenant(tenant).select_for_update().filter(user_id=user_id))
    _forget_in_log(Recipient, found)
    for recipient in found:
        recipient.delete()
    preferences = list(Preference.objects.for_tenant(tenant).filter(user_id=user_id)) if user_id else []
    _forget_in_log(Preference, preferences)
    Preference.objects.filter(pk__in=[one.pk for one in preferences]).delete()
    return any([found, preferences, erase_elsewhere(tenant, user_id)])


def _forget_in_log(model: type[Model], rows: Collection[Model]) -> None:
    """The admin's log of who changed what keeps that, and forgets what the rows were called: it is the user id."""
    if rows:
        entries = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(model))
        entries.filter(object_id__in=[str(row.pk) for row in rows]).update(object_repr="erased")


def retire_devices(*, tokens: Collection[tuple[int, str]]) -> int:
    """Stop sending to push tokens, (tenant id, token), that the provider no longer knows; says how many there were.

    One statement, whatever the number of tenants.
    """
    if not tokens:
        return 0
    tenants, texts = zip(*sorted(set(tokens)), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_RETIRE_DEVICES, [timezone.now(), int_array(tenants), text_array(texts)])
        return int(cursor.rowcount)


@transaction.atomic
def subscribe(*, tenant: Tenant, topic_key: str, user_id: str) -> bool:
    """Put a recipient on a topic, making either known that is not; False if it was on it already."""
    Topic.objects.bulk_create([Topic(tenant=tenant, key=topic_key)], ignore_conflicts=True)
    ensure_recipients([(tenant.pk, user_id)])
    with connection.cursor() as cursor:
        cursor.execute(_SUBSCRIBE, [tenant.pk, topic_key, user_id])
        return bool(cursor.rowcount)


def unsubscribe(*, tenant: Tenant, topic_key: str, user_id: str) -> None:
    """Take a recipient off a topic, if it is on it."""
    topic, recipient = Topic.objects.for_tenant(tenant), Recipient.objects.for_tenant(tenant)
    Subscription.objects.filter(topic__in=topic.filter(key=topic_key), recipient__in=recipient.filter(user_id=user_id)).delete()


def add_suppressions(*, suppressions: Collection[NewSuppression]) -> dict[UUID, bool]:
    """Put addresses on their suppression lists; says for each row whether it is new. One statement.

    Of two entries for one address the later counts. An address that was listed keeps the later expiry of the two.
    """
    unique = {(one.tenant_id, one.channel.value, comparable(one.channel, one.address)): one for one in suppressions}
    if not unique:
        return {}
    tenants, channels, addresses = zip(*sorted(unique), strict=True)
    entries = [unique[key] for key in sorted(unique)]
    columns = [
        _new_ids(len(entries)),
        int_array(tenants),
        int_array(channels),
        text_array(addresses),
        text_array(one.reason for one in entries),
        text_array(one.detail for one in entries),
        time_array(one.expires_at for one in entries),
    ]
    return dict(fetch(_ADD_SUPPRESSIONS, columns))


def _replace_devices(tenant: Tenant, given: Mapping[UUID, Sequence[PushToken]]) -> None:
    """Make these the recipients' only devices; a token that two of them name goes to the last one."""
    last = {token: owner for owner, tokens in given.items() for token, _ in tokens}
    rows = {
        (owner, token): platform
        for owner, tokens in given.items()
        for token, platform in tokens
        if last[token] == owner or token.startswith(SHARED_TOKENS)
    }
    owners, tokens = uuid_array(owner for owner, _ in rows), text_array(token for _, token in rows)
    moved = _digests(token for _, token in rows if not token.startswith(SHARED_TOKENS))
    fetch(
        _REMOVE_DEVICES,
        {
            "tenant": tenant.pk,
            "recipients": owners,
            "tokens": tokens,
            "replaced": uuid_array(given),
            "moved": text_array(moved),
        },
    )
    fetch(_ADD_DEVICES, [tenant.pk, _new_ids(len(rows)), owners, tokens, text_array(rows.values())])


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _new_ids(count: int) -> str:
    return uuid_array(uuid7() for _ in range(count))


def _digests(tokens: Iterable[str]) -> list[str]:
    """As PostgreSQL's md5()."""
    return [hashlib.md5(token.encode(), usedforsecurity=False).hexdigest() for token in tokens]
