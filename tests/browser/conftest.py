"""A browser, and the sites that it looks at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.browser.chromium import PATIENCE_MS, launch, watched
from tests.browser.sites import Site, running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of one module alone: as long as it is there, an event loop runs, and no other test could have one."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """`agentclock demo`: agentclock and a real AgentOS on one port."""
    folder = tmp_path_factory.mktemp("demo")
    with running("demo", "--plain", "--no-browser", "--keep", str(folder)) as site:
        site.until("/runs?status=paused", lambda runs: runs["data"])
        yield site


@pytest.fixture
def demo_page(browser: Browser, demo: Site) -> Iterator[Page]:
    with watched(browser, demo.url) as page:
        yield page
