"""docs/architecture.md, held against the project: the tests it names and the figures it gives."""

import re
from pathlib import Path

from django.conf import settings

from notifications.claims import CHUNK, MAX_ATTEMPTS

ROOT = Path(settings.BASE_DIR)
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_every_test_it_names_exists():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(named) > 20
    assert named - defined == set()


def test_every_room_has_its_row():
    listed = re.findall(r"\]\(\.\./(\w+)\)", PAGE.partition("## Rooms")[2].partition("## ")[0])
    contracts = (ROOT / "pyproject.toml").read_text().partition("[tool.importlinter]")[2]
    assert set(listed) == set(re.findall(r'"(\w+)"', contracts.partition("root_packages = [")[2].partition("]")[0]))


def test_the_figures_are_those_of_the_code():
    assert f"takes up to {CHUNK} due events" in PAGE
    assert MAX_ATTEMPTS == 5
    assert "after five times" in PAGE
