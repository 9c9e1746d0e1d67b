"""The examples of docs/templates.md, rendered."""

import json
import re
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import settings

from templates_app.compiled import compile_version
from templates_app.liquid.arguments import MOST, MOST_DIGITS, STYLES
from templates_app.liquid.formatting import FILTERS
from templates_app.rendering import RenderError, region_of, render
from templates_app.validation import Content, check_content
from tenants.vocabulary import Channel

PAGE = (Path(settings.BASE_DIR) / "docs" / "templates.md").read_text()
SECTION = PAGE.partition("## Dates, numbers, money\n")[2].partition("\n## ")[0]
DATA = json.loads(re.findall(r"```json\n(.*?)```", SECTION, re.DOTALL)[0])


def rows(heading: str) -> list[list[str]]:
    table = SECTION.partition(f"| {heading} |")[2].partition("\n\n")[0]
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()[2:]]
    return [[cell.strip().replace("\\|", "|") for cell in line] for line in lines]


def shown(body: str, locale: str, timezone: str, data=DATA) -> str:
    variables = [{"name": name} for name in DATA]
    assert not check_content(Channel.SMS, Content(body=body, variables=variables))
    version = compile_version(
        version_id=uuid4(), channel=Channel.SMS, locale="en", number=1, subject="", body=body, html="", variables=variables
    )
    region = region_of(version, locale=locale, default_locale="en", timezone=timezone)
    return render(version, data=data, recipient={}, event={}, tenant={}, region=region).body


def test_there_are_examples_of_every_filter():
    used = {name for template, *_ in rows("template") for name in re.findall(r"\| (\w+)", template)}
    assert used == set(FILTERS)


@pytest.mark.parametrize(("template", "austria", "america"), rows("template"))
def test_the_examples(template, austria, america):
    assert shown(template.strip("`"), "de-AT", "Europe/Vienna") == austria
    assert shown(template.strip("`"), "en-US", "America/New_York") == america


def test_the_error_is_the_one_it_names():
    (message,) = re.findall(r"`(body, line 3: .*?)`", SECTION)
    with pytest.raises(RenderError) as raised:
        shown("\n\n{{ total | money: currency }}", "en", "UTC", DATA | {"total": [1]})
    assert str(raised.value) == message


def test_the_limits_are_those_of_the_code():
    assert f"up to {len(str(MOST)) - 1} digits before the point" in SECTION
    assert f"0 to {MOST_DIGITS}" in SECTION
    assert ", ".join(f"`{style}`" for style in STYLES[:-1]) + f", `{STYLES[-1]}` or a" in SECTION
