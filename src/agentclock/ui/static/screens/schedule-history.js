/**
 * The runs of a schedule, page by page, with how long they took.
 * @module
 */
import { get, withQuery } from "../api.js";
import { counted, dateTime, duration, fromNow } from "../format.js";
import { listKeys } from "../keys.js";
import { every, fill, h, keyed, painter, say } from "../lib.js";
import { link, refine } from "../router.js";
import { STATUSES, badge, word } from "../status.js";
import { connection, runs } from "../store.js";
import { chartPanel } from "./schedule-chart.js";
import { refill } from "./schedules-row.js";

const PAGE = 50;
const CAUSES = { schedule: "due", manual: "triggered by hand", catch_up: "made up for", backfill: "backfill" };
/** @type {[string, string][]} */
const STATES = [["", "All"], ...STATUSES.map((status) => /** @type {[string, string]} */ ([status, word(status)]))];

/** @type {import("./schedule.js").Panel} */
export function show(root, page, signal) {
  const graph = chartPanel(page, signal);
  const table = new Table(page, signal);
  fill(root, graph.element, table.element());
  listKeys(signal, () => [...table.body.rows]);
  every(() => table.tick(), 1000, signal);
  void table.load();
  return {
    update: () => (void table.load(), graph.update()),
    hear: (run) => {
      table.hear(run);
      if (run?.ended_at) graph.redraw();
    },
  };
}

class Table {
  /** @param {import("./schedule.js").Page} page @param {AbortSignal} signal */
  constructor(page, signal) {
    this.page = page;
    this.signal = signal;
    this.control = new AbortController();
    /** @type {Map<string, any>} */
    this.rows = new Map();
    this.body = h("tbody");
    this.empty = h("p", { class: "empty", hidden: true });
    this.before = h("button", { type: "button", onclick: () => refine({ page: this.at - 1 }) }, "‹ Newer");
    this.after = h("button", { type: "button", onclick: () => refine({ page: this.at + 1 }) }, "Older ›");
    this.place = h("span", { class: "dim" });
    this.reload = painter(() => void this.load(), 2000, signal);
    this.draw = painter(() => this.drawLive(), 250, signal);
  }

  get query() {
    return this.page.route.query;
  }

  get at() {
    return Math.max(1, Number.parseInt(this.query.get("page") ?? "1", 10) || 1);
  }

  element() {
    const choice = (/** @type {string} */ name, /** @type {string} */ label, /** @type {[string, string][]} */ options) => {
      const select = h("select", { onchange: () => refine({ [name]: select.value, page: null }) },
        options.map(([value, text]) => h("option", { value }, text)));
      select.value = this.query.get(name) ?? "";
      return h("label", null, label, select);
    };
    const heads = [
      ...["Fire time", "State", "Cause"].map((text) => h("th", { scope: "col" }, text)),
      ...["Attempts", "Duration", "Lateness"].map((text) => h("th", { scope: "col", class: "num" }, text)),
        h("th", { scope: "col" }, "Note"),
    ];
    return h("section", { class: "panel" }, h("header", null, h("h2", null, "History")),
      h("div", { class: "filters" }, choice("status", "State", STATES), choice("cause", "Cause", [["", "All"], ...Object.entries(CAUSES)])),
      h("table", { class: "cards" }, h("caption", { class: "visually-hidden" }, "Runs, newest first"),
        h("thead", null, h("tr", null, heads)), this.body),
      this.empty, h("nav", { class: "actions pages", "aria-label": "Pages" }, this.before, this.place, this.after));
  }

  async load() {
    this.control.abort();
    const { signal } = (this.control = new AbortController());
    this.signal.addEventListener("abort", () => this.control.abort(), { signal });
    const where = { status: this.query.get("status"), cause: this.query.get("cause") };
    try {
      const { data, meta } = await get(withQuery(`${this.page.path}/runs`, { ...where, limit: PAGE, page: this.at }), { signal });
      for (const run of data) this.rows.set(run.id, run);
      keyed(this.body, data, (run) => run.id, (run) => fillRow(h("tr"), this.page, run), (row, run) => void fillRow(row, this.page, run));
      this.empty.hidden = data.length > 0;
      say(this.empty, where.status || where.cause ? "No run is like that." : "No run yet. Run it now, or wait for its next fire.");
      this.before.disabled = this.at <= 1;
      this.after.disabled = this.at >= meta.total_pages;
      say(this.place, data.length ? `${counted(meta.total_count, "entry", "entries")}, page ${this.at} of ${meta.total_pages}` : "");
    } catch (error) {
      if (signal.aborted) return;
      this.empty.hidden = false;
      say(this.empty, /** @type {Error} */ (error).message);
    }
  }

  /** @param {import("../store.js").LiveRun | null} run */
  hear(run) {
    this.draw();
    const isShown = run && this.body.querySelector(`[data-key="${CSS.escape(run.id)}"]`);
    if (!run || !isShown || run.ended_at) this.reload();
  }

  drawLive() {
    for (const row of this.body.rows) {
      const id = row.dataset.key ?? "";
      const run = runs.get(id);
      if (run) fillRow(row, this.page, { ...this.rows.get(id), ...run });
    }
  }

  tick() {
    for (const place of this.body.querySelectorAll("[data-since]")) say(place, since(place.getAttribute("data-since") ?? ""));
  }
}

/**
 * @param {HTMLTableRowElement} row
 * @param {import("./schedule.js").Page} page
 * @param {any} run
 */
function fillRow(row, page, run) {
  const took = run.duration_ms ?? null;
  refill(row, [run.status, run.attempt, took, run.reason, run.error, run.lateness_ms], () => [
    h("td", null, h("a", { href: link(["runs", page.id, run.id]) }, dateTime(run.fire_at, page.schedule.timezone)),
      run.fire_count > 1 && h("span", { class: "small dim block" }, `to ${dateTime(run.last_fire_at, page.schedule.timezone)}`)),
    h("td", { "data-label": "State" }, badge(run.status), run.fire_count > 1 && ` × ${run.fire_count}`),
    h("td", { "data-label": "Cause" }, /** @type {Record<string, string>} */ (CAUSES)[run.cause] ?? run.cause),
    h("td", { class: "num", "data-label": "Attempts" }, run.attempt),
    h("td", { class: "num", "data-label": "Duration" }, run.status === "running" && run.started_at
      ? h("span", { "data-since": run.started_at }, since(run.started_at))
      : duration(took)),
    h("td", { class: "num", "data-label": "Lateness" }, duration(run.lateness_ms)),
    h("td", { class: "small note-cell" }, run.error ? h("span", { class: "error" }, shortened(run.error))
      : run.reason ?? (run.retry_of ? h("a", { href: link(["runs", page.id, run.retry_of]) }, "done again") : ""),
      ["skipped", "missed"].includes(run.status) && [" ", h("a", { href: link(["schedules", page.id], { at: run.fire_at }) }, "Why?")]),
  ]);
  return row;
}

/** @param {string} at */
const since = (at) => (connection.state === "away" ? "not known" : `since ${fromNow(at).replace(" ago", "")}`);

/** @param {string} text */
const shortened = (text) => (text.length > 160 ? `${text.slice(0, 160)}…` : text);
