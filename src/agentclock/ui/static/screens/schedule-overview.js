/**
 * What comes next, and why something did not.
 * @module
 */
import { get, part, withQuery } from "../api.js";
import { dateTime } from "../format.js";
import { fill, h } from "../lib.js";
import { link, refine } from "../router.js";
import { word } from "../status.js";
import { firesTable } from "./schedule-fires.js";
import { localIn } from "./schedule-zones.js";
import { refill } from "./schedules-row.js";
import { strip, summary, withRun } from "./schedules-strip.js";

const RECENT = 50;

/** @type {import("./schedule.js").Panel} */
export function show(root, page, signal) {
  const fires = h("div", { class: "reserve" });
  const why = new WhyBox(page, signal);
  const recent = h("div");
  /** @type {any[]} */
  let rows = [];
  const drawRecent = () => refill(recent, rows.map((run) => [run.id, run.status]),
    () => [strip(page.schedule, rows), h("span", { class: "small dim block" }, summary(rows.slice(0, 12)))]);
  const line = h("section", { class: "panel reserve" });
  fill(root, line, h("div", { class: "grid" },
    h("section", { class: "panel" }, h("header", null, h("h2", null, "Next fires")), fires),
    h("div", { class: "stack" }, why.element,
      h("section", { class: "panel" }, h("header", null, h("h2", null, "Last runs"),
        h("div", { class: "actions" }, h("a", { href: link(["schedules", page.id], { tab: "history" }) }, "History"))), recent))));
  /** @type {any} */
  let drawn = null;
  const update = async () => {
    why.update();
    if (drawn === page.schedule) return; // only the address changed
    drawn = page.schedule;
    try {
      const [shown, found] = await Promise.all([preview(page.schedule, signal), get(`${page.path}/runs?limit=${RECENT}`, { signal })]);
      rows = found.data;
      drawRecent();
      why.suggest(rows);
      const caption = page.schedule.enabled ? `The next ${shown.fires.length}, by the clock that fires them`
        : "When it would fire if it were resumed";
      fill(fires, shown.fires.length ? firesTable(shown, caption)
        : h("p", { class: "dim" }, "Nothing is due by itself: it runs when it is triggered."),
      page.schedule.max_runs && h("p", { class: "small dim" }, `It fires ${page.schedule.max_runs} times in all.`));
    } catch (error) {
      if (!signal.aborted) fill(fires, h("p", { class: "error" }, /** @type {Error} */ (error).message));
    }
  };
  void update();
  void import("./timeline.js").then(({ timeline }) => {
    if (!signal.aborted) void timeline(line, { signal, query: { name: page.schedule.name }, lanes: 200, only: page.id, compact: true });
  });
  const hear = (/** @type {any} */ run) => {
    if (!run) return;
    rows = withRun(rows, run, RECENT);
    drawRecent();
  };
  return { update, hear };
}

/** @param {any} s @param {AbortSignal} signal */
function preview(s, signal) {
  // An interval counts from its last fire, a stored time is an instant: neither is read anew in the zone.
  const start = s.interval_seconds ? s.next_fire_at ?? s.start_at : s.start_at;
  return get(withQuery("/schedules/preview", { cron_expr: s.cron_expr, run_at: s.run_at, interval_seconds: s.interval_seconds,
    timezone: s.timezone, start_at: start, end_at: s.end_at, max_runs: s.max_runs, count: 10 }), { signal });
}

/** "Why did it not run?" */
class WhyBox {
  /** @param {import("./schedule.js").Page} page @param {AbortSignal} signal */
  constructor(page, signal) {
    this.page = page;
    this.signal = signal;
    this.input = h("input", { type: "datetime-local", id: "why-at", step: "1" });
    this.past = h("select", { id: "why-past", onchange: () => this.past.value && refine({ at: this.past.value }) });
    this.answer = h("div", { class: "answer", "aria-live": "polite" });
    this.asked = "";
    this.element = h("section", { class: "panel" }, h("header", null, h("h2", null, "Why did it not run?")),
      h("form", { class: "filters", onsubmit: (/** @type {Event} */ event) => this.submit(event) },
        h("label", null, `Time in ${page.schedule.timezone}`, this.input), h("button", { type: "submit", class: "primary" }, "Ask"),
        h("label", null, "or one of the last", this.past)), this.answer);
  }

  /** @param {Event} event */
  submit(event) {
    event.preventDefault();
    this.asked = ""; // the same may be asked again
    refine({ at: this.input.value || "now" });
  }

  /** @param {any[]} rows */
  suggest(rows) {
    const zone = this.page.schedule.timezone;
    const value = this.past.value;
    fill(this.past, h("option", { value: "" }, "Choose …"),
      rows.map((run) => h("option", { value: run.fire_at },
        `${dateTime(run.fire_at, zone)} – ${word(run.status)}${run.fire_count > 1 ? ` (${run.fire_count} fires)` : ""}`)));
    this.past.value = value;
  }

  update() {
    const at = this.page.route.query.get("at") ?? "";
    if (at === this.asked) return;
    this.asked = at;
    const time = /[Z+]/.test(at) ? localIn(at, this.page.schedule.timezone) : at;
    if (time && time !== "now") this.input.value = time;
    void this.ask(at);
  }

  /** @param {string} at */
  async ask(at) {
    if (!at) return void fill(this.answer);
    const { page, signal } = this;
    fill(this.answer, h("p", { class: "dim" }, "Looking at the records …"));
    try {
      const found = await get(withQuery(`/schedules/${part(page.id)}/why`, { at: at === "now" ? null : at }), { signal });
      if (this.asked === at) this.tell(found);
    } catch (error) {
      if (!signal.aborted) fill(this.answer, h("p", { class: "error" }, /** @type {Error} */ (error).message));
    }
  }

  /** @param {any} found */
  tell(found) {
    const { page } = this;
    const near = (/** @type {any} */ at, /** @type {string} */ text) => {
      const time = at && typeof at === "object" ? at.at : at;
      return time && h("button", { type: "button", class: "small", onclick: () => refine({ at: time }) },
        `${text}: ${dateTime(time, page.schedule.timezone)}`);
    };
    fill(this.answer, h("p", { class: `big v-${found.verdict}` }, found.answer),
      h("ul", { class: "plain rows" }, found.facts.map((/** @type {any} */ fact) => h("li", null, h("span", null, fact.text),
        fact.at && h("time", { class: "dim small", datetime: fact.at }, dateTime(fact.at, page.schedule.timezone)),
          fact.by && h("span", { class: "dim small" }, `by ${fact.by}`),
        fact.run_id && h("a", { class: "small", href: link(["runs", page.id, fact.run_id]) }, "Run")))),
      h("div", { class: "actions" }, found.run_id && h("a", { class: "button", href: link(["runs", page.id, found.run_id]) },
        "Open the run"),
        near(found.near?.before, "Before"), near(found.near?.after, "After")));
  }
}
