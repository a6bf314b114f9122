"""What opens on one page: of a schedule, a run, the editor, and everywhere."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page, Route, expect
from tests.browser.everybody import DIALOG, MENU, TIP, Opening, ask_who_we_are, visit
from tests.browser.hands import labelled
from tests.browser.sites import Site


def id_of(site: Site, name: str) -> str:
    return str(site.call("GET", f"/schedules?name={name}")["data"][0]["id"])


def palette(page: Page, _: Site) -> str:
    visit(page, "#/schedules")
    page.keyboard.press("Control+k")
    page.get_by_role("option", name="Overview").wait_for()
    return DIALOG


def palette_with_results(page: Page, site: Site) -> str:
    palette(page, site)
    page.keyboard.type("re")
    page.get_by_role("option", name="refund-review").wait_for()
    page.set_viewport_size({"width": 400, "height": 900})
    lines = "(name) => { const all = new Range(); all.selectNodeContents(name); return all.getClientRects().length }"
    name = page.get_by_role("option").get_by_text("refund-review", exact=True)
    assert name.evaluate(lines) == 1, "a name is broken into pieces"
    return DIALOG


def palette_with_none(page: Page, site: Site) -> str:
    palette(page, site)
    page.keyboard.type("nothing is called that")
    page.get_by_text("Nothing is called that.").wait_for()
    return DIALOG


def help_for_keys(page: Page, site: Site) -> str:
    visit(page, f"#/schedules/{id_of(site, 'price-watch')}")
    page.keyboard.press("?")
    page.get_by_role("heading", name="Keys").wait_for()
    return DIALOG


def commands_of_a_schedule(page: Page, site: Site) -> str:
    visit(page, f"#/schedules/{id_of(site, 'price-watch')}")
    page.keyboard.press("c")
    return DIALOG


def menu_of_a_schedule(page: Page, site: Site) -> str:
    visit(page, f"#/schedules/{id_of(site, 'price-watch')}")
    page.get_by_role("button", name="More").click()
    return MENU


def delete_a_schedule(page: Page, site: Site) -> str:
    menu_of_a_schedule(page, site)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("heading", name="Delete?").wait_for()
    return DIALOG


def run_with_a_payload(page: Page, site: Site) -> str:
    visit(page, f"#/schedules/{id_of(site, 'price-watch')}")
    page.keyboard.press("T")
    page.locator(DIALOG).get_by_role("button", name="Commands").click()
    page.locator(DIALOG).get_by_text("--payload").first.wait_for()
    return DIALOG


def run_with_a_faulty_payload(page: Page, site: Site) -> str:
    run_with_a_payload(page, site)
    labelled(page, "Payload of this run").fill('{"message": "a", \n "b" 1}')
    page.locator(DIALOG).get_by_text("Not JSON, line 2").wait_for()
    expect(page.locator(f"{DIALOG} .copyable")).to_have_count(0)  # they were of another payload
    return DIALOG


def resume_to_run(page: Page, site: Site) -> str:
    visit(page, f"#/schedules/{id_of(site, 'weekly-newsletter')}")
    page.keyboard.press("t")
    page.get_by_role("heading", name="Run now: resume the schedule?").wait_for()
    return DIALOG


_QUESTIONS: list[dict[str, Any]] = [
    {"kind": "confirmation", "tool": "refund", "args": {"order": "A-1024", "amount": 250, "sku": "x" * 80}},
    {"kind": "output_review", "tool": "draft", "args": None, "output": "Dear customer,\n" + "we are sorry. " * 40},
    {
        "kind": "user_input", "tool": "book", "args": {"city": "Rome"}, "message": "When shall it be?",
        "member": "clerk", "step": "booking", "fields": [
            {"name": "day", "type": "str", "description": "A day.", "value": None, "required": True, "choices": None},
            {"name": "guests", "type": "int", "description": None, "value": 2, "required": False, "choices": None},
            {"name": "late", "type": "bool", "description": None, "value": None, "required": False, "choices": None},
            {"name": "extras", "type": "dict", "description": None, "value": {}, "required": False, "choices": None},
        ],
    },
    {"kind": "user_feedback", "tool": "ask", "args": None, "fields": [
        {"name": "Which of them?", "type": "list", "description": "Several may be right.", "value": None,
         "required": True, "choices": ["the first one", "the second one", "neither of them"]}]},
    {"kind": "route_selection", "tool": "router", "args": None, "fields": [
        {"name": "route", "type": "choice", "description": None, "value": None, "required": True,
         "choices": ["fast", "thorough"]}]},
    {"kind": "external_execution", "tool": "call_the_bank", "args": {"number": "555-0100"}},
    {"kind": "error_decision", "tool": "fetch", "args": None, "message": "It could not be reached."},
]  # fmt: skip


def _paused_run(page: Page, site: Site, questions: list[dict[str, Any]] | None = None) -> None:
    run = site.call("GET", "/runs?status=paused&limit=1")["data"][0]

    def answer(route: Route) -> None:
        asked = [{"fields": [], **question} for question in questions or []]
        route.fulfill(json={**route.fetch().json(), **({"approval": asked} if questions else {})})

    page.route(f"**/runs/{run['id']}", answer)
    page.route(f"**/runs/{run['id']}/events", lambda route: route.fulfill(status=204))
    page.route(f"**/runs/{run['id']}/continue?*", lambda route: route.fulfill(
        status=409, json={"detail": "Somebody else has answered already, and the agent goes on with what they said."}
    ))  # fmt: skip
    visit(page, f"#/runs/{run['schedule_id']}/{run['id']}")
    page.get_by_role("heading", name="Waits for a person").wait_for()


def approval(page: Page, site: Site) -> str:
    _paused_run(page, site)
    page.get_by_text("May “refund").first.wait_for()
    return ".decide"


def approval_of_every_kind(page: Page, site: Site) -> str:
    _paused_run(page, site, _QUESTIONS)
    page.get_by_role("button", name="Send these answers").click()
    page.get_by_text("“day” is missing.").wait_for()
    return ".decide"


def refused_rejection(page: Page, site: Site) -> str:
    _paused_run(page, site)
    page.get_by_role("button", name="Reject").click()
    page.get_by_text("Somebody else has answered already").wait_for()
    return ".toast"


def commands_of_a_paused_run(page: Page, site: Site) -> str:
    _paused_run(page, site)
    page.keyboard.press("c")
    return DIALOG


def new_schedule_with_warnings(page: Page, _: Site) -> str:
    visit(page, "#/schedules/new")
    labelled(page, "Cron expression").fill("30 2 * * *")
    labelled(page, "Time zone").fill("Europe/Rome")
    page.locator(".preview .note.warn").first.wait_for()
    return "main"


def every_field_of_a_schedule(page: Page, _: Site) -> str:
    visit(page, "#/schedules/new")
    for summary in page.locator("main summary").all():
        summary.click()
    labelled(page, "Every so often").check()
    labelled(page, "After an outage").select_option("all")
    labelled(page, "Further attempts").fill("3")
    labelled(page, "Further delays").select_option("exponential")
    page.get_by_label("Delay at most, seconds").wait_for()
    return "main"


def new_schedule_with_faults(page: Page, _: Site) -> str:
    visit(page, "#/schedules/new")
    labelled(page, "Cron expression").fill("61 * * * *")
    labelled(page, "Payload").fill('{"message": }')
    page.get_by_role("button", name="Create").click()
    page.get_by_role("heading", name="3 things are to be put right").wait_for()
    # Its bullet would stand at the last of its lines.
    expect(page.locator("main .linklike").first).to_have_css("vertical-align", "top")
    page.locator(".preview .note.bad").first.wait_for()
    return "main"


def new_schedule_refused(page: Page, _: Site) -> str:
    visit(page, "#/schedules/new")
    labelled(page, "Name").fill("a bad / name")
    labelled(page, "Cron expression").fill("61 * * * *")
    labelled(page, "Tags").fill("t" * 100)
    labelled(page, "Endpoint").fill("https://elsewhere.example/")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("heading", name=re.compile("things are to be put right")).wait_for()
    return "main"


def new_schedule_with_a_name_in_use(page: Page, _: Site) -> str:
    visit(page, "#/schedules/new")
    labelled(page, "On demand").check()
    labelled(page, "Name").fill("price-watch")
    labelled(page, "Endpoint").fill("/agents/greeter/runs")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("heading", name="One thing is to be put right").wait_for()
    return "main"


def commands_of_the_editor(page: Page, _: Site) -> str:
    visit(page, "#/schedules/new")
    labelled(page, "Description").fill("with words, 'quoted', and more of them " * 8)
    page.get_by_role("button", name="Commands").click()
    return DIALOG


def edited_by_two(page: Page, site: Site) -> str:
    schedule = id_of(site, "crm-sync")
    visit(page, f"#/schedules/{schedule}/edit")
    site.call("PATCH", f"/schedules/{schedule}", {"description": "theirs"})
    labelled(page, "Description").fill("mine")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Load the new version").wait_for()
    return "main"


def tip_of_the_timeline(page: Page, _: Site) -> str:
    visit(page, "#/?span=12h")
    page.locator(".tl-strip path").first.wait_for(state="attached")
    page.keyboard.press("Tab")
    page.locator(".tl-strip").first.focus()
    page.get_by_role("link", name="Open the run").wait_for()
    return TIP


def screen_that_failed(page: Page, _: Site) -> str:
    page.route(
        "**/schedules/00000000*", lambda route: route.fulfill(status=500, json={"detail": "The disk is full. " * 9})
    )
    visit(page, "#/schedules/00000000-0000-7000-8000-000000000000")
    page.get_by_role("button", name="Try again").wait_for()
    return "main"


def _tab(tab: str) -> Opening:
    def shown(page: Page, site: Site) -> str:
        visit(page, f"#/schedules/{id_of(site, 'price-watch')}?tab={tab}")
        page.locator("main .panel").first.wait_for()
        return "main"

    return shown


def durations(page: Page, _: Site) -> str:
    visit(page, "#/figures?tab=durations")
    page.set_viewport_size({"width": 400, "height": 900})
    page.get_by_role("button", name="Failed").click(trial=True)
    return "main"


def read_only(page: Page, site: Site) -> str:
    """Somebody who may see, and do nothing."""
    known = {**site.call("GET", "/session"), "name": "somebody with a long name", "may": ["schedules:read"]}
    page.route("**/session", lambda route: route.fulfill(json=known))
    _paused_run(page, site)
    ask_who_we_are(page)
    page.get_by_role("link", name="(read only)").wait_for()
    expect(page.get_by_role("button", name="Approve")).to_be_disabled()
    colours = "(all) => all.map((one) => getComputedStyle(one).backgroundColor + getComputedStyle(one).color)"
    assert len(set(page.locator("main button:disabled").evaluate_all(colours))) == 1, (
        "one looks as if it could be pressed"
    )
    return "body"


PAGES: dict[str, Opening] = {
    "palette": palette,
    "palette, with results": palette_with_results,
    "palette, nothing found": palette_with_none,
    "help for keys": help_for_keys,
    "schedule: commands": commands_of_a_schedule,
    "schedule: menu": menu_of_a_schedule,
    "schedule: delete?": delete_a_schedule,
    "schedule: run with a payload": run_with_a_payload,
    "schedule: run with a faulty payload": run_with_a_faulty_payload,
    "schedule: resume to run?": resume_to_run,
    "schedule: history": _tab("history"),
    "schedule: figures": _tab("figures"),
    "schedule: changes": _tab("changes"),
    "schedule: settings": _tab("settings"),
    "figures: durations": durations,
    "run: approval": approval,
    "run: approval of every kind": approval_of_every_kind,
    "run: rejection that was refused": refused_rejection,
    "run: commands": commands_of_a_paused_run,
    "run: read only": read_only,
    "editor: warnings": new_schedule_with_warnings,
    "editor: every field": every_field_of_a_schedule,
    "editor: faults": new_schedule_with_faults,
    "editor: refused by the server": new_schedule_refused,
    "editor: name in use": new_schedule_with_a_name_in_use,
    "editor: commands": commands_of_the_editor,
    "editor: edited by two": edited_by_two,
    "timeline: tip": tip_of_the_timeline,
    "screen that failed": screen_that_failed,
}
