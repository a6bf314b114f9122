"""Every screen, in both themes, on a wide screen, zoomed in and on a phone: usable by everybody, nothing cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page
from tests.browser.chromium import watched
from tests.browser.everybody import has_no_violations
from tests.browser.layout import colours_of, faults_of
from tests.browser.sites import Site

#: Wide, wide at a zoom of 200 %, a phone.
WIDTHS = (1280, 640, 400)
THEMES: Final = ("light", "dark")


def _one(site: Site, name: str) -> dict[str, Any]:
    rows = site.call("GET", f"/schedules?name={name}")["data"]
    found: dict[str, Any] = rows[0]
    return found


def _run(site: Site, status: str) -> str:
    run = site.call("GET", f"/runs?status={status}&limit=1")["data"][0]
    return f"#/runs/{run['schedule_id']}/{run['id']}"


SCREENS: dict[str, Callable[[Site], str]] = {
    "overview": lambda _: "#/",
    "overview as table": lambda _: "#/?view=table&span=1h",
    "schedules": lambda _: "#/schedules",
    "schedules, none found": lambda _: "#/schedules?q=nothing-is-called-that",
    "schedule": lambda site: f"#/schedules/{_one(site, 'agent-every-minute')['id']}",
    "paused schedule": lambda site: f"#/schedules/{_one(site, 'paused-by-hand')['id']}",
    "new schedule": lambda _: "#/schedules/new",
    "edit schedule": lambda site: f"#/schedules/{_one(site, 'nightly-report')['id']}/edit",
    "runs": lambda _: "#/runs",
    "run that waits for a person": lambda site: _run(site, "paused"),
    "run that speaks": lambda site: _run(site, "running"),
    "run that failed": lambda site: _run(site, "failed"),
    "run that went well": lambda site: _run(site, "success"),
    "failures": lambda _: "#/failures",
    "lateness": lambda _: "#/figures?tab=lateness",
    "accounts": lambda _: "#/figures?tab=accounts",
    "workers": lambda _: "#/workers",
    "login": lambda _: "#/login",
    "about": lambda _: "#/about",
    "no such page": lambda _: "#/nowhere",
}


@pytest.fixture(scope="module")
def site(demo: Site) -> Site:
    """The demo, once there is a run of every kind to look at."""
    for name in ("unreliable-every-20-s", "wrong-path-every-30-s"):
        demo.call("POST", f"/schedules/{_one(demo, name)['id']}/trigger?wait=20")
    demo.call("POST", f"/schedules/{_one(demo, 'plain-endpoint-every-15-s')['id']}/trigger?wait=20")
    return demo


@pytest.fixture(scope="module")
def page(browser: Browser, site: Site) -> Iterator[Page]:
    with watched(browser, site.url) as page:
        yield page


def settled(page: Page, address: str) -> None:
    page.goto("about:blank")
    page.goto(f"/{address}")
    page.locator("main h1").first.wait_for()
    page.locator("main [aria-busy=true], main .loading").first.wait_for(state="hidden")
    page.wait_for_timeout(400)


@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_is_for_everybody(page: Page, site: Site, screen: str) -> None:
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    settled(page, SCREENS[screen](site))
    assert page.locator("h1").count() == 1
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(150)
        assert faults_of(page) == [], f"at {width} px"
        for theme in THEMES if width != WIDTHS[1] else ():
            page.emulate_media(color_scheme=theme)
            has_no_violations(page)
            assert width != WIDTHS[-1] or colours_of(page, page.screenshot()) > 20, f"nothing is seen in {theme}"
        page.emulate_media(color_scheme=THEMES[0])
