"""Whatever users, agents and targets write stays text: inside an AgentOS, where the dashboard is at /scheduler."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from tests.browser.chromium import watched
from tests.browser.hostile_texts import CORPUS, EVIL
from tests.browser.sites import Site

ENDPOINTS = ("/agents/talker/runs", "/agents/caller/runs", "/agents/payer/runs", "/agents/breaker/runs")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("hostile")
    site = Site(
        sys.executable, "-m", "uvicorn", "tests.browser.hostile_os:app",
        env={**os.environ, "HOSTILE_FOLDER": str(folder), "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    site.start()
    try:
        populate(site, folder / "agentclock.db")
        yield site
    finally:
        site.kill()


def populate(site: Site, database: Path) -> None:
    clean = EVIL.replace("\0", "")
    for number, endpoint in enumerate((*ENDPOINTS, "/fails", "/answers")):
        made = site.create(
            name=f"evil {number}",
            description=clean[:1000],
            endpoint=endpoint,
            payload={"message": clean, clean[:60]: [clean]},
            tags=[text[:60] for text in CORPUS if "\0" not in text][:15],
        )
        body = {"reason": clean[:200], "payload": {"message": CORPUS[0]}}
        site.call("POST", f"/schedules/{made['id']}/trigger?wait=8", body)
    site.create(name="evil disabled", endpoint="/answers", cron_expr="0 3 * * *")
    # What our own interface would not let in may come from another scheduler's tables, or from another release.
    with sqlite3.connect(database, timeout=30) as connection:
        connection.execute("UPDATE agentclock_schedules SET name = name || ?", (CORPUS[0],))
        connection.execute(
            "UPDATE agentclock_schedules SET enabled = 0, disabled_reason = ?, managed_by = ?, next_fire_at = NULL "
            "WHERE name LIKE 'evil disabled%'",
            (clean, f"apply:{CORPUS[1]}"),
        )
        connection.execute("UPDATE agentclock_runs SET worker = ?, session_id = ?", (CORPUS[1], CORPUS[3]))
        connection.execute("UPDATE agentclock_audit_log SET actor = ?, source = ?", (CORPUS[0], CORPUS[1]))
        connection.execute("UPDATE agentclock_workers SET name = ?, app_version = ?", (CORPUS[0], CORPUS[1]))


@pytest.fixture
def page(browser: Browser, hostile: Site) -> Iterator[Page]:
    with watched(browser, hostile.url) as page:
        page.route("https://evil.example/**", lambda route: pytest.fail(f"it asked for {route.request.url}"))
        yield page


def places(site: Site) -> list[str]:
    schedules = site.call("GET", "/schedules?limit=100")["data"]
    runs = site.call("GET", "/runs?limit=100")["data"]
    return [
        *(
            "#/",
            "#/?view=table",
            "#/schedules",
            "#/runs",
            "#/failures",
            "#/figures",
            "#/figures?tab=accounts",
            "#/workers",
        ),
        *("#/schedules/new", "#/about"),
        *(f"#/schedules/{row['id']}" for row in schedules),
        f"#/schedules/{schedules[0]['id']}/edit",
        *(f"#/runs/{row['schedule_id']}/{row['id']}" for row in runs),
    ]


def test_texts_that_look_like_code_do_nothing(page: Page, hostile: Site) -> None:
    shown = 0
    for place in places(hostile):
        page.goto(f"/scheduler{place}")
        page.locator("main h1").wait_for()
        open_everything(page)
        shown += page.locator("main").inner_text().count("alert(")
    assert shown > 100, "the texts are there to be read"


def open_everything(page: Page) -> None:
    """What is folded up, and the dialogs that show texts of others."""
    page.wait_for_timeout(300)
    for summary in page.locator("main summary").all()[:20]:
        if summary.is_visible():
            summary.click()
    commands = page.get_by_role("button", name="Commands")
    if commands.count():
        commands.first.click()
        page.get_by_role("dialog").wait_for()
        page.keyboard.press("Escape")
