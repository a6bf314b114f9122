"""What people come for, by mouse and by keyboard alone, on the demo with its real AgentOS."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.browser.chromium import watched
from tests.browser.hands import Hand, Keyboard, Mouse
from tests.browser.sites import Site

from agentclock.agno.demo_os import STORY as STORY_OF_THE_DEMO

STORY = "struck thirteen"
WHOLE_STORY = f"{' '.join(STORY_OF_THE_DEMO.split())} "


@pytest.fixture
def page(demo_page: Page) -> Page:
    demo_page.goto("/")
    demo_page.locator("main h1").wait_for()
    return demo_page


@pytest.fixture(params=[Mouse, Keyboard])
def hand(request: pytest.FixtureRequest, page: Page) -> Hand:
    made: Hand = request.param(page)
    return made


def told(page: Page) -> str:
    """What the agent has said so far, as the page shows it."""
    shown = " ".join(page.locator("main").inner_text().split())
    return shown[shown.index("At midnight") :].partition(" All events")[0]


def test_from_a_new_schedule_to_a_cancelled_run(hand: Hand, demo: Site) -> None:
    page, name = hand.page, f"journey by {type(hand).__name__}"
    hand.press("New schedule", "link")
    hand.write("Name", name)
    hand.write("Cron expression", "30 2 * * *")
    hand.write("Time zone", "Europe/Rome")
    hand.write("Endpoint", "/agents/novelist/runs")
    hand.write("Payload", json.dumps({"message": "A story, please."}))
    # The night in March that has no half past two: said before it is saved.
    expect(page.get_by_text(re.compile(r"02:30.*(does not exist|skipped|clocks)", re.IGNORECASE)).first).to_be_visible()
    expect(page.get_by_text("At 02:30, every day, Europe/Rome").first).to_be_visible()
    expect(page.locator("main tbody tr")).to_have_count(10)
    hand.press("Create")
    expect(page.get_by_role("heading", name=name)).to_be_visible()

    hand.press("Run now")
    hand.press("Watch", "link")
    expect(page.get_by_text(STORY).first).to_be_visible()
    before = told(page)
    page.reload()
    expect(page.get_by_text(STORY).first).to_be_visible()
    # It goes on where it was, without a gap, and tells nothing twice.
    while len(after := told(page)) < len(before) + 50:
        page.wait_for_timeout(200)
    assert after == (WHOLE_STORY * (len(after) // len(WHOLE_STORY) + 1))[: len(after)]
    hand.press("Cancel")
    expect(page.locator("main .head")).to_contain_text("cancelled")
    found = demo.call("GET", f"/runs?status=cancelled&q={name.replace(' ', '%20')}")
    assert found["data"][0]["status"] == "cancelled"


def test_a_paused_run_is_approved(hand: Hand, demo: Site) -> None:
    page = hand.page
    schedule = demo.call("GET", "/schedules?name=refund-asks")["data"][0]
    run = demo.call("POST", f"/schedules/{schedule['id']}/trigger?wait=20&overlap=allow")
    assert run["status"] == "paused"
    page.goto(f"/#/runs/{schedule['id']}/{run['id']}")
    expect(page.get_by_text("A-1024").first).to_be_visible()
    hand.press("Approve")
    expect(page.get_by_text("success").first).to_be_visible()
    done = demo.call("GET", f"/schedules/{schedule['id']}/runs/{run['id']}")
    assert done["status"] == "success"


def test_the_server_goes_away_and_comes_back(browser: Browser, demo: Site) -> None:
    with watched(browser, demo.url) as page:
        page.goto("/#/schedules")
        page.get_by_role("link", name="slow-endpoint-every-5-s", exact=True).wait_for()
        demo.kill()
        expect(page.locator("#away")).to_be_visible()
        expect(page.locator("#connection-word")).to_have_text("Away")
        # Nobody knows whether what ran still does.
        expect(page.get_by_text(re.compile(r"^running for"))).to_have_count(0)
        demo.start()
        expect(page.locator("#connection-word")).to_have_text("Live")
        expect(page.locator("#away")).to_be_hidden()
        expect(page.get_by_role("link", name="slow-endpoint-every-5-s", exact=True)).to_be_visible()
