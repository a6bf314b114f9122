"""Every dialog, menu and passing state, in both themes, wide, zoomed in and on a phone: usable by everybody."""

from __future__ import annotations

import os
import re
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.browser.chromium import watched
from tests.browser.everybody import DIALOG, is_for_everybody, leave, visit
from tests.browser.hands import labelled
from tests.browser.opened_lists import LISTS
from tests.browser.opened_pages import PAGES, id_of
from tests.browser.prepared import prepare
from tests.browser.sites import Site, running

OPENED = {**PAGES, **LISTS}
KEY = "the-key-of-these-tests"
#: Where there is nothing yet.
EMPTY = (
    "#/", "#/?view=table", "#/schedules", "#/runs", "#/failures", "#/figures?tab=lateness", "#/figures?tab=accounts",
    "#/figures?tab=durations", "#/about",
)  # fmt: skip


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """With half a day of history, a run that waits for a person, and a schedule that is paused."""
    folder = tmp_path_factory.mktemp("used")
    prepare(folder)
    with running("demo", "--plain", "--no-browser", "--keep", str(folder)) as site:
        site.call("POST", f"/schedules/{id_of(site, 'weekly-newsletter')}/disable")
        site.call("POST", f"/schedules/{id_of(site, 'refund-review')}/trigger?wait=0")
        site.until("/runs?status=paused", lambda runs: runs["data"])
        yield site


@pytest.fixture(scope="module")
def page(browser: Browser, used: Site) -> Iterator[Page]:
    with watched(browser, used.url) as page:
        page.goto("/#/about")
        page.locator("#connection[data-state=live]").wait_for()
        yield page


@pytest.mark.parametrize("opened", OPENED)
def test_what_opens_is_for_everybody(page: Page, used: Site, opened: str) -> None:
    try:
        is_for_everybody(page, OPENED[opened](page, used))
    finally:
        leave(page)


def test_the_connection_is_seen_in_forced_colours(page: Page) -> None:
    visit(page, "#/about")
    page.emulate_media(forced_colors="active")
    colour = "(element) => getComputedStyle(element).backgroundColor"
    try:
        assert page.locator("#connection .dot").evaluate(colour) != page.locator("#top").evaluate(colour)
    finally:
        page.emulate_media(forced_colors="none")


class Locked(Site):
    """One that asks for a key, and has no schedules."""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(self.url + path, method=method, headers={"Authorization": f"Bearer {KEY}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    database = tmp_path_factory.mktemp("locked") / "clock.db"
    command = (sys.executable, "-m", "agentclock", "serve", "--database", str(database), "--log-level", "error")
    site = Locked(*command, env={**os.environ, "AGENTCLOCK_SECURITY_KEY": KEY})
    site.start()
    try:
        yield site
    finally:
        site.kill()


@pytest.fixture(scope="module")
def guest(browser: Browser, locked: Site) -> Iterator[Page]:
    with watched(browser, locked.url) as page:
        yield page


@pytest.fixture(scope="module")
def member(guest: Page) -> Page:
    """The guest, once they have logged in."""
    guest.goto("/#/login")
    labelled(guest, "Security key").fill(KEY)
    guest.get_by_role("button", name="Log in").click()
    guest.locator("#connection[data-state=live]").wait_for()
    return guest


def test_a_key_that_is_wrong_is_told_to_everybody(guest: Page) -> None:
    guest.goto("/#/login")
    labelled(guest, "Security key").fill("not-the-key")
    guest.get_by_role("button", name="Log in").click()
    guest.get_by_text("does not accept this security key").wait_for()
    is_for_everybody(guest, "main")


@pytest.mark.parametrize("screen", EMPTY)
def test_nothing_is_told_to_everybody(member: Page, screen: str) -> None:
    visit(member, screen)
    is_for_everybody(member, "body")


def test_the_end_of_a_session_is_told_to_everybody(member: Page) -> None:
    visit(member, "#/schedules")
    member.context.clear_cookies()
    member.evaluate("() => void (location.hash = '#/runs')")
    member.get_by_role("heading", name="You are logged out").wait_for()
    labelled(member, "Security key").fill("not-the-key")
    member.locator(DIALOG).get_by_role("button", name="Log in").click()
    member.get_by_text("does not accept this security key").wait_for()
    is_for_everybody(member, DIALOG)
    labelled(member, "Security key").fill(KEY)
    member.keyboard.press("Enter")
    expect(member.locator(DIALOG)).to_have_count(0)
    member.get_by_text("No runs here.").wait_for()


def test_a_server_that_is_away_is_told_to_everybody(member: Page, locked: Site) -> None:
    visit(member, "#/schedules")
    member.locator("#connection[data-state=live]").wait_for()
    locked.kill()
    member.get_by_text("The server has not answered for").wait_for()
    is_for_everybody(member, "body")
    locked.start()
    expect(member.locator("#away")).to_be_hidden()
    member.get_by_text(re.compile("^There are no schedules yet")).wait_for()
