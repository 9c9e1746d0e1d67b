"""The demo page in a real browser against the running service."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.conftest import Service

pytestmark = pytest.mark.acceptance


@pytest.fixture
def page(browser, service: Service):
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(f"{service.base_url}/demo/?user=ada")
    page.locator("#link.open").wait_for()
    yield page
    context.close()
    assert faults == []


def post(page, *, event_type="account", channels=("in_app", "email"), data=None):
    page.select_option("[name=eventType]", event_type)
    for box in page.locator("[name=channels]").all():
        box.set_checked(box.get_attribute("value") in channels)
    page.fill("[name=data]", json.dumps(data or {"userName": "Ada <3"}))
    page.click("#compose button")


def test_an_event_arrives_live_and_is_marked_read(page):
    before = int(page.inner_text("#unread"))
    post(page)
    item = page.locator("#items li:not(.read)").first
    item.wait_for()
    assert item.locator("h3").inner_text() == "Welcome, Ada <3"
    page.wait_for_function("expected => document.getElementById('unread').textContent === expected", arg=str(before + 1))
    item.get_by_role("button", name="Mark read").click()
    page.wait_for_function("expected => document.getElementById('unread').textContent === expected", arg=str(before))


def test_the_other_channels_and_the_timeline_are_shown(page):
    post(page, channels=("in_app", "email", "sms"))
    for channel in ("email", "sms"):
        page.locator(f'[data-channel="{channel}"] .state').first.wait_for()
    frame = page.frame_locator('[data-channel="email"] iframe')
    assert "Hello Ada <3" in frame.locator("h1").inner_text()
    page.get_by_text("event.processed").wait_for()


def test_a_simulated_webhook_stays_in_the_sandbox(browser, service: Service):
    page = browser.new_page()
    page.goto(f"{service.base_url}/demo/")
    page.locator("#link.open").wait_for()
    post(page, channels=("webhook",))
    page.locator('[data-channel="webhook"] .state.delivered').wait_for()
    assert page.locator('[data-channel="webhook"] .state.sandbox').count() == 1
    page.close()


def test_a_kind_of_event_brings_its_own_priority(page):
    page.select_option("[name=eventType]", "security.login")
    assert page.input_value("[name=priority]") == "urgent"
    page.select_option("[name=eventType]", "account")
    assert page.input_value("[name=priority]") == "normal"


def test_a_mistake_in_the_data_is_said(page):
    page.fill("[name=data]", "{")
    page.click("#compose button")
    page.wait_for_function("() => document.getElementById('problem').textContent !== ''")
    assert page.inner_text("#problem")


def test_the_page_is_usable_by_keyboard_and_its_controls_are_named(page):
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('select, textarea, input, button')]
            .filter((control) => !(control.labels?.length || control.textContent.trim())).length"""
    )
    assert unnamed == 0
    page.focus("[name=userId]")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.name || document.activeElement.textContent.trim()"))
    assert {"eventType", "channels", "priority", "data", "Send"} <= set(reached)


def test_nobody_else_has_a_page(page, service: Service):
    response = page.request.get(f"{service.base_url}/demo/?user=nobody")
    assert response.status == 404
