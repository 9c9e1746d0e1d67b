"""What a contact point must look like, and its one normal form.

Each function takes text from outside and returns what is stored; it raises `InvalidContactPointError`, whose message may be
shown to the caller. Whether anybody is reached there, only a provider can tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import idna
import phonenumbers
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator, URLValidator

from tenants.models import validate_timezone
from tenants.vocabulary import Channel

LONGEST_USER_ID: Final = 255
LONGEST_TOKEN: Final = 4096

_SHORTEST_PHONE: Final = 7
"""Digits, with the country's code."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_CHAT_ID = re.compile(r"-?[0-9]{1,20}|@[A-Za-z][A-Za-z0-9_]{3,62}|simulator-[a-z]+")  # the last: the sandbox's
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_email = EmailValidator()
_url = URLValidator(schemes=["http", "https"])


class InvalidContactPointError(ValueError):
    """The text cannot be an address of this kind."""


def user_id(text: str) -> str:
    """The tenant's own name of a user; for in-app messages, the address too."""
    if not is_name(text, LONGEST_USER_ID):
        raise InvalidContactPointError(f"A user id has 1 to {LONGEST_USER_ID} characters and no control characters.")
    return text


def is_name(text: str, longest: int) -> bool:
    """Whether it has from 1 to `longest` characters, none of them a control character."""
    return 0 < len(text) <= longest and not _CONTROL.search(text)


def email_address(text: str) -> str:
    text = text.strip()
    try:
        _email(text)
    except ValidationError as error:
        raise InvalidContactPointError(f"{_shown(text)} is not an e-mail address.") from error
    if len(text) > 254:
        raise InvalidContactPointError("An e-mail address has at most 254 characters.")
    return text


def phone_number(text: str) -> str:
    """E.164, e.g. `+4915112345678`.

    A number must be possible in its country's plan; it need not lie in a range that the plan's published copy calls
    assigned, since that copy is always behind (libphonenumber's FAQ advises this test for messaging). So the sandbox's
    numbers, which are assigned to nobody, pass as well.
    """
    try:
        number = phonenumbers.parse(text, None) if text.startswith("+") else None
    except phonenumbers.NumberParseException:
        number = None
    if number is not None and not number.extension and phonenumbers.is_possible_number(number):
        written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        if len(written) > _SHORTEST_PHONE:  # some plans also allow very short local numbers
            return written
    raise InvalidContactPointError(f"{_shown(text)} is not a phone number in international form, e.g. +4915112345678.")


def push_token(text: str) -> str:
    """Visible ASCII: a delivery to several devices keeps their tokens separated by spaces."""
    if len(text) > LONGEST_TOKEN or not _TOKEN.fullmatch(text):
        raise InvalidContactPointError(f"A push token has 1 to {LONGEST_TOKEN} visible ASCII characters.")
    return text


def telegram_chat_id(text: str) -> str:
    if not _CHAT_ID.fullmatch(text):
        raise InvalidContactPointError(f"{_shown(text)} is not a Telegram chat id: a number, or the @name of a channel.")
    return text


def webhook_url(text: str) -> str:
    try:
        _url(text)
    except ValidationError as error:
        raise InvalidContactPointError(f"{_shown(text)} is not an http or https URL.") from error
    if len(text) > 2000:
        raise InvalidContactPointError("A webhook's URL has at most 2000 characters.")
    return text


def time_zone(text: str) -> str:
    try:
        validate_timezone(text)
    except ValidationError as error:
        raise InvalidContactPointError(f"{_shown(text)} is not an IANA time zone, e.g. Europe/Vienna.") from error
    return text


def language_tag(text: str) -> str:
    """A language tag (RFC 5646) in its usual case: `de_at` becomes `de-AT`, `ZH-hant` becomes `zh-Hant`."""
    text = text.replace("_", "-")
    if len(text) > 35 or not _LANGUAGE_TAG.fullmatch(text):
        raise InvalidContactPointError(f"{_shown(text)} is not a language tag, e.g. de-AT.")
    language, *subtags = text.split("-")
    return "-".join([language.lower(), *map(_usual_case, subtags)])


def comparable(channel: Channel, address: str) -> str:
    """An address already in its normal form, as suppressions keep it.

    In practice, mailboxes do not tell case apart; and a domain in its own letters (RFC 5890, U-label) is the same in ASCII.
    """
    if channel != Channel.EMAIL:
        return address
    mailbox, at, domain = address.lower().rpartition("@")
    return mailbox + at + (domain if domain.isascii() else _in_ascii(domain))


def _in_ascii(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:  # no domain that there could be; it is compared as it is
        return domain


NORMAL_FORM: Final[Mapping[Channel, Callable[[str], str]]] = {
    Channel.EMAIL: email_address,
    Channel.SMS: phone_number,
    Channel.PUSH: push_token,
    Channel.IN_APP: user_id,
    Channel.CHAT: telegram_chat_id,
    Channel.WEBHOOK: webhook_url,
}
"""What makes an address of each channel out of text."""


def _usual_case(subtag: str) -> str:
    if len(subtag) == 2:
        return subtag.upper()
    return subtag.capitalize() if len(subtag) == 4 else subtag.lower()


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
