"""That the browser tests would notice: what is planted on a page is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.browser.chromium import watched
from tests.browser.sites import Site, running

PLANTED = {
    "markup": "try { document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(1)>') } catch {}",
    "inline script": "try { document.createElement('script').text = 'alert(1)' } catch {}",
    "a call": "alert('called')",
    "another host": "const i = new Image(); i.src = 'https://evil.example/x'; document.body.append(i)",
    "an error": "setTimeout(() => { throw new Error('planted') })",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    database: Path = tmp_path_factory.mktemp("watching") / "clock.db"
    with running("serve", "--database", str(database), "--log-level", "error") as site:
        yield site


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_planted_is_found(browser: Browser, site: Site, planted: str) -> None:
    def visit() -> None:
        with watched(browser, site.url) as page:
            page.goto("/")
            page.locator("main h1").wait_for()
            page.evaluate(PLANTED[planted])
            page.wait_for_timeout(200)

    with pytest.raises(AssertionError):
        visit()
