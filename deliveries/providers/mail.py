"""A message as e-mail, the same for SMTP and for every e-mail vendor."""

from __future__ import annotations

from email.utils import parseaddr
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.validators import validate_email

from deliveries.providers.messages import Failed, Failure, Message

_LONGEST_LINE = 998
"""Characters (RFC 5322, 2.1.1)."""


class Mail(EmailMultiAlternatives):
    """Folds no header that may stay on one line: DKIM signatures over a folded List-Unsubscribe have been seen to fail."""

    def message(self, *args: Any, **kwargs: Any) -> Any:
        written = super().message(*args, **kwargs)
        written.policy = written.policy.clone(max_line_length=_LONGEST_LINE)
        return written


def never_a_mail(error: ValueError | str) -> Failed:
    """For a message that no retry makes a mail: its address or a header is malformed."""
    return Failed(failure=Failure.PERMANENT, code="invalid_message", message=str(error))


def build_mail(message: Message, *, from_email: str) -> Mail | Failed:
    """Text with an HTML alternative. A malformed header shows when the mail is written out: ValueError.

    The Message-ID is the delivery's own, the same on every attempt: mailboxes that got the first of two ambiguous attempts
    drop the second. `Auto-Submitted` keeps out-of-office replies away (RFC 3834, section 5).
    """
    sender = message.sender or from_email or settings.DEFAULT_FROM_EMAIL
    domain = parseaddr(sender)[1].rpartition("@")[2]
    headers = {"Message-ID": f"<{message.delivery_id}@{domain or 'localhost'}>", "Auto-Submitted": "auto-generated"}
    headers |= _unsubscribing(message.unsubscribe_url)
    try:
        validate_email(message.address)
    except ValidationError:
        return never_a_mail(f"{message.address!r} is not an e-mail address")
    mail = Mail(
        # Line breaks would end the header and begin another.
        subject=" ".join(message.subject.splitlines()),
        body=message.body,
        from_email=sender,
        to=[message.address],
        headers=headers,
    )
    if message.html:
        mail.attach_alternative(message.html, "text/html")
    return mail


def _unsubscribing(url: str) -> dict[str, str]:
    """Where a mailbox unsubscribes its owner (RFC 2369, 3.2), and that a POST is enough (RFC 8058, 3.1: over HTTPS only)."""
    if not url:
        return {}
    headers = {"List-Unsubscribe": f"<{url}>"}
    if url.startswith("https://"):
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return headers
