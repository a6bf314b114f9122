/**
 * One schedule: when it fires, how it fared, why it did not run, who changed it.
 * @module
 */
import { actionButton, commandsButton, pause, perform, remove, resume, trigger } from "../actions.js";
import { get, part, withQuery } from "../api.js";
import { dateTime, fromNow, ms } from "../format.js";
import { bind } from "../keys.js";
import { debounced, every, fill, h, keyed, painter, say, set } from "../lib.js";
import { go, link } from "../router.js";
import { mark } from "../status.js";
import { connection, isActive, now, on, runs } from "../store.js";
import { activity, countDown, moreButton, nextFire, refill, state } from "./schedules-row.js";

/** What is due is asked after so often until the next fire is known. */
const ASK_AGAIN_MS = 5000;
/** The server looks at ten years at most. */
const LONGEST_SECONDS = 3650 * 86_400;

/** @param {any} schedule */
async function askPayload(schedule) {
  await (await import("./schedule-payload.js")).askPayload(schedule);
}

/** @typedef {(root: HTMLElement, page: Page, signal: AbortSignal) => {update?: () => void, hear?: (run: any) => void} | void} Panel */

/** @type {[string, string, () => Promise<{show: Panel}>][]} */
const TABS = [
  ["", "Overview", () => import("./schedule-overview.js")],
  ["history", "History", () => import("./schedule-history.js")],
  ["figures", "Figures", () => import("./schedule-figures.js")],
  ["changes", "Changes", () => import("./schedule-changes.js")],
  ["settings", "Settings", () => import("./schedule-settings.js")],
];

/**
 * @param {HTMLElement} root
 * @param {import("../router.js").Route} route
 * @param {AbortSignal} signal
 */
export async function show(root, route, signal) {
  const page = new Page(route, signal);
  await page.load();
  fill(root, page.elements());
  page.start();
  await page.turn();
  return { update: (/** @type {import("../router.js").Route} */ next) => page.navigate(next) };
}

export class Page {
  /** @param {import("../router.js").Route} route @param {AbortSignal} signal */
  constructor(route, signal) {
    this.route = route;
    this.signal = signal;
    this.id = route.path[1] ?? "";
    this.path = `/schedules/${part(this.id)}`;
    /** @type {any} */
    this.schedule = null;
    this.tab = "";
    this.asked = 0;
    this.control = new AbortController();
    /** @type {ReturnType<Panel>} */
    this.panel = undefined;
    this.title = h("h1");
    this.text = h("p", { class: "lead" });
    this.stateLine = h("div", { class: "stateline" });
    this.nextLine = h("div", { class: "next" });
    this.active = h("ul", { class: "plain active", "aria-label": "Active runs" });
    this.notes = h("div");
    this.acts = h("div", { class: "actions" });
    this.tabs = h("nav", { class: "tabs", "aria-label": "Sections of this schedule" },
      TABS.map(([tab, text]) => h("a", { href: link(["schedules", this.id], { tab }) }, text)));
    this.place = h("div", { class: "stack" });
  }

  /** The figures of its newest runs, as far back as the server looks. */
  get statisticsPath() {
    return `${this.path}/statistics?from=${Math.max(this.schedule.created_at, Math.ceil(now() / 1000) - LONGEST_SECONDS)}`;
  }

  async load() {
    this.schedule = await get(this.path, { signal: this.signal });
  }

  elements() {
    return [h("p", { class: "small" }, h("a", { href: link(["schedules"]) }, "‹ Schedules")),
      h("div", { class: "head schedules" }, h("div", null, this.title, this.text), this.acts),
      h("div", { class: "panel status schedules" }, this.stateLine, this.nextLine, this.active), this.notes, this.tabs, this.place];
  }

  start() {
    const { signal } = this;
    this.draw();
    const paint = painter(() => this.drawActive(), 250, signal);
    const reload = debounced(async () => {
      if (signal.aborted) return;
      await this.load();
      this.draw();
      this.panel?.update?.();
    }, 400);
    on("runs", (run) => {
      if (run && run.schedule_id !== this.id) return;
      paint();
      this.panel?.hear?.(run);
    }, signal);
    on("connection", () => this.tick(), signal);
    on("schedules", (detail) => {
      if (detail?.id === this.id && detail.change === "deleted") this.gone();
      else if (!detail || detail.id === this.id) reload();
    }, signal);
    every(() => {
      this.tick();
      const { enabled, next_fire_at: at } = this.schedule;
      if (!enabled || !at || ms(at) > now() - 1500 || now() - this.asked < ASK_AGAIN_MS || connection.state === "away") return;
      this.asked = now(); // what was due has fired: when is the next one?
      reload();
    }, 1000, signal);
    const act = async (/** @type {import("../actions.js").Action} */ action) => (await perform(action)) !== undefined && reload();
    bind(signal, "Schedule", [
      ["t", "run now", () => void act(trigger(this.schedule))],
      ["T", "run now with a payload", () => void askPayload(this.schedule)],
      ["p", "pause or resume", () => void act(this.schedule.enabled ? pause(this.schedule) : resume(this.schedule))],
      ["e", "edit", () => go(link(["schedules", this.id, "edit"]))],
      ["d", "duplicate", () => go(link(["schedules", "new"], { from: this.id }))],
      ...TABS.map(([tab, title], at) => /** @type {[string, string, () => void]} */ ([String(at + 1), title.toLowerCase(),
        () => this.go(tab)])),
    ]);
    this.reload = reload;
  }

  /** @param {string} tab */
  go(tab) {
    go(link(["schedules", this.id], { tab }));
  }

  /** @param {import("../router.js").Route} route */
  navigate(route) {
    this.route = route;
    if ((route.query.get("tab") ?? "") === this.tab) this.panel?.update?.();
    else void this.turn();
  }

  async turn() {
    this.control.abort();
    const control = (this.control = new AbortController());
    this.signal.addEventListener("abort", () => control.abort(), { signal: control.signal });
    this.tab = this.route.query.get("tab") ?? "";
    const [, title, load] = TABS.find(([tab]) => tab === this.tab) ?? TABS[0] ?? [];
    TABS.forEach(([, text], at) => {
      const anchor = this.tabs.children[at];
      if (anchor) set(anchor, "aria-current", text === title ? "page" : null);
    });
    const { show: showPanel } = await /** @type {NonNullable<typeof load>} */ (load)();
    if (control.signal.aborted) return;
    fill(this.place);
    this.panel = showPanel(this.place, this, control.signal);
  }

  draw() {
    const s = this.schedule;
    document.title = `${s.name} – agentclock`;
    say(this.title, s.name);
    fill(this.text, s.explanation ?? "Its timetable cannot be read.", s.description && h("span", { class: "dim block" }, s.description));
    refill(this.stateLine, [s.enabled, s.disabled_reason], () => {
      const who = h("span", { class: "dim small" });
      if (!s.enabled && !s.disabled_reason) void this.sayWho(who);
      return [state(s), " ", who];
    });
    refill(this.nextLine, [s.next_fire_at, s.enabled, s.timezone], () =>
      s.enabled ? [s.next_fire_at && h("span", { class: "dim" }, "Next fire"), nextFire(s)]
      : h("span", { class: "dim" }, "It fires no more until it is resumed."));
    refill(this.notes, [s.warnings, s.managed_by], () => [s.warnings.map((/** @type {string} */ text) =>
      h("p", { class: "note warn" }, text)),
      s.managed_by && h("p", { class: "note" },
        `Managed by ${s.managed_by}: `, s.managed_by.startsWith("apply:")
          ? "the next agentclock apply undoes changes that are made here." : "changes made here may be undone.")]);
    refill(this.acts, [s.enabled, s.name], () => this.buttons());
    this.drawActive();
    this.tick();
  }

  buttons() {
    const s = this.schedule;
    const after = () => this.reload?.();
    return [actionButton(trigger(s), { class: "primary", after }),
      h("button", { type: "button", title: "Key: T", onclick: () => void askPayload(s) }, "Run with payload…"),
      actionButton(s.enabled ? pause(s) : resume(s), { after }),
      h("a", { class: "button", href: link(["schedules", s.id, "edit"]), title: "Key: e" }, "Edit"),
      h("a", { class: "button", href: link(["schedules", "new"], { from: s.id }), title: "Key: d" }, "Duplicate"),
      commandsButton(() => [trigger(this.schedule), pause(this.schedule), resume(this.schedule), remove(this.schedule)]),
      moreButton("More", () => [actionButton(remove(this.schedule), { after: () => go(link(["schedules"])) })])];
  }

  /**
   * Who paused it, and when, as the audit log has it.
   * @param {Element} place
   */
  async sayWho(place) {
    try {
      const { data } = await get(withQuery("/audit", { schedule_id: this.id, action: "schedule.disabled", limit: 1 }),
        { signal: this.signal });
      if (data[0]) say(place, `${data[0].actor ? `by ${data[0].actor}, ` : ""}since ${dateTime(data[0].at)} (${fromNow(data[0].at)})`);
    } catch {
      if (!this.signal.aborted) say(place, "(the audit log, which knows by whom, cannot be read)");
    }
  }

  drawActive() {
    const mine = [...runs.values()].filter((run) => run.schedule_id === this.id && isActive(run)).slice(0, 20);
    const item = (/** @type {HTMLElement} */ element, /** @type {import("../store.js").LiveRun} */ run) => {
      refill(element, run.status, () => h("a", { class: `badge s-${run.status}`, href: link(["runs", this.id, run.id]) }, mark(run.status),
        h("span", { class: "since" })));
      return element;
    };
    keyed(this.active, mine, (run) => run.id, (run) => item(h("li"), run), item);
    this.mine = mine;
    this.tick();
  }

  tick() {
    countDown(this.schedule, this.nextLine.querySelector(".countdown"));
    this.mine?.forEach((run, at) => {
      const since = this.active.children[at]?.querySelector(".since");
      if (since) say(since, activity(run));
    });
  }

  gone() {
    fill(this.notes, h("p", { class: "note bad", role: "status" }, "This schedule was deleted. What you see is as it was."));
    fill(this.acts);
  }
}
