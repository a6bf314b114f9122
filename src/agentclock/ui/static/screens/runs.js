/**
 * All runs, newest first, kept up to date; filters and pages stand in the address.
 * @module
 */
import { get } from "../api.js";
import { counted, number } from "../format.js";
import { bind, listKeys } from "../keys.js";
import { debounced, every, fill, h, keyed, painter, say } from "../lib.js";
import { currentRoute, go, link } from "../router.js";
import { isActive, may, on, runs as live } from "../store.js";
import { fits, showFilters, withList } from "./runs-filters.js";
import { rangeOf } from "./runs-range.js";
import { makeRow, paintRow } from "./runs-rows.js";

const ROWS = 50;
/** New ones that come while one looks are put on top, up to so many at a time and in all; more wait until they are asked for. */
const AT_A_TIME = 8;
const MOST_ROWS = 120;

/**
 * @param {HTMLElement} root
 * @param {import("../router.js").Route} route
 * @param {AbortSignal} signal
 */
export async function show(root, route, signal) {
  /** @type {any[]} */
  let rows = [];
  /**
   * New ones, not shown yet.
   * @type {Map<string, any>}
   */
  const fresh = new Map();
  let [loads, isLoaded] = [0, false];
  const chosen = /** @type {Set<string>} */ (new Set());
  const body = h("tbody");
  const all = h("input", { type: "checkbox", "aria-label": "Select all rows" });
  const [filters, summary] = [h("div", { class: "filters" }), h("span", { class: "dim", role: "status" })];
  const pages = h("nav", { class: "actions pages", "aria-label": "Pages" });
  const more = h("button", { type: "button", class: "small", hidden: true, onclick: () => load() });
  const bar = h("div", { class: "actions bulk", role: "group", "aria-label": "Selected runs", hidden: true });
  const heads = ["Status", "Schedule", "Due", "Late", "Took", "Cause", "Note", "Actions"];
  fill(root, h("div", { class: "head" }, h("h1", null, "Runs"), summary, more), filters, bar,
    h("div", { class: "panel flush" }, h("table", { class: "cards runs" }, h("caption", { class: "visually-hidden" }, "Runs, newest first"),
      h("thead", null, h("tr", null, h("th", { scope: "col" }, h("label", null, all, h("span", { class: "cards-only" }, "All"))),
        heads.map((text) => h("th", { scope: "col", class: /Late|Took/.test(text) ? "num" : null }, text)))), body)),
    pages);

  const paint = painter(() => {
    showFresh();
    if (chosen.size) showBar();
    keyed(body, rows, (run) => run.id, (run) => makeRow(run, { isChosen: chosen.has(run.id), choose }), paintRow);
    if (!rows.length && isLoaded) fill(body, wide("empty", "No runs here. Widen the time, or take a filter away."));
  }, 500, signal);

  /** Nothing moves under the hands of somebody who reads further down, or selects. */
  function showFresh() {
    if (fresh.size <= AT_A_TIME && !chosen.size && scrollY < 200 && more.hidden) {
      rows = [...[...fresh.values()].reverse(), ...rows].slice(0, MOST_ROWS);
      fresh.clear();
    }
    more.hidden = !fresh.size;
    say(more, `Show ${counted(fresh.size, "new run")}`);
  }

  async function load() {
    const { query } = currentRoute();
    const mine = ++loads;
    const path = withList("/runs", { status: query.get("status"), cause: query.get("cause") }, {
      q: query.get("q"), schedule_id: query.get("schedule_id"), since: rangeOf(query).from, until: rangeOf(query).to,
      limit: ROWS, cursor: query.get("cursor") });
    try {
      const found = await get(path, { signal });
      if (mine !== loads) return;
      rows = found.data;
      isLoaded = true;
      fresh.clear();
      say(summary, `${number(found.meta.total_count)} in all`);
      showPages(found.meta.next_cursor, query.has("cursor"));
      paint();
    } catch (error) {
      if (!signal.aborted) fill(body, wide("error", /** @type {Error} */ (error).message));
    }
  }

  /** @param {string | null} next @param {boolean} isOlder */
  function showPages(next, isOlder) {
    const { path, query } = currentRoute();
    const to = (/** @type {string | null} */ cursor) => {
      const changed = new URLSearchParams(query);
      if (cursor) changed.set("cursor", cursor);
      else changed.delete("cursor");
      return link(path, changed);
    };
    fill(pages, isOlder ? h("a", { class: "button", href: to(null) }, "Newest") : null,
      next ? h("a", { class: "button", href: to(next), rel: "next" }, "Older →") : null);
  }

  /** @param {any} run */
  function hear(run) {
    const at = rows.findIndex((row) => row.id === run.id);
    if (at >= 0) rows[at] = { ...rows[at], ...run };
    else if (fresh.has(run.id) || fits(run, currentRoute().query)) fresh.set(run.id, { ...run, isNew: true });
    else return;
    paint();
  }

  /** @param {any} run @param {boolean} isOn */
  function choose(run, isOn) {
    if (isOn) chosen.add(run.id);
    else chosen.delete(run.id);
    showBar();
  }
  all.addEventListener("change", () => {
    const isOn = all.checked; // it shows how many are chosen, so it changes on the way
    for (const row of rows) choose(row, isOn);
    for (const box of body.querySelectorAll("input")) box.checked = isOn;
  });

  function showBar() {
    const some = rows.filter((row) => chosen.has(row.id));
    bar.hidden = !some.length;
    all.checked = some.length > 0 && some.length === rows.length;
    all.indeterminate = some.length > 0 && some.length < rows.length;
    const key = some.map((run) => run.id + isActive(run)).join();
    if (bar.dataset.of === key) return;
    bar.dataset.of = key;
    const canCancel = may("runs:cancel") || may("schedules:write");
    fill(bar, h("b", null, `${some.length} selected`),
      bulkButton("Run again", "retry", some.filter((run) => !isActive(run)), may("schedules:write")),
      bulkButton("Cancel", "cancel", some.filter(isActive), canCancel),
      h("button", { type: "button", onclick: clear }, "Clear"));
  }

  /** @param {string} text @param {"cancel" | "retry"} verb @param {any[]} which @param {boolean} isAllowed */
  function bulkButton(text, verb, which, isAllowed) {
    const button = h("button", { type: "button", disabled: !which.length || !isAllowed, class: verb === "cancel" ? "danger" : null },
      `${text} (${which.length})`);
    button.addEventListener("click", async () => {
      button.disabled = true;
      const { bulk } = await import("./runs-bulk.js");
      const done = await bulk(verb, which.map((run) => ({ id: run.id, schedule_id: run.schedule_id, name: run.schedule_name ?? run.id })));
      button.disabled = false;
      if (done === null) return;
      clear();
      void load();
    });
    return button;
  }

  function clear() {
    chosen.clear();
    for (const box of body.querySelectorAll("input")) box.checked = false;
    showBar();
  }

  const current = listKeys(signal, () => Array.from(body.querySelectorAll("tr[data-key]")));
  const press = (/** @type {string} */ selector) => () => /** @type {HTMLElement | null} */ (current()?.querySelector(selector))?.click();
  bind(signal, "List", [["s", "select the row", press("input")], ["r", "run again", press("[data-act=retry]")],
    ["x", "cancel", press("[data-act=cancel]")],
    ["e", "run again with another payload", async () => {
      const run = rows.find((row) => row.id === current()?.getAttribute("data-key"));
      const made = run && !isActive(run) && (await (await import("./run-again.js")).editAndRunAgain(run));
      if (made) go(link(["runs", made.schedule_id, made.id]));
    }], ["/", "search", () => /** @type {HTMLElement | null} */ (root.querySelector('[data-shortcut="/"]'))?.focus()]]);

  const reload = debounced(load, 2000);
  // A run that ended while nobody listened is told by no event.
  on("runs", (run) => (run ? hear(run) : rows.some((row) => isActive(row) && !live.has(row.id)) && reload()), signal);
  on("schedules", (change) => change === null && reload(), signal);
  on("connection", paint, signal);
  every(() => rows.some(isActive) && paint(), 1000, signal);
  showFilters(filters, route.query);
  fill(body, wide("loading", "Loading …"));
  await load();
  return {
    /** @param {import("../router.js").Route} changed */
    update({ query }) {
      showFilters(filters, query);
      clear();
      void load();
    },
  };
}

/**
 * A row of words.
 * @param {string} kind
 * @param {string} text
 */
const wide = (kind, text) => h("tr", null, h("td", { colspan: 9, class: kind }, h("p", null, text)));
