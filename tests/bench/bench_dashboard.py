"""How heavy the dashboard is: bytes, first paint, rows of many schedules, and the work it makes while it watches.

Prints figures; asserts nothing. BENCH_QUICK=1: a small round.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright
from tests.browser.chromium import launch, watched
from tests.browser.sites import Site, plain_target, running

from agentclock.ui.files import load_bundle

QUICK = bool(os.environ.get("BENCH_QUICK"))
MANY = 100 if QUICK else 1_000
BUSY = 30 if QUICK else 300
WATCH_SECONDS = 6 if QUICK else 60
#: Each schedule fires so often: with 300 of them, 30 runs begin and end each second.
INTERVAL_SECONDS = 10
_FIRST_PAINT = """new Promise((done) => {
  const observer = new PerformanceObserver((list) => done(list.getEntries()[0].startTime));
  observer.observe({ type: "paint", buffered: true });
})"""


def main() -> None:
    with sync_playwright() as playwright, plain_target({"done": True}) as target:
        browser = launch(playwright)
        print_weight()
        with tempfile.TemporaryDirectory() as folder:
            options = ("--log-level", "error", "--target", f"default={target}")
            with running("serve", "--database", f"{folder}/many.db", *options) as site:
                fill(site, MANY, cron_expr="0 3 * * *")
                print_start(browser, site)
            with running("serve", "--database", f"{folder}/busy.db", *options) as site:
                fill(site, BUSY, interval_seconds=INTERVAL_SECONDS)
                print_work(browser, site)
        browser.close()


def fill(site: Site, count: int, **timing: object) -> None:
    drafts = [
        {"name": f"schedule {number:04}", "endpoint": "/work", "payload": {"n": number}, **timing}
        for number in range(count)
    ]
    site.call("POST", "/schedules/apply", {"manager": "bench", "schedules": drafts})


def print_weight() -> None:
    files = load_bundle().files.values()
    print(f"the dashboard in all: {sum(len(file.gzipped) for file in files) / 1024:.1f} KB gzip, {len(files)} files")


def print_start(browser: Browser, site: Site) -> None:
    for address, ready in (("/#/", "main h1"), ("/#/schedules", "main tbody tr:nth-child(50)")):
        paints, rows, size = [], [], 0.0
        for _ in range(2 if QUICK else 5):
            with watched(browser, site.url) as page:
                received = received_bytes(page)
                began = time.perf_counter()
                page.goto(address, wait_until="commit")
                page.locator(ready).first.wait_for()
                rows.append((time.perf_counter() - began) * 1000)
                paints.append(page.evaluate(_FIRST_PAINT))
                size = received[0] / 1024
        print(
            f"{address:<14} {MANY} schedules: first paint {sorted(paints)[len(paints) // 2]:.0f} ms, "
            f"{ready!r} after {sorted(rows)[len(rows) // 2]:.0f} ms, {size:.1f} KB over the wire"
        )


def received_bytes(page: Page) -> list[float]:
    """What the page received so far, as encoded; counts on."""
    total, session = [0.0], page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: total.__setitem__(0, total[0] + event["encodedDataLength"]))
    return total


def print_work(browser: Browser, site: Site) -> None:
    for address in ("/#/",) if QUICK else ("/#/", "/#/schedules", "/#/runs"):
        with watched(browser, site.url) as page:
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")
            page.goto(address)
            page.locator("main h1").first.wait_for()
            page.wait_for_timeout(3000)
            before = task_seconds(session)
            page.wait_for_timeout(WATCH_SECONDS * 1000)
            busy = (task_seconds(session) - before) * 60 / WATCH_SECONDS
            rate = f"{BUSY} schedules, one run each {INTERVAL_SECONDS} s"
            print(f"{address:<14} {rate}: main thread busy {busy:.2f} s a minute")


def task_seconds(session: CDPSession) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


if __name__ == "__main__":
    main()
