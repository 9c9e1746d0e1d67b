"""The icon, linked by the pages and found where browsers look unasked."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from django.contrib.staticfiles import finders
from django.templatetags.static import static
from django.urls import reverse

from config.demo.seed import seed
from tests.staff import superuser_client


@pytest.mark.parametrize("method", ["get", "head"])
def test_a_browser_that_asks_unasked_is_led_to_the_icon(client, method):
    response = getattr(client, method)("/favicon.ico")
    assert (response.status_code, response["Location"]) == (302, static("favicon.svg"))
    assert "max-age" in response["Cache-Control"]
    assert "Cookie" not in response.get("Vary", "")


def test_the_icon_is_a_picture():
    root = ET.parse(finders.find("favicon.svg")).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(root) > 0


def test_the_admin_links_it(client, db):
    for page in (client.get(reverse("admin:login")), superuser_client().get(reverse("admin:index"))):
        assert f'href="{static("favicon.svg")}"' in page.content.decode()


def test_the_demo_links_it(client, db, settings):
    settings.DEBUG = True
    seed()
    page = client.get("/demo/", HTTP_HOST="localhost:8000").content.decode()
    assert f'<link rel="icon" type="image/svg+xml" href="{static("favicon.svg")}">' in page
