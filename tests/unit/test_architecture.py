"""What must hold of the project as a whole, whoever writes the next part. Import order is import-linter's (`make lint`)."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.permissions import AllowAny
from rest_framework.views import APIView

from notifications.queues import QUEUES
from tenants.permissions import HasScope
from tenants.vocabulary import Scope

ROOT = Path(settings.BASE_DIR)
ROOMS = ("config", "notifications", "deliveries", "templates_app", "preferences", "tenants")

PUBLIC = {
    "api/health": "load balancers ask",
    "api/health/live": "process supervisors ask",
    "api/schema": "describes, holds nothing",
    "api/docs": "describes, holds nothing",
    "api/receipts/twilio/<str:account>/<str:delivery_id>": "signed by the vendor",
    "api/receipts/email/<str:kind>/<str:account>": "signed by the vendor, or with the account's webhook secret",
    "api/telegram/<str:bot>/<str:key>": "Telegram sends the bot's secret with it",
}
"""Routes that anyone may call, and why."""

LONGEST_FILE = 350


def routes(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[tuple[str, object]]:
    for pattern in (resolver or get_resolver()).url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, path)
        elif isinstance(pattern, URLPattern):
            yield path, pattern.callback


API = {path: callback for path, callback in routes() if path.startswith("api/")}


def view_of(callback: object) -> type:
    return getattr(callback, "cls", None) or getattr(callback, "view_class", None) or type(None)


def methods_of(view: type) -> set[str]:
    named = {"get", "post", "put", "patch", "delete"} & set(view.http_method_names)
    return {name.upper() for name in named if hasattr(view, name)}


def sources() -> Iterator[Path]:
    for room in ROOMS:
        yield from (path for path in (ROOT / room).rglob("*.py") if "migrations" not in path.parts)


def test_there_are_routes_to_look_at():
    assert len(API) > 20


def test_the_list_of_public_routes_is_true():
    assert set(PUBLIC) <= set(API)


@pytest.mark.parametrize("path", sorted(API))
def test_every_route_is_authenticated_or_listed_as_public(path):
    view = view_of(API[path])
    assert issubclass(view, APIView), f"{path} is not a REST framework view, so nobody checks who calls it"
    is_open = not view.authentication_classes or not view.permission_classes or AllowAny in view.permission_classes
    assert is_open == (path in PUBLIC), f"{path} is {'open to anyone' if is_open else 'closed, but listed as public'}"
    if path not in PUBLIC:
        assert all(issubclass(permission, HasScope) for permission in view.permission_classes)


@pytest.mark.parametrize("path", sorted(set(API) - set(PUBLIC)))
def test_every_method_says_who_may_call_it(path):
    view = view_of(API[path])
    scopes, user_methods = getattr(view, "scopes", {}), set(getattr(view, "user_token_methods", ()))
    undeclared = methods_of(view) - set(scopes) - user_methods
    assert not undeclared, f"{view.__name__} has {undeclared}, which nobody may call"
    for method, wanted in scopes.items():
        assert wanted, f"{view.__name__}.{method} names no scope"
        assert all(isinstance(scope, Scope) for scope in wanted)


def test_no_two_routes_are_the_same():
    named = Counter(re.sub(r"<[^>]*>", "<>", path) for path, _ in routes())
    assert not [path for path, count in named.items() if count > 1]


def queues_of(service: dict) -> list[str]:
    command = service.get("command", "")
    words = command if isinstance(command, list) else command.split()
    if "celery" not in words:
        return []
    for position, word in enumerate(words):
        if word.startswith("--queues="):
            return word.removeprefix("--queues=").split(",")
        if word in {"-Q", "--queues"}:
            return words[position + 1].split(",")
    return list(QUEUES)


def test_every_queue_is_consumed_by_one_service_of_the_compose_file():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    consumed = Counter(queue for service in services.values() for queue in queues_of(service))
    assert consumed == Counter(QUEUES)


def test_every_queue_that_tasks_name_exists():
    from config.celery import app

    app.loader.import_default_modules()
    ours = {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}
    assert {"notifications.enrich", "notifications.send", "operations.probe"} <= set(ours)
    named = {queue for task in ours.values() if (queue := getattr(task, "queue", None))}
    assert named <= set(QUEUES)


def test_files_can_be_read_in_one_sitting():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_module_is_a_drawer_for_anything():
    names = {path.stem for path in sources()} | {path.parent.name for path in sources()}
    assert not names & {"utils", "util", "helpers", "common", "misc"}


def test_migrations_have_names_someone_chose():
    migrations = [path for room in ROOMS for path in (ROOT / room).glob("migrations/0*.py")]
    assert len(migrations) >= 5
    assert not [str(path) for path in migrations if re.search(r"_auto_\d|_(alter|add|remove|rename)_.*_and_more", path.stem)]


def test_nothing_waits_on_a_celery_clock():
    """Time lives in PostgreSQL: with Redis, a message whose delay outlasts the visibility timeout is delivered again."""
    found = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                found += [f"{path}:{node.lineno}" for keyword in node.keywords if keyword.arg in {"eta", "countdown"}]
    assert found == []


def test_every_make_command_of_the_readme_exists():
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    named = {
        command
        for page in pages
        for code in re.findall(r"```.*?```|`[^`\n]+`", page.read_text(), re.DOTALL)
        for command in re.findall(r"\bmake ([a-z][\w-]*)", code)
    }
    assert {"run", "test", "bench"} <= named <= targets


def test_every_manage_command_of_the_documents_exists():
    from django.core.management import get_commands

    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    named = {command for page in pages for command in re.findall(r"manage\.py ([a-z_]+)", page.read_text())}
    assert named <= set(get_commands())


def test_links_between_documents_lead_somewhere():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    broken = [
        f"{page.relative_to(ROOT)} → {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []
