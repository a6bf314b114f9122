"""What opens among many: on the lists of schedules, runs and failures."""

from __future__ import annotations

import json
import re

from playwright.sync_api import Page, Route, expect
from tests.browser.everybody import DIALOG, HELD, MENU, Opening, visit
from tests.browser.hands import labelled
from tests.browser.sites import Site


def menu_of_a_row(page: Page, _: Site) -> str:
    visit(page, "#/schedules?sort=name")
    page.get_by_role("button", name="More for backup-catalogue").click()
    return MENU


def commands_of_a_row(page: Page, site: Site) -> str:
    menu_of_a_row(page, site)
    page.locator(MENU).get_by_role("button", name="Commands").click()
    return DIALOG


def _selected(page: Page) -> None:
    visit(page, "#/schedules?sort=name")
    labelled(page, "Select all on this page").check()


def selected_schedules(page: Page, _: Site) -> str:
    _selected(page)
    return ".bulk"


def commands_of_many(page: Page, _: Site) -> str:
    _selected(page)
    page.locator(".bulk").get_by_role("button", name="Commands").click()
    return DIALOG


def _asked_of_many(verb: str) -> Opening:
    def asked(page: Page, _: Site) -> str:
        _selected(page)
        page.get_by_role("button", name=f"{verb} the selected schedules").click()
        page.get_by_role("heading", name=re.compile(f"^{verb} \\d+ schedules\\?")).wait_for()
        return DIALOG

    return asked


def _pretend_many(page: Page, count: int) -> None:
    """A list that goes on for so many schedules."""

    def answer(route: Route) -> None:
        found = route.fetch().json()
        found["meta"]["total_count"] = count
        if "limit=1000" in route.request.url:
            found["data"] = [{"id": f"{at:08}", "name": f"report {at:05}"} for at in range(count)]
        route.fulfill(json=found)

    page.route(re.compile(r"/schedules\?.*limit="), answer)


def looking_for_all(page: Page, _: Site) -> str:
    _pretend_many(page, 12_000)
    _selected(page)
    page.route(re.compile("limit=1000"), HELD.hold)
    page.get_by_role("button", name="Select all 12,000 that match").click()
    page.get_by_role("heading", name="Looking for all that match").wait_for()
    return DIALOG


def _pause_thousands(page: Page) -> None:
    _pretend_many(page, 1200)
    _selected(page)
    page.get_by_role("button", name="Select all 1,200 that match").click()
    page.get_by_role("button", name="Pause the selected schedules").click()
    page.get_by_role("button", name="Pause 1,200").click()


def pausing_thousands(page: Page, _: Site) -> str:
    page.route("**/schedules/bulk/disable", HELD.hold)
    _pause_thousands(page)
    page.get_by_role("button", name="Stop").wait_for()
    return DIALOG


def thousands_that_failed(page: Page, _: Site) -> str:
    def answer(route: Route) -> None:
        ids = json.loads(route.request.post_data or "{}")["ids"]
        rows = [{"id": one, "ok": False, "error": "Schedule not found, or it belongs to somebody else"} for one in ids]
        route.fulfill(json={"done": 0, "data": rows[:60]})

    page.route("**/schedules/bulk/disable", answer)
    _pause_thousands(page)
    page.get_by_role("heading", name="0 paused, 120 failed").wait_for()
    return DIALOG


def _chosen_runs(page: Page, status: str) -> None:
    visit(page, f"#/runs?status={status}")
    labelled(page, "Select all rows").check()
    expect(page.locator("main tbody input:not(:checked)")).to_have_count(0)


def selected_runs(page: Page, _: Site) -> str:
    _chosen_runs(page, "failed")
    return ".bulk"


def run_many_again(page: Page, _: Site) -> str:
    _chosen_runs(page, "failed")
    page.get_by_role("button", name=re.compile(r"^Run again \(")).click()
    page.get_by_role("heading", name=re.compile(r"^Run again: \d+ runs\?")).wait_for()
    return DIALOG


def cancel_many(page: Page, _: Site) -> str:
    _chosen_runs(page, "paused")
    page.get_by_role("button", name=re.compile(r"^Cancel \(")).click()
    page.get_by_role("heading", name=re.compile(r"^Cancel: \d+ runs?\?")).wait_for()
    expect(page.locator(DIALOG).get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
    return DIALOG


def running_many_again(page: Page, site: Site) -> str:
    page.route("**/runs/bulk/retry", HELD.hold)
    run_many_again(page, site)
    page.locator(DIALOG).get_by_role("button", name="Run again").click()
    page.get_by_text("Working …").wait_for()
    return DIALOG


def many_ran_again(page: Page, site: Site) -> str:
    def answer(route: Route) -> None:
        asked = json.loads(route.request.post_data or "{}")["runs"]
        rows = [
            {"id": one["run_id"], "ok": at % 3 > 0, "error": None if at % 3 else "Schedule is disabled"}
            for at, one in enumerate(asked)
        ]
        route.fulfill(json={"data": rows})

    page.route("**/runs/bulk/retry", answer)
    run_many_again(page, site)
    page.locator(DIALOG).get_by_role("button", name="Run again").click()
    page.locator(DIALOG).get_by_text(re.compile(r"\d+ done, \d+ refused\.")).wait_for()
    name, why = (page.locator(f"{DIALOG} li:has(.error) {of}").first.bounding_box() for of in ("a", ".error"))
    assert name
    assert why
    assert name["x"] + name["width"] + 4 < why["x"], "a name runs into what is said of it"
    return DIALOG


def _failures(page: Page) -> None:
    visit(page, "#/failures")
    page.locator("main .group h2 a").first.click()
    page.get_by_role("button", name=re.compile("^Edit payload and run again")).first.wait_for()


def failures_of_a_kind(page: Page, _: Site) -> str:
    _failures(page)
    return "main .groups"


def run_a_kind_again(page: Page, _: Site) -> str:
    _failures(page)
    page.get_by_role("button", name=re.compile("^Run again all")).first.click()
    page.get_by_role("button", name="Run all again", exact=True).wait_for()
    return DIALOG


def edit_and_run_again(page: Page, _: Site) -> str:
    _failures(page)
    page.get_by_role("button", name=re.compile("^Edit payload and run again")).first.click()
    page.get_by_text("Nothing is changed yet").wait_for()
    return DIALOG


def edited_payload(page: Page, site: Site) -> str:
    edit_and_run_again(page, site)
    labelled(page, "Payload").fill(json.dumps({"message": "Another one.", "tokens": "x" * 150}, indent=2))
    page.locator(f"{DIALOG} ins").first.wait_for()
    return DIALOG


def edited_payload_with_a_fault(page: Page, site: Site) -> str:
    edited_payload(page, site)
    labelled(page, "Payload").fill('{\n  "message": "a",\n}')
    page.get_by_role("button", name="Go to the fault").wait_for()
    return DIALOG


def own_time_range(page: Page, _: Site) -> str:
    visit(page, "#/runs")
    labelled(page, "Time").select_option("own")
    page.get_by_label("From", exact=True).wait_for()
    return "main .filters"


def own_time_range_of_failures(page: Page, _: Site) -> str:
    visit(page, "#/failures?q=agent")
    labelled(page, "Time").select_option("own")
    page.get_by_label("From", exact=True).wait_for()
    return "main .filters"


LISTS: dict[str, Opening] = {
    "schedules: menu": menu_of_a_row,
    "schedules: commands of one": commands_of_a_row,
    "schedules: selected": selected_schedules,
    "schedules: commands of many": commands_of_many,
    "schedules: pause many?": _asked_of_many("Pause"),
    "schedules: resume many?": _asked_of_many("Resume"),
    "schedules: run many?": _asked_of_many("Run now"),
    "schedules: delete many?": _asked_of_many("Delete"),
    "schedules: looking for all": looking_for_all,
    "schedules: pausing thousands": pausing_thousands,
    "schedules: thousands failed": thousands_that_failed,
    "runs: selected": selected_runs,
    "runs: run many again?": run_many_again,
    "runs: cancel many?": cancel_many,
    "runs: running many again": running_many_again,
    "runs: many ran again": many_ran_again,
    "runs: from … to …": own_time_range,
    "failures: from … to …": own_time_range_of_failures,
    "failures: of a kind": failures_of_a_kind,
    "failures: run a kind again?": run_a_kind_again,
    "failures: edit and run again": edit_and_run_again,
    "failures: edited payload": edited_payload,
    "failures: edited payload with a fault": edited_payload_with_a_fault,
}
