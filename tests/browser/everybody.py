"""Whether what is shown can be used by everybody: in both themes, on a wide screen, zoomed in and on a phone.

A page is loaded once and led from screen to screen; theme and width change under what is open, as they may under
anybody.
"""

from __future__ import annotations

from collections.abc import Callable

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page, Route, expect
from tests.browser.layout import faults_of
from tests.browser.sites import Site

WIDE = 1280
#: Wide at a zoom of 200 %, a phone.
NARROW = (640, 400)
DIALOG = "dialog[open]"
MENU = ".menu:popover-open"
#: It goes away by itself, and may lie over others until then.
TIP = ".tl-tip"
#: Opens something, and answers which part of the page is to be looked at.
Opening = Callable[[Page, Site], str]

_AXE = "(place) => axe.run(place ?? document, { resultTypes: ['violations'], preload: false })"
_TRIES = 100
#: What scrolls up and down may not have to be scrolled sideways, too: that would hide what is at its right.
_SIDEWAYS = "(box) => box.scrollWidth - box.clientWidth"
#: Buttons that stick out of the box that they are in.
_SPILT = """() => [...document.querySelectorAll("button, .button")].flatMap((button) => {
  const box = button.parentElement.closest(".note, .panel, .bulk, fieldset, dialog, .menu")?.getBoundingClientRect();
  const reach = button.checkVisibility() && box ? button.getBoundingClientRect().right - box.right : 0;
  return reach > 0 && !button.closest(".table-wrap") ? [`${button.textContent}: ${reach}`] : [];
})"""
#: An answer that says of nothing that it was done, to whatever was asked.
_NOTHING = {"done": 0, "data": [], "meta": {"next_cursor": None, "total_count": 0, "unreadable": []}}


def visit(page: Page, address: str) -> None:
    """By way of a screen that is not there: whatever was open on the one before is gone."""
    page.set_viewport_size({"width": WIDE, "height": 900})
    page.evaluate("() => void (location.hash = '#/nowhere')")
    page.locator("main[data-screen=nowhere]").wait_for()
    page.evaluate("(address) => void (location.hash = address)", address)
    page.locator("main:not([data-screen=nowhere]) h1").wait_for()
    expect(page.locator("main [aria-busy=true], main .loading")).to_have_count(0)


def is_for_everybody(page: Page, place: str) -> None:
    """Axe looks twice: once in each theme, once where there is room and once where there is little."""
    _is_well_laid_out(page, place, WIDE)
    has_no_violations(page, place)
    page.emulate_media(color_scheme="dark")
    for width in NARROW:
        _is_well_laid_out(page, place, width)
    has_no_violations(page, place)
    page.emulate_media(color_scheme="light")


def _is_well_laid_out(page: Page, place: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    assert _faults_once_settled(page, place) == [], f"at {width} px"
    assert page.evaluate(_SPILT) == [], f"at {width} px"
    shown = page.locator(place).first
    assert shown.is_visible(), f"{place} at {width} px"
    assert shown.evaluate(_SIDEWAYS) <= 1, f"{place} at {width} px"


def _faults_once_settled(page: Page, place: str) -> list[str]:
    """Some parts are placed anew only with the next frame."""
    for _ in range(_TRIES):
        found = [fault for fault in faults_of(page) if place != TIP or "is covered by" not in fault]
        if not found:
            break
        page.wait_for_timeout(100)
    return found


def has_no_violations(page: Page, place: str | None = None) -> None:
    """Of the whole page, if no part of it is named."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = AxeResults(page.evaluate(_AXE, place))
    assert found.violations_count == 0, found.generate_report()


class Held:
    """Requests that go on while we look at what is shown meanwhile."""

    def __init__(self) -> None:
        self._routes: list[Route] = []

    def hold(self, route: Route) -> None:
        self._routes.append(route)

    def let_go(self) -> None:
        while self._routes:
            self._routes.pop().fulfill(json=_NOTHING)


HELD = Held()


def leave(page: Page) -> None:
    """Nothing is open, faked, typed or told any more."""
    while page.locator(DIALOG).count():
        page.keyboard.press("Escape")
    HELD.let_go()
    page.unroute_all(behavior="wait")
    page.evaluate("() => sessionStorage.clear()")
    if page.get_by_text("(read only)").count():
        ask_who_we_are(page)
        expect(page.get_by_text("(read only)")).to_have_count(0)
    page.evaluate("() => document.querySelectorAll('.toast button').forEach((button) => button.click())")


def ask_who_we_are(page: Page) -> None:
    """As if another tab had logged in."""
    page.evaluate("() => new BroadcastChannel('agentclock.session').postMessage('in')")
