"""What a run prints once it is ready: where to go, and with which credentials."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PAGES = {
    "admin": "/admin/",
    "API reference": "/api/docs",
    "health": "/api/health",
    "metrics": "/api/metrics",
}


def welcome(*, base_url: str, demo: Mapping[str, object], logs: str) -> str:
    """`demo` is what `manage.py seed_demo` printed: names in camelCase, shown in its order."""
    links = {_words(name): str(value) for name, value in demo.items() if name.endswith("Url")}
    pages = {name: base_url + path for name, path in _PAGES.items()}
    facts = {_words(name): str(value) for name, value in demo.items() if not name.endswith("Url")}
    lines = [
        "",
        "Ready. Ctrl-C stops everything; the data stays.",
        "",
        *_table(links | pages),
        "",
        *_table(facts | {"logs": logs}),
    ]
    if "apiKey" in demo:
        lines += ["", "A first event:", "", *_first_event(base_url, str(demo["apiKey"]))]
    return "\n".join([*lines, ""])


def _table(rows: Mapping[str, str]) -> list[str]:
    width = max(map(len, rows))
    return [f"  {name:<{width}}  {value}" for name, value in rows.items()]


def _words(name: str) -> str:
    """`demoUrl` → `demo`, `apiKey` → `API key`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removesuffix("Url")).lower()
    return re.sub(r"\bapi\b", "API", words)


def _first_event(base_url: str, api_key: str) -> list[str]:
    body = '{"eventType": "account", "userId": "user_123", "channels": ["in_app"], "data": {"userName": "John"}}'
    return [
        f"  curl {base_url}/api/events -H 'X-API-Key: {api_key}' \\",
        f"    -H 'Content-Type: application/json' -d '{body}'",
    ]
