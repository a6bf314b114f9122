/**
 * The runs of a schedule, page by page, with how long they took.
 * @module
 */
import { get, withQuery } from "../api.js";
import { counted, dateTime, duration, fromNow, ms } from "../format.js";
import { listKeys } from "../keys.js";
import { fill, h, keyed, painter, say } from "../lib.js";
import { link, refine } from "../router.js";
import { STATUSES, badge, word } from "../status.js";
import { runs } from "../store.js";
import { MEASURES, chart } from "./schedule-chart.js";
import { refill } from "./schedules-row.js";

const PAGE = 50;
const CAUSES = { schedule: "due", manual: "triggered by hand", catch_up: "made up for", backfill: "backfill" };

/** @type {import("./schedule.js").Panel} */
export function show(root, page, signal) {
  const query = () => page.route.query;
  const zone = page.schedule.timezone;
  const choice = (/** @type {string} */ name, /** @type {string} */ label, /** @type {[string, string][]} */ options) => {
    const select = h("select", { onchange: () => refine({ [name]: select.value, page: null }) },
      options.map(([value, text]) => h("option", { value }, text)));
    select.value = query().get(name) ?? "";
    return h("label", null, label, select);
  };
  const graph = h("div", { class: "reserve" });
  const body = h("tbody");
  const empty = h("p", { class: "empty", hidden: true });
  const before = h("button", { type: "button", onclick: () => refine({ page: at() - 1 }) }, "‹ Newer");
  const after = h("button", { type: "button", onclick: () => refine({ page: at() + 1 }) }, "Older ›");
  const place = h("span", { class: "dim" });
  const at = () => Math.max(1, Number.parseInt(query().get("page") ?? "1", 10) || 1);
  fill(root, h("section", { class: "panel" }, h("header", null, h("h2", null, "Run by run"),
    h("div", { class: "actions filters" }, choice("measure", "Shown", Object.entries(MEASURES).map(([key, { name }]) =>
      [key === "duration_ms" ? "" : key, name])))), graph),
  h("section", { class: "panel" }, h("header", null, h("h2", null, "History")), h("div", { class: "filters" },
    choice("status", "State", [["", "All"], ...STATUSES.map((status) => /** @type {[string, string]} */ ([status, word(status)]))]),
    choice("cause", "Cause", [["", "All"], ...Object.entries(CAUSES)])),
  h("table", { class: "cards" }, h("caption", { class: "visually-hidden" }, "Runs, newest first"), h("thead", null, h("tr", null,
    ["Fire time", "State", "Cause"].map((text) => h("th", { scope: "col" }, text)),
      ["Attempts", "Duration", "Lateness"].map((text) => h("th", { scope: "col", class: "num" }, text)),
    h("th", { scope: "col" }, "Note"))), body), empty, h("nav", { class: "actions pages", "aria-label": "Pages" }, before, place, after)));
  listKeys(signal, () => [...body.rows]);

  let shownMeasure = "";
  let drawnAt = 0;
  const drawChart = async () => {
    const measure = /** @type {import("./schedule-chart.js").Measure} */ (query().get("measure") ?? "duration_ms");
    shownMeasure = measure;
    drawnAt = Date.now();
    try {
      const { series } = await get(page.statisticsPath, { signal });
      if (graph.contains(document.activeElement) && Date.now() - drawnAt > 1000) return; // somebody is reading it
      fill(graph, series?.run_id.length ? chart(page.id, series, MEASURES[measure] ? measure : "duration_ms", zone)
        : h("p", { class: "dim" }, "No run has ended yet."));
    } catch (error) {
      if (!signal.aborted) fill(graph, h("p", { class: "error" }, /** @type {Error} */ (error).message));
    }
  };
  const load = async () => {
    try {
      const { data, meta } = await get(withQuery(`${page.path}/runs`, { status: query().get("status"), cause: query().get("cause"),
        limit: PAGE, page: at() }), { signal });
      for (const run of data) rows.set(run.id, run);
      keyed(body, data, (run) => run.id, (run) => fillRow(h("tr"), page, run), (row, run) => void fillRow(row, page, run));
      empty.hidden = data.length > 0;
      say(empty, query().get("status") || query().get("cause") ? "No run is like that."
        : "No run yet. Run it now, or wait for its next fire.");
      before.disabled = at() <= 1;
      after.disabled = at() >= meta.total_pages;
      say(place, data.length ? `${counted(meta.total_count, "entry", "entries")}, page ${at()} of ${meta.total_pages}` : "");
    } catch (error) {
      if (signal.aborted) return;
      empty.hidden = false;
      say(empty, /** @type {Error} */ (error).message);
    }
  };
  /** @type {Map<string, any>} */
  const rows = new Map();
  const reload = painter(() => void load(), 2000, signal);
  const redraw = painter(() => void drawChart(), 10000, signal);
  const live = painter(() => {
    for (const row of body.rows) {
      const id = row.getAttribute("data-key") ?? "";
      const run = runs.get(id);
      if (run) fillRow(row, page, { ...rows.get(id), ...run });
    }
  }, 250, signal);
  void load();
  redraw();
  return {
    update: () => {
      void load();
      if ((query().get("measure") ?? "duration_ms") !== shownMeasure) void drawChart();
    },
    hear: (run) => {
      live();
      if (!run || run.completed_at || !body.querySelector(`[data-key="${CSS.escape(run.id)}"]`)) reload();
      if (run?.completed_at) redraw();
    },
  };
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
      ? `since ${fromNow(ms(run.started_at)).replace(" ago", "")}` : duration(took)),
    h("td", { class: "num", "data-label": "Lateness" }, duration(run.lateness_ms)),
    h("td", { class: "small note-cell" }, run.error ? h("span", { class: "error" }, shortened(run.error))
      : run.reason ?? (run.retry_of ? h("a", { href: link(["runs", page.id, run.retry_of]) }, "done again") : ""),
      ["skipped", "missed"].includes(run.status) && [" ", h("a", { href: link(["schedules", page.id], { at: run.fire_at }) }, "Why?")]),
  ]);
  return row;
}

/** @param {string} text */
const shortened = (text) => (text.length > 160 ? `${text.slice(0, 160)}…` : text);
