"""Among ten thousand schedules: finding what failed yesterday, pausing many at once, learning why one did not run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.browser.chromium import watched
from tests.browser.hands import Hand, Keyboard, Mouse
from tests.browser.sites import Site, plain_target, running
from tests.history_loader import load_history
from tests.pg import in_thread

SCHEDULES = 10_000
RUNS = 40_000
DAYS = 3


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    database = tmp_path_factory.mktemp("big") / "clock.db"
    in_thread(lambda: load_history(str(database), schedules=SCHEDULES, runs=RUNS, days=DAYS))
    with plain_target({"done": True}) as target:
        env = {**os.environ, "AGENTCLOCK_TARGETS": json.dumps({"default": {"base_url": target, "kind": "http"}})}
        with running("serve", "--database", str(database), "--log-level", "error", env=env) as site:
            yield site


@pytest.fixture
def page(browser: Browser, big: Site) -> Iterator[Page]:
    with watched(browser, big.url) as page:
        yield page


@pytest.fixture(params=[Mouse, Keyboard])
def hand(request: pytest.FixtureRequest, page: Page) -> Hand:
    made: Hand = request.param(page)
    return made


def failures_of_yesterday(hand: Hand) -> Iterator[tuple[Locator, str]]:
    """Buttons that run one of a kind of failure again with another payload, each with the id of its schedule."""
    page = hand.page
    page.goto("/#/failures")
    hand.write("Time", "yesterday")
    hand.press_at(page.get_by_role("link", name=re.compile("quota of project")).first)
    rows = page.locator("[data-row][data-run]")
    rows.first.wait_for()
    for row in rows.all():
        button = row.get_by_role("button", name=re.compile("^Edit payload and run again"))
        yield button, row.get_attribute("data-schedule") or ""


def asked_again(hand: Hand, button: Locator) -> None:
    hand.press_at(button)
    hand.write("Payload", json.dumps({"message": f"Again, by {type(hand).__name__}."}))
    hand.press("Run again with this payload")


def it_ran_again(hand: Hand) -> None:
    page = hand.page
    expect(page.get_by_text("Another run was made").first).to_be_visible()
    hand.press("Watch", "link")
    expect(page.locator("main .head")).to_contain_text("success")
    expect(page.get_by_text(f"Again, by {type(hand).__name__}.").first).to_be_visible()


def test_a_failure_of_yesterday_is_run_again_with_another_payload(hand: Hand, big: Site) -> None:
    page_runs = "/runs?status=success&cause=manual&limit=1"
    before = big.call("GET", page_runs)["meta"]["total_count"]
    failures = failures_of_yesterday(hand)
    asked_again(hand, next(button for button, of in failures if big.call("GET", f"/schedules/{of}")["enabled"]))
    it_ran_again(hand)
    assert big.call("GET", page_runs)["meta"]["total_count"] == before + 1


def test_a_failure_of_a_paused_schedule_is_run_again_once_it_is_resumed(hand: Hand, big: Site) -> None:
    button, schedule_id = next(failures_of_yesterday(hand))
    big.call("POST", f"/schedules/{schedule_id}/disable")
    asked_again(hand, button)
    expect(hand.page.get_by_text("fires by its clock again").first).to_be_visible()
    assert not big.call("GET", f"/schedules/{schedule_id}")["enabled"], "nobody agreed yet"
    hand.press("Resume and run again with this payload")
    it_ran_again(hand)
    assert big.call("GET", f"/schedules/{schedule_id}")["enabled"]


def test_fifty_are_paused_at_once(hand: Hand, big: Site) -> None:
    page = hand.page
    enabled = big.call("GET", "/schedules?enabled=true&limit=1")["meta"]["total_count"]
    page.goto("/#/schedules?state=enabled&sort=name")
    expect(page.locator("main tbody tr")).to_have_count(50)
    hand.tick("Select all on this page")
    hand.press("Pause the selected schedules")
    hand.press("Pause 50")
    expect(page.get_by_text(re.compile("50 paused|50 schedules paused")).first).to_be_visible()
    assert big.call("GET", "/schedules?enabled=true&limit=1")["meta"]["total_count"] == enabled - 50


def test_why_it_did_not_run(hand: Hand, big: Site) -> None:
    skipped = big.call("GET", "/runs?status=skipped&limit=1")["data"][0]
    page = hand.page
    page.goto(f"/#/schedules?q={quote(skipped['schedule_name'])}")
    hand.press_at(page.get_by_role("link", name=skipped["schedule_name"], exact=True))
    hand.write("or one of the last", skipped["fire_at"])
    expect(page.get_by_text(re.compile("previous run was still")).first).to_be_visible()


def test_search_finds_one_among_ten_thousand(page: Page) -> None:
    page.goto("/#/schedules")
    page.locator("main h1").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("report 07770")
    expect(page.locator("main tbody tr")).to_have_count(1)
    expect(page.get_by_role("link", name="Nightly report 07770", exact=True)).to_be_visible()
    assert "report" in page.url, "the filter is in the address"


def test_the_two_tables(page: Page) -> None:
    page.goto("/#/figures?tab=lateness")
    expect(page.get_by_role("columnheader", name=re.compile("p99")).first).to_be_visible()
    expect(page.locator("main tbody tr").nth(20)).to_be_visible()
    page.goto("/#/figures?tab=accounts")
    expect(page.get_by_role("columnheader", name=re.compile("Due")).first).to_be_visible()
    expect(page.locator("main tbody tr").nth(20)).to_be_visible()
