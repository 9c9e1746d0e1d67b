"""Events and recipients in the form in which chunks carry them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from notifications.claims import ClaimedEvent
from notifications.surroundings import DeclaredType
from notifications.wire import Work
from preferences.selectors import Contact, UserKey


def work_of(
    event: ClaimedEvent,
    event_type: DeclaredType | None,
    *,
    next_cursor: int | None = None,
    plan: Any = None,
    reason: str = "",
    recipients: int = 0,
) -> Work:
    """An event, as the stages that follow need it."""
    return Work(
        id=event.id,
        tenant_id=event.tenant_id,
        event_id=event.event_id,
        event_type=event.event_type,
        priority=event.priority,
        data=event.data,
        metadata=event.metadata,
        sandbox=event.sandbox,
        created_at=event.created_at,
        due_at=event.due_at,
        expires_at=event.expires_at,
        next_cursor=next_cursor,
        plan=plan,
        category=event_type.category if event_type else "",
        required=event_type.required if event_type else False,
        default_enabled=event_type.default_enabled if event_type else None,
        reason=reason,
        options=event.options,
        recipients=recipients,
    )


_INLINE: Final = {
    "email": "email",
    "phone": "phone",
    "telegramChatId": "telegram_chat_id",
    "webhookUrl": "webhook_url",
    "locale": "locale",
    "timezone": "timezone",
    "pushTokens": "push_tokens",
}


def merged(entry: dict[str, Any], contacts: Mapping[UserKey, Contact], tenant_id: int) -> Contact:
    """What is known of the recipient, with what the event itself says of it on top."""
    user_id = entry.get("userId", "")
    known = contacts[tenant_id, user_id] if user_id else Contact(user_id="")
    given = {attribute: entry[name] for name, attribute in _INLINE.items() if entry.get(name)}
    return msgspec.structs.replace(known, **given) if given else known
