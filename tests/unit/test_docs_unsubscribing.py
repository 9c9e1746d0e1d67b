"""docs/unsubscribing.md, held against the code it describes."""

from pathlib import Path

from django.conf import settings
from django.urls import resolve

from preferences.centre import views
from preferences.centre.lines import MOST_FINE
from preferences.centre.links import CENTRE_LIFETIME
from templates_app.names import LINKS

PAGE = (Path(settings.BASE_DIR) / "docs" / "unsubscribing.md").read_text()


def test_the_figures_are_those_of_the_code():
    assert f"after {CENTRE_LIFETIME.days} days" in PAGE
    assert views._EXCHANGED_LIFETIME.total_seconds() == 3600
    assert "after an hour" in PAGE
    assert f"more than {MOST_FINE} of them" in PAGE


def test_every_variable_and_language_is_named():
    assert all(f"`{{{{ {name} }}}}`" in PAGE for name in LINKS)
    assert {name for _, name in settings.LANGUAGES} == {"English", "Deutsch", "Français"}
    assert "English, German and French" in PAGE


def test_the_paths_lead_to_the_pages():
    assert resolve("/u/x").func is views.unsubscribe
    assert resolve("/preferences/x").func is views.centre
    assert resolve("/preferences").func is views.with_user_token
