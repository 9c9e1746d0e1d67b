"""How deliveries, and what surrounds them, look in the admin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

STATUS_COLOURS: Final = {
    "pending": "info",
    "sending": "info",
    "sent": "success",
    "delivered": "success",
    "bounced": "danger",
    "failed": "danger",
    "suppressed": "warning",
    "expired": "warning",
    "digested": "success",
    "canceled": "default",
    "held": "primary",
}

# What staff read must not call home: no script, no remote image that counts an opening.
_CLOSED: Final = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
)


def labelled(text: str, colours: Mapping[str, str]) -> SafeString | str:
    """The text as one of unfold's coloured labels."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": colours.get(text)}) if text else ""


def sandbox_label(simulated: bool) -> SafeString | str:
    return labelled("sandbox" if simulated else "", {"sandbox": "primary"})


def moment(value: datetime | None) -> str:
    """To the second, which is what tells rows of one event apart."""
    return f"{localtime(value):%Y-%m-%d %H:%M:%S}" if value else ""


def pretty(value: Any) -> SafeString | str:
    """JSON as people read it."""
    if value is None:
        return ""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre class="overflow-x-auto" style="white-space: pre-wrap">{}</pre>', text)


def shortened(address: str) -> str:
    return address if len(address) <= 40 else f"{address[:40]}…"


def link(url: str, text: str) -> SafeString:
    return format_html('<a class="font-medium text-primary-600 dark:text-primary-500" href="{}">{}</a>', url, text)


def paragraphs(text: str) -> SafeString | str:
    """Plain text with its line breaks."""
    return format_html('<div style="white-space: pre-wrap">{}</div>', text) if text else ""


def framed(html: str) -> SafeString | str:
    """An HTML body in a frame that runs and loads nothing."""
    if not html:
        return ""
    return format_html(
        '<iframe sandbox srcdoc="{}" title="HTML body" class="border border-base-200 rounded-default"'
        ' style="background: white; width: 100%; height: 24rem; resize: vertical"></iframe>',
        _CLOSED + html,
    )
