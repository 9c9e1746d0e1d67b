"""The words every room shares: channels, priorities, scopes. Numbers are what PostgreSQL stores, labels what the API says."""

from __future__ import annotations

import enum
from typing import Self, TypeVar

from django.db import models


class Coded(models.IntegerChoices):
    """A small integer in the database with a lower-case word in the API."""

    @classmethod
    def from_label(cls, label: str) -> Self:
        """The member that the API calls `label`; raises KeyError for an unknown one."""
        return _by_label(cls)[label]

    @classmethod
    def api_names(cls) -> list[str]:
        return [str(member.label) for member in cls]


class Channel(Coded):
    EMAIL = 1, "email"
    SMS = 2, "sms"
    PUSH = 3, "push"
    IN_APP = 4, "in_app"
    CHAT = 5, "chat"
    WEBHOOK = 6, "webhook"


class Priority(Coded):
    """Ordered so that an ascending index scan meets the urgent first."""

    URGENT = 0, "urgent"
    HIGH = 1, "high"
    NORMAL = 2, "normal"
    LOW = 3, "low"


class Scope(enum.StrEnum):
    """What an API key may do. `admin` includes all the others."""

    EVENTS_WRITE = "events:write"
    DELIVERIES_READ = "deliveries:read"
    DELIVERIES_WRITE = "deliveries:write"
    RECIPIENTS_WRITE = "recipients:write"
    PREFERENCES_WRITE = "preferences:write"
    TEMPLATES_WRITE = "templates:write"
    RULES_WRITE = "rules:write"
    ADMIN = "admin"


ANY = "*"
"""In preferences and templates: any channel, any event type."""

CodedT = TypeVar("CodedT", bound=Coded)
_LABELS: dict[type[Coded], dict[str, Coded]] = {}


def _by_label(kind: type[CodedT]) -> dict[str, CodedT]:
    if kind not in _LABELS:
        _LABELS[kind] = {str(member.label): member for member in kind}
    return _LABELS[kind]  # type: ignore[return-value]
