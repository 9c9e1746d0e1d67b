"""Recipients' pages in a real browser: with and without scripts, by keyboard, in a narrow window, in the dark."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.conftest import Service, eventually

pytestmark = pytest.mark.acceptance

TYPES = """
from notifications.models import EventType
from tenants.models import Tenant
tenant = Tenant.objects.get(slug="pages")
for name, category, description, required in {types!r}:
    EventType.objects.create(tenant=tenant, name=name, category=category, description=description, required=required)
"""
DECLARED = [
    ("booking.changed", "bookings", "Delays, gate changes and cancellations.", False),
    ("booking.confirmed", "bookings", "", False),
    ("newsletter", "offers", "Once a month.", False),
    ("password.changed", "account", "", True),
    ("a" * 120, "", "", False),
]
WIDTHS = (320, 390, 1280)
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], "resultTypes": ["violations"]}


@pytest.fixture(scope="module")
def links(service: Service) -> dict[str, str]:
    """The pages there are, by name, as a recipient's own mail has them."""
    with service.client("pages") as client:
        service.manage("shell", "-c", TYPES.format(types=DECLARED))
        person = {"email": "ada@example.com", "phone": "+4915112345678", "pushTokens": ["simulator-ok"], "locale": "de-AT"}
        assert client.put("/api/recipients/ada", json=person).status_code == 201
        for path, event_type in (("centre", "booking.changed"), ("required", "password.changed")):
            template = {
                "channel": "email",
                "eventType": event_type,
                "locale": "en",
                "subject": path,
                "body": "{{ unsubscribe_url }} {{ preferences_url }}",
            }
            assert client.post("/api/admin/templates", json=template).status_code == 201
            event = {"eventId": path, "eventType": event_type, "userId": "ada", "channels": ["email"]}
            assert client.post("/api/events", json=event).status_code == 202
        mails = {path: mail_about(service, path) for path in ("centre", "required")}
        event = {"eventType": "booking.changed", "to": {"email": "bob@example.com"}, "channels": ["email"]}
        assert client.post("/api/events", json=event).status_code == 202
    to_bob = eventually(lambda: [mail for mail in service.doubles.smtp.received if mail.recipients == ("bob@example.com",)])
    unsubscribe, centre = mails["centre"].split()
    return {
        "centre": centre,
        "unsubscribe": unsubscribe,
        "required": mails["required"].split()[0],
        "address": to_bob[0].message.get_content().split()[0],
        "bad": f"{service.base_url}/u/nothing",
        "example": f"{service.base_url}/preferences/example",
    }


def mail_about(service: Service, subject: str) -> str:
    (mail,) = eventually(lambda: [mail for mail in service.doubles.smtp.received if mail.message["Subject"] == subject])
    return mail.message.get_content()


@pytest.fixture(params=[True, False], ids=["scripts", "no-scripts"])
def page(browser, request) -> Iterator:
    context = browser.new_context(java_script_enabled=request.param, locale="en-GB")
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    yield page
    context.close()


def test_a_person_chooses_and_finds_it_kept(page, links):
    page.goto(links["centre"])
    assert page.title() == "Benachrichtigungen einstellen – pages"
    box = page.get_by_role("group", name="Booking changed").get_by_role("checkbox", name="SMS")
    before = box.is_checked()
    box.set_checked(not before)
    page.get_by_role("button", name="Speichern").click()
    page.wait_for_url("**?saved")
    assert page.get_by_role("status").inner_text().endswith("Ihre Einstellungen sind gespeichert.")
    page.goto(links["centre"])
    assert box.is_checked() is not before
    assert page.complaints == []


def test_by_keyboard_alone(page, links):
    page.goto(links["centre"])
    page.keyboard.press("Tab")
    box = page.locator("input:focus")
    before = box.is_checked()
    name = box.get_attribute("value")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.wait_for_url("**?saved")
    assert page.locator(f"input[value='{name}']").is_checked() is not before


def test_everything_off_and_on_again(page, links):
    page.goto(links["centre"])
    page.get_by_role("button", name="Alles ausschalten").click()
    page.wait_for_url("**?saved")
    assert page.get_by_role("checkbox", checked=True).count() == 0
    page.get_by_role("button", name="Wieder einschalten").click()
    page.wait_for_url("**?saved")
    assert page.get_by_role("button", name="Alles ausschalten").count() == 1


def test_a_person_unsubscribes_from_the_page(page, links, service):
    page.goto(links["address"])
    page.get_by_role("button", name="Unsubscribe").click()
    page.get_by_role("heading", name="You are unsubscribed").wait_for()
    assert page.get_by_role("button").count() == 0
    with service.client("pages") as client:
        assert client.delete("/api/suppressions", params={"channel": "email", "address": "bob@example.com"}).status_code == 204


def test_a_mailbox_unsubscribes_its_owner(service, links):
    mail = next(mail for mail in service.doubles.smtp.received if mail.message["Subject"] == "centre")
    address = re.fullmatch(r"\s*<(\S+)>", mail.message["List-Unsubscribe"])[1]
    with service.client("pages") as client:
        assert httpx.post(address, data={"List-Unsubscribe": "One-Click"}).status_code == 200
        event = {"eventId": "next", "eventType": "booking.changed", "userId": "ada", "channels": ["email"]}
        assert client.post("/api/events", json=event).status_code == 202
        (delivery,) = eventually(lambda: client.get("/api/deliveries", params={"eventId": "next"}).json()["results"])
        assert (delivery["status"], delivery["reason"]) == ("suppressed", "opted_out")
        for preference in client.get("/api/preferences", params={"userId": "ada"}).json()["results"]:
            client.delete(f"/api/preferences/{preference['id']}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["centre", "unsubscribe", "required", "address", "bad", "example"])
def test_everybody_can_use_it(browser, links, name, scheme):
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(links[name])
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        found = Axe().run(page, options=RULES).response["violations"]
        assert found == [], json.dumps([{each["id"]: [node["html"] for node in each["nodes"]]} for each in found], indent=1)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_whoever_looks_for_the_focus_sees_it(browser, links):
    page = browser.new_page()
    page.goto(links["centre"])
    for selector in ("input[type=checkbox]", "select", "button"):
        page.focus(selector)
        page.keyboard.press("Tab")
        page.keyboard.press("Shift+Tab")
        assert page.eval_on_selector(selector, "one => getComputedStyle(one).outlineStyle") == "solid"
    page.close()


def test_a_mistake_is_told_first(browser, links):
    page = browser.new_page()
    page.goto(links["centre"])
    page.eval_on_selector("[name=shown]", "field => { field.value = '' }")
    page.get_by_role("button", name="Speichern").click()
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert page.title().startswith("Nicht gespeichert:")
    assert alert.evaluate("one => one === document.activeElement")
    page.close()
