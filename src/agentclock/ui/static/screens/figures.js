/**
 * How late runs begin, whether every fire is accounted for, how long runs take and what they cost: schedule by schedule.
 * @module
 */
import { get, withQuery } from "../api.js";
import { compact, duration, money, number, percent } from "../format.js";
import { bind, listKeys } from "../keys.js";
import { debounced, fill, h } from "../lib.js";
import { currentRoute, link, refine } from "../router.js";
import { mark } from "../status.js";
import { on } from "../store.js";
import { pager, rangeOf, rangePicker, searchField } from "./runs-range.js";

/**
 * A column: heading, the order that the server knows for it, the cell, and which field makes a sum.
 * @typedef {{head: string, sort?: string, num?: boolean, sum?: string,
 *   cell: (row: any, most: Record<string, number>) => import("../lib.js").Child}} Column
 */
const ROWS = 50;

/** @type {Column} */
const NAME = { head: "Schedule", sort: "name", cell: (row) => [
  h("a", { href: link(["schedules", row.schedule_id]) }, row.schedule_name), row.enabled ? null : h("span", { class: "dim" }, " paused")] };

/** @param {number | null | undefined} value @param {number} most @param {string} text @param {string} [kind] */
const bar = (value, most, text, kind = "") => [h("span", { class: `bar inline ${kind}`, "aria-hidden": "true" },
  h("span", { style: { width: `${value ? Math.max(1, Math.min(100, (value / Math.max(most, 1e-9)) * 100)).toFixed(1) : 0}%` } })),
  h("span", { class: "measured" }, text)];
/**
 * Fires by what became of them.
 * @param {any} row
 */
const shares = (row) => h("span", { class: "bar inline shares", "aria-hidden": "true" }, ["runs", "skipped", "missed"].map((name) =>
  h("span", { class: name, style: { width: `${row.due ? ((row[name] / row.due) * 100).toFixed(1) : 0}%` } })));
/** @param {any} row @param {string} of @param {string} figure */
const figure = (row, of, figure) => row[of]?.[figure];

/** @type {Record<string, {text: string, about: string, path: string, standard: string, sort: string, columns: Column[]}>} */
const TABS = {
  lateness: {
    text: "Lateness", path: "/schedules/statistics", standard: "7d", sort: "lateness",
    about: "From when a run was due, and the schedule's own jitter, to its first attempt. Only the timetable's runs can be late.",
    columns: [NAME,
      { head: "Runs measured", num: true, cell: (row) => number(figure(row, "lateness_ms", "runs") ?? 0) },
      { head: "p50", num: true, cell: (row) => duration(figure(row, "lateness_ms", "p50")) },
      { head: "p99", sort: "lateness", num: true, cell: (row, most) =>
        bar(figure(row, "lateness_ms", "p99"), most.p99, duration(figure(row, "lateness_ms", "p99"))) },
      { head: "Latest", num: true, cell: (row) => duration(figure(row, "lateness_ms", "max")) },
    ],
  },
  accounts: {
    text: "Accounts", path: "/schedules/accounts", standard: "24h", sort: "",
    about: "Every fire that was due, against what became of it: due = runs + skipped + missed. Runs by hand and backfills do not count.",
    columns: [{ ...NAME, sort: undefined },
      { head: "Due", num: true, cell: (row) => [shares(row), h("span", { class: "measured" }, number(row.due))], sum: "due" },
      { head: "= Runs", num: true, cell: (row) => number(row.runs), sum: "runs" },
      { head: "+ Skipped", num: true, cell: (row) => number(row.skipped), sum: "skipped" },
      { head: "+ Missed", num: true, cell: (row) => number(row.missed), sum: "missed" },
      { head: "Balanced", cell: (row) => h("span", { class: `badge s-${row.balanced ? "success" : "failed"}` },
        mark(row.balanced ? "success" : "failed"), row.balanced ? "yes" : "no") },
      { head: "Overdue", num: true, cell: (row) => (row.overdue_ms ? h("b", { class: "error" }, duration(row.overdue_ms)) : "–") },
      { head: "Trouble", cell: (row) => row.trouble ?? "" },
    ],
  },
  durations: {
    text: "Durations and cost", path: "/schedules/statistics", standard: "7d", sort: "duration",
    about: "How many runs went well, how long they took from start to end (pauses included), and what their agents used up.",
    columns: [NAME,
      { head: "Runs", sort: "runs", num: true, cell: (row) => number(row.runs) },
      { head: "Success", num: true, cell: (row) => 
        bar(row.success_rate, 1, percent(row.success_rate), row.success_rate < 0.9 ? "bad" : "good") },
      { head: "Failed", sort: "failures", num: true, cell: (row) => number(row.unsuccessful) },
      { head: "p50", num: true, cell: (row) => duration(figure(row, "duration_ms", "p50")) },
      { head: "p95", sort: "duration", num: true, cell: (row, most) =>
        bar(figure(row, "duration_ms", "p95"), most.p95, duration(figure(row, "duration_ms", "p95"))) },
      { head: "Longest", num: true, cell: (row) => duration(figure(row, "duration_ms", "max")) },
      { head: "Tokens", num: true, cell: (row) => compact(row.total_tokens) },
      { head: "Cost", num: true, cell: (row) => money(row.cost) },
    ],
  },
};

/**
 * @param {HTMLElement} root
 * @param {import("../router.js").Route} _route
 * @param {AbortSignal} signal
 */
export async function show(root, _route, signal) {
  const [tabs, filters, table, pages] = [h("nav", { class: "tabs", "aria-label": "Figures" }), h("div", { class: "filters" }),
    h("div", { class: "panel flush figures" }), h("div")];
  const about = h("p", { class: "dim" });
  fill(root, h("h1", null, "Figures"), tabs, about, filters, table, pages);
  let loads = 0;

  async function load() {
    const { query } = currentRoute();
    const tab = tabOf(query);
    const page = Math.max(1, Number(query.get("page")) || 1);
    const sort = query.get("sort") ?? tab.sort;
    const mine = ++loads;
    try {
      const asked = { ...rangeOf(query, tab.standard), q: query.get("q"), sort, limit: ROWS, page: page > 1 ? page : null };
      const found = await get(withQuery(tab.path, asked), { signal });
      if (mine !== loads) return;
      const heads = table.querySelectorAll("th button");
      const focused = Array.from(heads).indexOf(/** @type {Element} */ (document.activeElement));
      fill(table, found.data.length ? tableOf(tab, found.data, sort)
        : h("div", { class: "empty" }, h("p", null, "Nothing to count here. Widen the time, or search for something else.")));
      if (focused >= 0) table.querySelectorAll("button")[focused]?.focus();
      const rows = number(found.meta.total_count);
      const left = found.schedules_total > found.schedules_compared
        ? `; the ${number(found.schedules_compared)} busiest of ${number(found.schedules_total)} were compared` : "";
      fill(pages, pager(page, found.meta.total_pages, `${rows} schedules${left}`));
    } catch (error) {
      if (!signal.aborted) fill(table, h("p", { class: "error" }, /** @type {Error} */ (error).message));
    }
  }

  function update() {
    const { query } = currentRoute();
    const tab = tabOf(query);
    const key = [tab.text, query.get("range"), query.get("from"), query.get("to")].join(" ");
    if (filters.dataset.of !== key) {
      const hadFocus = filters.querySelector("select") === document.activeElement;
      fill(filters, searchField(query, "Schedule"), rangePicker(query, tab.standard));
      if (hadFocus) filters.querySelector("select")?.focus();
      filters.dataset.of = key;
      fill(about, tab.about);
      fill(tabs, Object.entries(TABS).map(([name, { text }]) =>
        h("a", { href: link(["figures"], { tab: name, q: query.get("q") }), "aria-current": name === nameOf(query) ? "page" : null },
        text)));
    }
    void load();
  }

  listKeys(signal, () => Array.from(table.querySelectorAll("tbody tr")));
  bind(signal, "Figures", [["/", "search", () => /** @type {HTMLElement | null} */ (root.querySelector('[data-shortcut="/"]'))?.focus()]]);
  on("schedules", debounced((change) => change === null && void load(), 2000), signal);
  fill(table, h("p", { class: "loading" }, "Loading …"));
  update();
  return { update };
}

/** @param {URLSearchParams} query */
const nameOf = (query) => (Object.hasOwn(TABS, query.get("tab") ?? "") ? query.get("tab") ?? "" : "lateness");
/** @param {URLSearchParams} query */
const tabOf = (query) => TABS[nameOf(query)];

/**
 * @param {(typeof TABS)[string]} tab
 * @param {any[]} rows
 * @param {string} sort
 */
function tableOf(tab, rows, sort) {
  const greatest = (/** @type {string} */ of, /** @type {string} */ name) => Math.max(0, ...rows.map((row) => figure(row, of, name) ?? 0));
  const most = { p99: greatest("lateness_ms", "p99"), p95: greatest("duration_ms", "p95") };
  const heads = tab.columns.map(({ head, sort: order, num }) => h("th", { scope: "col", class: num ? "num" : null,
    "aria-sort": order && order === sort ? (order === "name" ? "ascending" : "descending") : null },
    order ? h("button", { type: "button", onclick: () => refine({ sort: order, page: null }) },
      head, order === sort ? (order === "name" ? " ↑" : " ↓") : "") : head));
  return h("table", { class: "cards" }, h("caption", { class: "visually-hidden" }, `${tab.text} by schedule. ${tab.about}`),
    h("thead", null, h("tr", null, heads)),
    h("tbody", null, rows.map((row) => h("tr", row.balanced === false || row.trouble ? { class: "warned" } : null,
      tab.columns.map(({ head, num, cell }) =>
      h("td", { "data-label": head, class: num ? "num" : null }, cell(row, most)))))), sums(tab, rows));
}

/**
 * Of the rows that are shown.
 * @param {(typeof TABS)[string]} tab
 * @param {any[]} rows
 */
function sums(tab, rows) {
  if (!tab.columns.some((column) => column.sum)) return null;
  const total = (/** @type {string} */ name) => number(rows.reduce((sum, row) => sum + (row[name] ?? 0), 0));
  return h("tfoot", null, h("tr", null, h("th", { scope: "row" }, `These ${number(rows.length)} together`),
    tab.columns.slice(1).map(({ head, num, sum }) =>
    h("td", { "data-label": sum ? head : null, class: num ? "num" : null }, sum ? total(sum) : ""))));
}
