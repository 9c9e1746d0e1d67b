"""Recipients' pages are translated completely, and the compiled catalogs are those of the texts beside them."""

import io
from pathlib import Path

import pytest
from babel.messages.extract import extract_python
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po
from django.conf import settings
from django.utils.translation.template import templatize

ROOM = Path(settings.BASE_DIR) / "preferences"
KEYWORDS = {"_": None, "gettext": None, "gettext_lazy": None, "ngettext": (1, 2)}
LANGUAGES = [code for code, _ in settings.LANGUAGES if code != "en"]


def texts() -> set[str]:
    found = set()
    for path in [*ROOM.glob("templates/preferences/**/*.html"), *ROOM.glob("centre/*.py")]:
        source = templatize(path.read_text()) if path.suffix == ".html" else path.read_text()
        for _, _, message, _ in extract_python(io.BytesIO(source.encode()), KEYWORDS, [], {}):
            found.add(message if isinstance(message, str) else message[0])
    return found


def catalog(language: str, suffix: str):
    with (ROOM / "locale" / language / "LC_MESSAGES" / f"django.{suffix}").open("rb") as file:
        return read_po(file, locale=language) if suffix == "po" else read_mo(file)


def shown(message) -> list[str]:
    return [message.string] if isinstance(message.string, str) else list(message.string)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_and_no_translation_is_left_over(language):
    messages = [message for message in catalog(language, "po") if message.id]
    ids = {message.id if isinstance(message.id, str) else message.id[0] for message in messages}
    assert ids == texts()
    assert all(text for message in messages for text in shown(message))
    assert not any(message.fuzzy for message in messages)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_names_what_the_text_names(language):
    for message in catalog(language, "po"):
        assert not list(message.check()), message.id


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalog_is_that_of_the_texts(language):
    compiled = io.BytesIO()
    write_mo(compiled, catalog(language, "po"))
    path = ROOM / "locale" / language / "LC_MESSAGES" / "django.mo"
    assert path.read_bytes() == compiled.getvalue(), "make messages"
