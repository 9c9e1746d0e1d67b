"""What users say to a bot: https://core.telegram.org/bots/api#update

`/start TOKEN` links the chat, `/stop` and blocking the bot end that. Nothing else concerns us, and no chat but a private one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from django.db import transaction

from deliveries.telegram.bots import Bot, tenants_of
from deliveries.telegram.models import note_update
from preferences.telegram_links import unlink_chat, use_link

LINKED: Final = "Done: {name} will write to you here. Send /stop to end that."
NOT_VALID: Final = "This link was used already, or is too old. Ask for a new one where you found it."
HOW: Final = "To be written to here, open the link that you are given where you set your preferences."
STOPPED: Final = "Nobody will write to you here any more. To begin again, ask for a new link."
NOT_LINKED: Final = "There was nothing to end: nobody writes to you here."

_PRIVATE: Final = "private"
_BLOCKED: Final = "kicked"
"""The bot's own status in a private chat whose user blocked it: https://core.telegram.org/bots/api#chatmemberbanned"""

_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Chat(msgspec.Struct):
    id: _Integer
    type: str


class Message(msgspec.Struct):
    chat: Chat
    text: str = ""


class Member(msgspec.Struct):
    status: str


class Membership(msgspec.Struct):
    chat: Chat
    new_chat_member: Member


class Update(msgspec.Struct):
    """As much of it as we read."""

    update_id: _Integer
    message: Message | None = None
    my_chat_member: Membership | None = None


class Reply(msgspec.Struct):
    """A call of the Bot API in the answer to an update, which Telegram then carries out.

    https://core.telegram.org/bots/api#making-requests-when-getting-updates
    """

    chat_id: int
    text: str
    method: str = "sendMessage"


def take(bot: Bot, update: Update) -> Reply | None:
    """Do what an update asks for, once, however often it comes; returns what to say."""
    member, message = update.my_chat_member, update.message
    if member is not None and member.chat.type == _PRIVATE and member.new_chat_member.status == _BLOCKED:
        _once(bot, update, lambda: _stop(bot, member.chat, ""))
    if message is None or message.chat.type != _PRIVATE:
        return None
    command, _, argument = message.text.strip().partition(" ")
    act = _COMMANDS.get(command.partition("@")[0])
    if act is None:
        return None
    text = _once(bot, update, lambda: act(bot, message.chat, argument.strip()))
    return Reply(message.chat.id, text) if text else None


def _once(bot: Bot, update: Update, act: Callable[[], str]) -> str:
    with transaction.atomic():
        return act() if note_update(bot.name, update.update_id) else ""


def _start(bot: Bot, chat: Chat, token: str) -> str:
    if not token:
        return HOW
    tenant = use_link(bot=bot.name, token=token, chat_id=str(chat.id))
    return LINKED.format(name=tenant.name) if tenant else NOT_VALID


def _stop(bot: Bot, chat: Chat, argument: str) -> str:
    return STOPPED if unlink_chat(tenants=tenants_of(bot), chat_id=str(chat.id)) else NOT_LINKED


_COMMANDS: Final[dict[str, Callable[[Bot, Chat, str], str]]] = {"/start": _start, "/stop": _stop}
