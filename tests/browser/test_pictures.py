"""The pictures of the README: taken of a running demo, kept when PICTURES names a folder (`make pictures`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from tests.browser.chromium import watched
from tests.browser.layout import colours_of
from tests.browser.prepared import prepare
from tests.browser.sites import Site, running


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("used")
    prepare(folder)
    with running("demo", "--plain", "--no-browser", "--keep", str(folder)) as site:
        for name in ("long-story", "refund-review", "backup-catalogue"):
            site.call("POST", f"/schedules/by-name/{name}/trigger?wait=0")
        yield site


def picture(page: Page, folder: Path, name: str) -> None:
    shot = page.screenshot(path=folder / name)
    assert colours_of(page, shot) > 60, f"{name} shows next to nothing"


def test_pictures_of_the_readme(browser: Browser, used: Site, tmp_path: Path) -> None:
    folder = Path(os.environ.get("PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    with watched(browser, used.url, width=1280, height=860) as page:
        page.goto("/#/")
        page.locator("main svg path").first.wait_for(state="attached")
        page.get_by_text("refund-review").first.wait_for()
        page.wait_for_timeout(2500)
        picture(page, folder, "overview.png")
    run = used.call("GET", "/runs?status=running&limit=50")["data"]
    story = next(row for row in run if row["schedule_name"] == "long-story")
    with watched(browser, used.url, width=1280, height=860, theme="dark") as page:
        page.goto(f"/#/runs/{story['schedule_id']}/{story['id']}")
        page.get_by_text("struck thirteen").first.wait_for()
        page.wait_for_timeout(1500)
        picture(page, folder, "run.png")
