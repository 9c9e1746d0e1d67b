"""Everything the service holds about a user, as one JSON document that is written page by page.

What other rooms hold is theirs to tell: they lie above, and register here a section of the document.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from django.db.models import Model, QuerySet
from django.utils.timezone import now as clock

from preferences import selectors
from preferences.serializers import (
    DeviceExport,
    PreferenceSerializer,
    RecipientSerializer,
    SubscriptionExport,
    SuppressionSerializer,
)
from tenants.database.limits import REQUEST_S, statements_within
from tenants.models import Tenant

Section: TypeAlias = Callable[[Tenant, str], Iterable[Any]]
"""Tenant, user id → JSON-able entries, of which no more than a page may be in memory at once."""
ModelT = TypeVar("ModelT", bound=Model)
RowT = TypeVar("RowT")

PAGE: Final = 50
"""Rows read at once. One with an event's data may have half a megabyte."""
_PIECE: Final = 64 * 1024
"""Bytes given to the server at once, about."""

_sections: dict[str, Section] = {}


def register(name: str, section: Section) -> None:
    """Called once for each list of the document, by its room, when its app is ready."""
    _sections[name] = section


def in_pages(rows: QuerySet[ModelT]) -> Iterator[ModelT]:
    """All of `rows` by their ids, of which no more than a page are in memory; for rows that an index holds in this order."""
    page = _read(rows.order_by("pk")[:PAGE])
    while page:
        yield from page
        page = _read(rows.order_by("pk").filter(pk__gt=page[-1].pk)[:PAGE]) if len(page) == PAGE else []


def in_pages_of_ids(rows: QuerySet[ModelT]) -> Iterator[ModelT]:
    """As `in_pages`, for rows that no index holds in this order: first the ids of all are found, and no more than those."""
    ids = _read(rows.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(ids), PAGE):
        yield from _read(rows.filter(pk__in=ids[start : start + PAGE]).order_by("pk"))


def document(tenant: Tenant, user_id: str) -> Iterator[bytes] | None:
    """The document in pieces; None if nothing is known of this user.

    `{userId, exportedAt, recipient, …}`, where `recipient` may be null and each section is a list.
    """
    recipient = selectors.recipients_with_devices(tenant).filter(user_id=user_id).first()
    entries = _entries(tenant, user_id)
    first = next(entries, None)
    if recipient is None and first is None:
        return None
    head = {
        "userId": user_id,
        "exportedAt": clock(),
        "recipient": None if recipient is None else RecipientSerializer(recipient).data,
    }
    found = entries if first is None else itertools.chain([first], entries)
    return _collected(_written(head, found))


def _read(rows: QuerySet[Any, RowT]) -> list[RowT]:
    with statements_within(REQUEST_S):  # the pages are read after the view has returned
        return list(rows)


def _entries(tenant: Tenant, user_id: str) -> Iterator[tuple[str, Any]]:
    """Every entry with the name of its section, section by section."""
    for name, section in {**_OWN, **_sections}.items():
        for entry in section(tenant, user_id):
            yield name, entry


def _written(head: dict[str, Any], entries: Iterable[tuple[str, Any]]) -> Iterator[bytes]:
    yield _json(head)[:-1]
    unwritten = iter([*_OWN, *_sections])
    for name, several in itertools.groupby(entries, key=lambda entry: entry[0]):
        for passed in itertools.takewhile(lambda one: one != name, unwritten):  # noqa: B023  used up at once
            yield b"," + _json(passed) + b":[]"
        yield b"," + _json(name) + b":["
        for number, (_, entry) in enumerate(several):
            yield (b"," if number else b"") + _json(entry)
        yield b"]"
    for passed in unwritten:
        yield b"," + _json(passed) + b":[]"
    yield b"}"


def _collected(parts: Iterable[bytes]) -> Iterator[bytes]:
    piece = bytearray()
    for part in parts:
        piece += part
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)


def _devices(tenant: Tenant, user_id: str) -> Iterator[Any]:
    return (DeviceExport(device).data for device in in_pages_of_ids(selectors.devices_of(tenant, user_id)))


def _preferences(tenant: Tenant, user_id: str) -> Iterator[Any]:
    return (PreferenceSerializer(one).data for one in in_pages_of_ids(selectors.preferences_of(tenant, user_id)))


def _subscriptions(tenant: Tenant, user_id: str) -> Iterator[Any]:
    return (SubscriptionExport(one).data for one in in_pages_of_ids(selectors.subscriptions_of(tenant, user_id)))


def _suppressions(tenant: Tenant, user_id: str) -> Iterator[Any]:
    return (SuppressionSerializer(one).data for one in selectors.suppressions_of(tenant, user_id))


_OWN: Final[dict[str, Section]] = {
    "devices": _devices,
    "preferences": _preferences,
    "subscriptions": _subscriptions,
    "suppressions": _suppressions,
}
