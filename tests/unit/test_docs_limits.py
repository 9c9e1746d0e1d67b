"""docs/limits.md and docs/digests.md, held against the code: their examples, figures and the built-in words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from django.conf import settings

from notifications.digests import claims, closing, models, selectors
from notifications.digests.serializers import DigestScheduleSerializer
from notifications.limits.counting import FARTHEST
from notifications.limits.models import LONGEST_WINDOW_S, MOST_LIMITS, MOST_MESSAGES, Excess, Per
from notifications.limits.serializers import LimitSerializer
from templates_app.digest_words import VARIABLES, digest_version
from templates_app.rendering import region_of, render
from templates_app.validation import Content, check_content
from tenants.vocabulary import Channel

DOCS = Path(settings.BASE_DIR) / "docs"
LIMITS, DIGESTS = (DOCS / "limits.md").read_text(), (DOCS / "digests.md").read_text()
DAY = 24 * 3600


@pytest.mark.parametrize(("page", "serializer"), [(LIMITS, LimitSerializer), (DIGESTS, DigestScheduleSerializer)])
def test_the_examples_are_accepted(page, serializer):
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    given = serializer(data=json.loads(example))
    assert given.is_valid(), given.errors


@pytest.mark.parametrize(("page", "serializer"), [(LIMITS, LimitSerializer), (DIGESTS, DigestScheduleSerializer)])
def test_every_field_is_explained(page, serializer):
    fields = {name for name, field in serializer().fields.items() if not field.read_only}
    assert fields - set(re.findall(r"`(\w+)`", page)) <= {"name"}


def test_the_figures_of_limits():
    assert f"1 to {MOST_MESSAGES:,}" in LIMITS
    assert LONGEST_WINDOW_S == models.LONGEST_WINDOW_S == 31 * DAY
    assert f"{MOST_LIMITS} at most" in LIMITS
    assert f"further away than {FARTHEST.days} days" in LIMITS
    for choice in (*Excess.values, *Per.values):
        assert f"`{choice}`" in LIMITS


def test_the_figures_of_digests():
    assert f"at most {models.MOST_SCHEDULES} schedules" in DIGESTS
    assert f"{models.SHORTEST_WINDOW_S} seconds to 31 days" in DIGESTS
    assert f"1 to {models.MOST_ITEMS};" in DIGESTS
    assert f"{closing.MOST_BYTES // 1024} KB" in DIGESTS
    assert f"first {selectors.MOST_SHOWN} items" in DIGESTS
    assert claims.MAX_ATTEMPTS == 5
    for name in (*models.Cadence.values, *VARIABLES):
        assert f"`{name}`" in DIGESTS


def test_the_template_is_one_that_can_be_saved():
    (body,) = re.findall(r"```liquid\n(.*?)```", DIGESTS, re.DOTALL)
    variables = [{"name": "items"}, {"name": "more"}]
    assert check_content(Channel.SMS, Content(body=body, variables=variables)) == []


def said(channel: Channel, locale: str):
    given = [("order.shipped", {}), ("comment", {"title": "Ada wrote to you"}), ("order.paid", {})]
    items = [{"eventId": "e", "eventType": name, "createdAt": "2031-07-01T12:05:00Z", "data": data} for name, data in given]
    version = digest_version(channel, locale, "en")
    region = region_of(version, locale=locale, default_locale="en", timezone="Europe/Vienna")
    data = dict.fromkeys(VARIABLES, "") | {"items": items, "count": 5, "more": 2}
    return render(version, data=data, recipient={}, event={}, tenant={}, region=region)


@pytest.mark.parametrize("locale", ["en", "de-AT", "fr"])
def test_the_built_in_words_are_those_shown(locale):
    (row,) = re.findall(rf"^\| `{locale}` \| (.*) \| (.*) \|$", DIGESTS, re.MULTILINE)
    words = said(Channel.EMAIL, locale)
    assert words.subject == row[0]
    assert words.body.replace("\u202f", " ").splitlines() == re.findall(r"`([^`]+)`", row[1])


def test_and_in_an_sms():
    assert f"`{said(Channel.SMS, 'en').body}`" in DIGESTS
