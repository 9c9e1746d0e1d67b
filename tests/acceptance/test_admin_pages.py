"""The admin's pages in a real browser: whatever they hold, it is read without scrolling sideways."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import Service, eventually

pytestmark = pytest.mark.acceptance

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
USER = "0f3c1d5e-8a4b-4c6d-9e7f-112233445566"
LISTS = (
    *("notifications/event", "notifications/eventtype", "notifications/rule", "deliveries/delivery", "templates_app/template"),
    *("preferences/recipient", "preferences/preference", "tenants/tenant", "tenants/apikey", "auth/user"),
    *("notifications/limit", "notifications/digestschedule", "notifications/digest"),
)

# What holds more than it has room for.
WIDER = """selector => [...document.querySelectorAll(selector)]
    .filter(one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== 'inline')
    .map(one => `${one.className}: ${one.scrollWidth} in ${one.clientWidth}`)"""
HIGHER = WIDER.replace("Width", "Height")


@pytest.fixture(scope="module")
def rows(service: Service) -> None:
    """Long ids everywhere: UUIDs as the service makes them, and the longest that a caller may choose."""
    with service.client("looks") as client:
        rule = {
            "name": "Tell the customer about everything that is shipped",
            "eventType": "order.*",
            "condition": "has(payload.customerReferenceNumber) && payload.amount > 100",
            "recipients": {"path": "payload.customerReferenceNumber"},
            "channels": ["in_app", "email"],
        }
        assert client.post("/api/rules", json=rule).status_code == 201
        quiet = {"quietHoursStart": "22:00", "quietHoursEnd": "07:00", "delivery": "immediate", "enabled": True}
        preference = {"userId": USER, "channel": "webhook", "eventType": "subscription.payment_failed"}
        assert client.post("/api/preferences", json=preference | quiet).status_code == 201
        windows = [{"start": "03:00", "end": "03:01", "days": [day, "sat", "sun"]} for day in ("mon", "tue", "wed", "thu")]
        for whose in ({"userId": USER}, {}):
            assert client.put("/api/quiet-hours", params=whose, json={"quietHours": windows}).status_code == 200
        for event_id in ("", "a" * 100):
            event = {"eventType": "account", "userId": USER, "channels": ["in_app", "email"], "data": {"text": "w" * 200}}
            assert client.post("/api/events", json=event | ({"eventId": event_id} if event_id else {})).status_code == 202
        eventually(lambda: client.get("/api/deliveries", params={"userId": USER}).json()["results"])
        limit = {
            "name": "Marketing",
            "eventType": "news.*",
            "per": ["recipient", "eventType"],
            "count": 3,
            "windowSeconds": 86_400,
        }
        assert client.post("/api/limits", json=limit | {"excess": "defer"}).status_code == 201
        window = {
            "cadence": "window",
            "windowSeconds": 600,
            "slides": True,
            "longestSeconds": 3600,
            "template": "digest.comments",
        }
        schedule = {"name": "Comments, when they have ceased", "eventType": "comment.*"}
        assert client.post("/api/digest-schedules", json=schedule | window).status_code == 201
        collected = {"userId": USER, "channel": "email", "eventType": "comment.added", "enabled": True, "delivery": "digest"}
        assert client.post("/api/preferences", json=collected).status_code == 201
        for text in ("w" * 200, "short"):
            comment = {"eventType": "comment.added", "channels": ["email"], "data": {"text": text}}
            to = {"userId": USER, "email": "ok@simulator.invalid"}
            assert client.post("/api/events", json=comment | {"to": to}).status_code == 202
        eventually(lambda: client.get("/api/digests").json()["results"])


@pytest.fixture(scope="module")
def admin(browser, service: Service, rows) -> Iterator:
    """A page of somebody who is signed in."""
    password = re.search(r"admin password\s+(\S+)", service.output.read_text())[1]
    page = browser.new_page(base_url=service.base_url, viewport=DESK)
    page.goto("/admin/login/")
    page.fill("[name=username]", "admin")
    page.fill("[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_url("**/admin/")
    yield page
    page.close()


def first_of(page, place: str, query: str = "") -> None:
    """Open the page of a list's first row."""
    page.goto(f"/admin/{place}/?{query}")
    page.goto(page.get_attribute("#result_list tbody a[href*='/change/']", "href"))


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("place", LISTS)
def test_a_list_and_what_it_leads_to_fit_the_window(admin, place, viewport):
    admin.set_viewport_size(viewport)
    admin.goto(f"/admin/{place}/")
    assert admin.evaluate(WIDER, "html, .simplebar-content-wrapper, #result_list td") == []
    assert admin.evaluate(HIGHER, "#result_list :is(td, th)") == []
    first_of(admin, place)
    # A password's hash is meant to end in an ellipsis.
    assert admin.evaluate(WIDER, "html, .field-line, .readonly:not(.whitespace-nowrap)") == []


@pytest.mark.parametrize("place", ["notifications/event", "deliveries/delivery"])
def test_a_long_id_stays_in_its_cell_and_beside_its_label(admin, place):
    admin.set_viewport_size(DESK)
    first_of(admin, place, f"q={'a' * 100}")
    assert admin.evaluate(WIDER, "html, .field-line, .readonly") == []
    tops = admin.eval_on_selector_all(
        ".field-line:has(.readonly)",
        """lines => lines.map(line => Math.abs(
            line.querySelector('label, .font-semibold').getBoundingClientRect().top -
            line.querySelector('.readonly').getBoundingClientRect().top))""",
    )
    assert max(tops) <= 10


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_the_picker_of_permissions_shows_whole_names(admin, viewport):
    admin.set_viewport_size(viewport)
    admin.goto("/admin/auth/group/add/")
    admin.locator(".selector-chosen select").wait_for()
    assert admin.evaluate(WIDER, "html, .field-line, .selector, .selector option") == []


@pytest.mark.parametrize("page", ["change/", "explain/?event_type=account&channel=1"], ids=["preferences", "explanation"])
def test_on_a_phone_no_column_of_a_recipients_tables_is_cut_off(admin, page):
    admin.set_viewport_size(PHONE)
    first_of(admin, "preferences/recipient", f"q={USER}")
    admin.goto(re.sub(r"change/.*", page, admin.url))
    tables = admin.locator("div:has(> table)")
    wider = tables.evaluate_all("all => all.filter(one => one.scrollWidth > one.clientWidth)")
    assert len(wider) == 1
    assert tables.evaluate_all("all => all.filter(one => getComputedStyle(one).overflowX === 'hidden').length") == 0
