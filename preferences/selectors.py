"""Reads. Those for the pipeline take a whole chunk and cost one statement each, whatever its size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
from django.db import connection
from django.db.models import Prefetch, Q, QuerySet, Value
from django.db.models.functions import MD5

from preferences.contact_points import comparable
from preferences.event_types import question_about
from preferences.models import Device, Preference, Recipient, Subscription, Suppression
from preferences.quiet_hours import of_preference
from preferences.resolver import Decision, Ladder, Place, Rung, Step, resolve, walk
from tenants.columns import columns_of, int_array, text_array
from tenants.models import Tenant
from tenants.vocabulary import Channel

UserKey = tuple[int, str]
"""(tenant id, user id)"""
Address = tuple[int, Channel, str]
"""(tenant id, channel, address)"""

# What a Contact is made of, in the order of `_contact`.
_CONTACT_COLUMNS: Final = """
    r.user_id, r.email, r.phone, r.telegram_chat_id, r.webhook_url, r.locale, r.timezone,
    NULLIF(r.attributes, '{}'), NULLIF(r.quiet_hours, '[]'),
    ARRAY(SELECT d.token FROM preferences_device d WHERE d.recipient_id = r.id AND d.retired_at IS NULL ORDER BY d.id)
"""

_RECIPIENTS: Final = f"""
SELECT r.tenant_id, {_CONTACT_COLUMNS}
FROM unnest(%s::bigint[], %s::text[]) AS wanted(tenant_id, user_id)
JOIN preferences_recipient r ON r.tenant_id = wanted.tenant_id AND r.user_id = wanted.user_id
"""  # noqa: S608  made of constants

_PREFERENCES: Final = """
SELECT p.tenant_id, p.user_id, p.channel, p.event_type, p.category,
       p.id, p.enabled, p.quiet_hours_start, p.quiet_hours_end, p.quiet_hours_days, p.delivery
FROM unnest(%s::bigint[], %s::text[]) AS wanted(tenant_id, user_id)
JOIN preferences_preference p ON p.tenant_id = wanted.tenant_id AND p.user_id = wanted.user_id
"""

# `LIMIT 1`, where there can be no more, keeps the planner to one look into the index for each row, whatever the table's size.
# The index is on the hash of the address, which may be longer than an index entry.
_SUPPRESSIONS: Final = """
SELECT wanted.tenant_id, wanted.channel, wanted.address, found.id, found.reason
FROM unnest(%s::bigint[], %s::smallint[], %s::text[]) AS wanted(tenant_id, channel, address)
CROSS JOIN LATERAL (
    SELECT s.id, s.reason FROM preferences_suppression s
    WHERE s.tenant_id = wanted.tenant_id AND s.channel = wanted.channel
      AND md5(s.address) = md5(wanted.address) AND s.address = wanted.address
      AND (s.expires_at IS NULL OR s.expires_at > now())
    LIMIT 1
) found
"""

# A range of (topic, id) rather than one topic and a range of ids: only the index on both can serve it in order, so that a
# small topic is never looked for among the subscribers of all.
_SUBSCRIBERS: Final = f"""
SELECT page.number, subscriber.id, contact.*
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::int[])
     WITH ORDINALITY AS page(tenant_id, topic_key, after, size, number)
JOIN preferences_topic t ON t.tenant_id = page.tenant_id AND t.key = page.topic_key
CROSS JOIN LATERAL (
    SELECT s.id, s.recipient_id FROM preferences_subscription s
    WHERE (s.topic_id, s.id) > (t.id, page.after) AND s.topic_id <= t.id
    ORDER BY s.topic_id, s.id LIMIT page.size
) subscriber
CROSS JOIN LATERAL (
    SELECT {_CONTACT_COLUMNS} FROM preferences_recipient r WHERE r.id = subscriber.recipient_id LIMIT 1
) contact
ORDER BY page.number, subscriber.id
"""  # noqa: S608  made of constants


_REACH: Final = """
SELECT t.key, count(s.id), count(DISTINCT s.recipient_id) FILTER (WHERE r.user_id <> ALL(%s::text[]))
FROM preferences_topic t
LEFT JOIN preferences_subscription s ON s.topic_id = t.id
LEFT JOIN preferences_recipient r ON r.id = s.recipient_id
WHERE t.tenant_id = %s AND t.key = ANY(%s::text[])
GROUP BY GROUPING SETS ((t.key), ())
"""


BELONGINGS: Final = ("role", "group")
"""What a recipient's attributes may say that it belongs to: `{"role": "support"}`, or `{"roles": ["support", "sales"]}`."""

_MEMBERS: Final = """
SELECT user_id FROM preferences_recipient
WHERE tenant_id = %s AND attributes <> '{}' AND (attributes @> %s::jsonb OR attributes @> %s::jsonb)
ORDER BY id LIMIT %s
"""


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient as it travels through the pipeline. Empty text means none; empty locale and time zone: the tenant's."""

    user_id: str
    """Empty for an inline recipient that is not kept."""
    email: str = ""
    phone: str = ""
    telegram_chat_id: str = ""
    webhook_url: str = ""
    locale: str = ""
    timezone: str = ""
    attributes: str = ""
    """JSON; empty for none."""
    quiet_hours: str = ""
    """The user's as a whole, as `quiet_hours.read` takes them; empty: the tenant's."""
    push_tokens: list[str] = []
    """Of the devices that are not retired, in the order they were registered."""

    def address_for(self, channel: Channel) -> tuple[str, ...]:
        """Where the channel reaches the recipient: nowhere, one address, or every device."""
        return tuple(address for address in _ADDRESSES[channel](self) if address)


_ADDRESSES: Final[Mapping[Channel, Callable[[Contact], list[str]]]] = {
    Channel.EMAIL: lambda contact: [contact.email],
    Channel.SMS: lambda contact: [contact.phone],
    Channel.PUSH: lambda contact: contact.push_tokens,
    Channel.IN_APP: lambda contact: [contact.user_id],
    Channel.CHAT: lambda contact: [contact.telegram_chat_id],
    Channel.WEBHOOK: lambda contact: [contact.webhook_url],
}


class Ladders:
    """The preference ladders of a chunk's users and of their tenants."""

    def __init__(self, rungs: Mapping[UserKey, Mapping[Place, Rung]]) -> None:
        defaults = {tenant_id: found for (tenant_id, user_id), found in rungs.items() if not user_id}
        self._of_tenants = {tenant_id: Ladder(tenant=found) for tenant_id, found in defaults.items()}
        self._of_users = {key: Ladder(user=found, tenant=defaults.get(key[0], {})) for key, found in rungs.items() if key[1]}

    def of(self, tenant_id: int, user_id: str) -> Ladder:
        """The ladder to ask; a user who chose nothing, or an empty user id, has the tenant's alone."""
        return self._of_users.get((tenant_id, user_id)) or self._of_tenants.get(tenant_id, _NO_LADDER)


_NO_LADDER: Final = Ladder()


class SuppressionInfo(msgspec.Struct, frozen=True):
    """Why an address must not be sent to."""

    id: str
    reason: str
    """One of `Suppression.Reason`."""

    @property
    def explanation(self) -> dict[str, Any]:
        """For the record, in the shape of a preference's `Decision.explanation`."""
        return {
            "rule": self.id,
            "level": "suppression",
            "value": False,
            "why": f"The address is on the suppression list: {self.reason}.",
        }


class TopicRequest(msgspec.Struct, frozen=True):
    """One page of a topic's subscribers: those after the cursor `after` (0: from the start), at most `limit`."""

    tenant_id: int
    topic_key: str
    after: int
    limit: int


class TopicPage(msgspec.Struct, frozen=True):
    contacts: list[Contact]
    next_cursor: int | None
    """Where the next page begins; None when this one was not full, so that nobody is left."""


def recipients_by_user(keys: Collection[UserKey]) -> dict[UserKey, Contact]:
    """The recipients that exist, with their contact points; one statement."""
    if not keys:
        return {}
    return {(row[0], row[1]): _contact(row[1:]) for row in fetch(_RECIPIENTS, _user_columns(set(keys)))}


def preference_ladders(keys: Collection[UserKey]) -> Ladders:
    """The ladders of these users and of their tenants; one statement."""
    wanted = {*keys, *((tenant_id, "") for tenant_id, _ in keys)}
    rungs: defaultdict[UserKey, dict[Place, Rung]] = defaultdict(dict)
    for tenant_id, user_id, channel, event_type, category, rule, enabled, *hours, delivery in (
        fetch(_PREFERENCES, _user_columns(wanted)) if wanted else ()
    ):
        rungs[tenant_id, user_id][channel, event_type, category] = _rung(rule, enabled, hours, delivery)
    return Ladders(rungs)


def suppressed(addresses: Collection[Address]) -> dict[Address, SuppressionInfo]:
    """Those of the addresses that must not be sent to now, and why; one statement. Expired suppressions do not count."""
    asked: defaultdict[Address, list[Address]] = defaultdict(list)
    for address in set(addresses):
        tenant_id, channel, text = address
        asked[tenant_id, channel, comparable(channel, text)].append(address)
    if not asked:
        return {}
    tenants, channels, texts = zip(*asked, strict=True)
    found: dict[Address, SuppressionInfo] = {}
    for tenant_id, channel, text, suppression_id, reason in fetch(
        _SUPPRESSIONS, [int_array(tenants), int_array(channels), text_array(texts)]
    ):
        info = SuppressionInfo(str(suppression_id), reason)
        found.update(dict.fromkeys(asked[tenant_id, Channel(channel), text], info))
    return found


def topic_pages(requests: Sequence[TopicRequest]) -> list[TopicPage]:
    """A page of subscribers for each request, in order; one statement. An unknown topic has no subscribers."""
    if not requests:
        return []
    asked = columns_of(TopicRequest, requests)
    pages: list[list[Contact]] = [[] for _ in requests]
    last = [0] * len(requests)
    for number, cursor, *columns in fetch(_SUBSCRIBERS, list(asked.values())):
        pages[number - 1].append(_contact(columns))
        last[number - 1] = cursor
    return [
        TopicPage(contacts, cursor if len(contacts) == request.limit else None)
        for contacts, cursor, request in zip(pages, last, requests, strict=True)
    ]


def topic_page(tenant_id: int, topic_key: str, after: int, limit: int) -> tuple[list[Contact], int | None]:
    """One page of one topic: its contacts, and the cursor of the next page or None."""
    (page,) = topic_pages([TopicRequest(tenant_id, topic_key, after, limit)])
    return page.contacts, page.next_cursor


def members_of(tenant_id: int, kind: str, name: str, *, limit: int) -> list[str]:
    """The user ids of a role's or group's members, whoever was known first; one statement."""
    one, among = (msgspec.json.encode(said).decode() for said in ({kind: name}, {f"{kind}s": [name]}))
    return [row[0] for row in fetch(_MEMBERS, [tenant_id, one, among, limit])]


def topics_reach(tenant: Tenant, keys: Collection[str], *, besides: Collection[str]) -> tuple[dict[str, int], int]:
    """The subscribers of each topic that exists, and how many people that are in all who are not `besides`; one statement."""
    rows = fetch(_REACH, [list(besides), tenant.pk, list(keys)])
    return {key: subscribers for key, subscribers, _ in rows if key is not None}, next(
        total for key, _, total in rows if key is None
    )


def recipients_with_devices(tenant: Tenant) -> QuerySet[Recipient]:
    """A tenant's recipients, each with its `live_devices`."""
    live = Device.objects.filter(retired_at=None).order_by("id")
    return Recipient.objects.for_tenant(tenant).prefetch_related(Prefetch("devices", live, to_attr="live_devices"))


def decide(tenant: Tenant, user_id: str, event_type: str, channel: Channel | None) -> tuple[Decision, list[Step]]:
    """What would be decided for this user (empty: anybody who did not choose), and every step of the way."""
    ladder = preference_ladders([(tenant.pk, user_id)]).of(tenant.pk, user_id)
    question = question_about(tenant.pk, event_type, channel)
    return resolve(question, ladder), list(walk(question, ladder))


def preferences_of(tenant: Tenant, user_id: str) -> QuerySet[Preference]:
    """A user's own preferences, or the tenant's default ones for an empty user id."""
    return Preference.objects.for_tenant(tenant).filter(user_id=user_id)


def devices_of(tenant: Tenant, user_id: str) -> QuerySet[Device]:
    """A recipient's devices, retired ones too."""
    return Device.objects.for_tenant(tenant).filter(recipient__user_id=user_id)


def subscriptions_of(tenant: Tenant, user_id: str) -> QuerySet[Subscription]:
    """What topics a recipient is on, each with its topic."""
    mine = Recipient.objects.for_tenant(tenant).filter(user_id=user_id)
    return Subscription.objects.filter(recipient__in=mine).select_related("topic")


def suppressions_of(tenant: Tenant, user_id: str) -> list[Suppression]:
    """The entries on the suppression list, also expired ones, for the recipient's addresses; three statements at most."""
    contact = recipients_by_user([(tenant.pk, user_id)]).get((tenant.pk, user_id))
    if contact is None:
        return []
    tokens = devices_of(tenant, user_id).values_list("token", flat=True)
    listed = Q(pk=None)
    for channel in Channel:
        texts = list(tokens) if channel is Channel.PUSH else [comparable(channel, one) for one in contact.address_for(channel)]
        digests = [MD5(Value(text)) for text in texts]
        listed |= Q(channel=channel, digest__in=digests, address__in=texts)
    return list(Suppression.objects.for_tenant(tenant).alias(digest=MD5("address")).filter(listed).order_by("pk"))


def suppressions(
    tenant: Tenant, *, channel: Channel | None = None, address: str = "", reason: str = ""
) -> QuerySet[Suppression]:
    """A tenant's suppressions, also expired ones: all of them, or those that fit."""
    found = Suppression.objects.for_tenant(tenant)
    if channel is not None:
        found = found.filter(channel=channel)
    if address:
        text = address if channel is None else comparable(channel, address)
        found = found.alias(digest=MD5("address")).filter(digest=MD5(Value(text)), address=text)
    return found.filter(reason=reason) if reason else found


def fetch(statement: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """What a statement returns, if it returns rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall()) if cursor.description else []


def _user_columns(keys: Collection[UserKey]) -> list[str]:
    return [int_array(tenant_id for tenant_id, _ in keys), text_array(user_id for _, user_id in keys)]


def _contact(columns: Sequence[Any]) -> Contact:
    user_id, email, phone, telegram_chat_id, webhook_url, locale, timezone, attributes, quiet_hours, push_tokens = columns
    return Contact(
        user_id=user_id,
        email=email,
        phone=phone,
        telegram_chat_id=telegram_chat_id,
        webhook_url=webhook_url,
        locale=locale,
        timezone=timezone,
        attributes=attributes or "",
        quiet_hours=quiet_hours or "",
        push_tokens=push_tokens,
    )


def _rung(preference_id: Any, enabled: bool, hours: Sequence[Any], delivery: str) -> Rung:
    return Rung(str(preference_id), enabled, of_preference(*hours), delivery)
