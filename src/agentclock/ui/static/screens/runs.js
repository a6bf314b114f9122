/**
 * All runs, newest first, kept up to date; filters and pages stand in the address.
 * @module
 */
import { get, withQuery } from "../api.js";
import { number } from "../format.js";
import { bind, listKeys } from "../keys.js";
import { debounced, every, fill, h, keyed, painter, say } from "../lib.js";
import { currentRoute, go, link, refine } from "../router.js";
import { STATUSES, mark, word } from "../status.js";
import { isActive, may, on, runs as live } from "../store.js";
import { CAUSES } from "./run-facts.js";
import { rangeOf, rangePicker, searchField } from "./runs-range.js";
import { makeRow, paintRow } from "./runs-rows.js";

const ROWS = 50;
/** New ones that come while one looks are put on top, up to so many. */
const MOST_ROWS = 150;

/**
 * @param {HTMLElement} root
 * @param {import("../router.js").Route} route
 * @param {AbortSignal} signal
 */
export async function show(root, route, signal) {
  /** @type {any[]} */
  let rows = [];
  let loads = 0;
  const chosen = /** @type {Set<string>} */ (new Set());
  const body = h("tbody");
  const all = h("input", { type: "checkbox", "aria-label": "Select all rows" });
  const [filters, summary] = [h("div", { class: "filters" }), h("span", { class: "dim", role: "status" })];
  const pages = h("nav", { class: "actions pages", "aria-label": "Pages" });
  const bar = h("div", { class: "actions bulk", role: "group", "aria-label": "Selected runs", hidden: true });
  const heads = ["Status", "Schedule", "Due", "Late", "Took", "Cause", "Note", "Actions"];
  fill(root, h("div", { class: "head" }, h("h1", null, "Runs"), summary), filters, bar,
    h("div", { class: "panel flush" }, h("table", { class: "cards runs" }, h("caption", { class: "visually-hidden" }, "Runs, newest first"),
      h("thead", null, h("tr", null, h("th", { scope: "col" }, all), heads.map((text) => h("th", { scope: "col", class: /Late|Took/.test(text) ? "num" : null }, text)))), body)),
    pages);

  const paint = painter(() => {
    keyed(body, rows, (run) => run.id, (run) => makeRow(run, { isChosen: chosen.has(run.id), choose }), paintRow);
    if (!rows.length) fill(body, h("tr", null, h("td", { colspan: 9, class: "empty" }, h("p", null, "No runs here. Widen the time, or take a filter away."))));
  }, 200, signal);

  async function load() {
    const { query } = currentRoute();
    const mine = ++loads;
    const path = withList("/runs", { status: query.get("status"), cause: query.get("cause") }, {
      q: query.get("q"), since: rangeOf(query).from, until: rangeOf(query).to, limit: ROWS, cursor: query.get("cursor"), schedule_id: query.get("schedule_id") });
    try {
      const found = await get(path, { signal });
      if (mine !== loads) return;
      rows = found.data;
      say(summary, `${number(found.meta.total_count)} in all`);
      showPages(found.meta.next_cursor, query.has("cursor"));
      paint();
    } catch (error) {
      if (!signal.aborted) fill(body, h("tr", null, h("td", { colspan: 9, class: "error" }, /** @type {Error} */ (error).message)));
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
    fill(pages, isOlder ? h("a", { class: "button", href: to(null) }, "Newest") : null, next ? h("a", { class: "button", href: to(next), rel: "next" }, "Older →") : null);
  }

  /** @param {any} run */
  function hear(run) {
    const at = rows.findIndex((row) => row.id === run.id);
    if (at >= 0) rows[at] = { ...rows[at], ...run };
    else if (fits(run, currentRoute().query)) rows = [{ ...run, isNew: true }, ...rows].slice(0, MOST_ROWS);
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
    for (const row of rows) choose(row, all.checked);
    for (const box of body.querySelectorAll("input")) box.checked = all.checked;
  });

  function showBar() {
    const some = rows.filter((row) => chosen.has(row.id));
    bar.hidden = !some.length;
    all.checked = some.length > 0 && some.length === rows.length;
    all.indeterminate = some.length > 0 && some.length < rows.length;
    const act = async (/** @type {"cancel" | "retry"} */ verb, /** @type {any[]} */ which) => {
      const { bulk } = await import("./runs-bulk.js");
      if ((await bulk(verb, which.map((run) => ({ id: run.id, schedule_id: run.schedule_id, name: run.schedule_name ?? run.id })))) === null) return;
      clear();
      void load();
    };
    const [active, over] = [some.filter(isActive), some.filter((run) => !isActive(run))];
    const button = (/** @type {string} */ text, /** @type {any[]} */ which, /** @type {"cancel" | "retry"} */ verb, /** @type {boolean} */ allowed) =>
      h("button", { type: "button", disabled: !which.length || !allowed, class: verb === "cancel" ? "danger" : null, onclick: () => act(verb, which) }, `${text} (${which.length})`);
    fill(bar, h("b", null, `${some.length} selected`), button("Run again", over, "retry", may("schedules:write")),
      button("Cancel", active, "cancel", may("runs:cancel") || may("schedules:write")), h("button", { type: "button", onclick: clear }, "Clear"));
  }
  function clear() {
    chosen.clear();
    for (const box of body.querySelectorAll("input")) box.checked = false;
    showBar();
  }

  const current = listKeys(signal, () => Array.from(body.querySelectorAll("tr[data-key]")));
  const press = (/** @type {string} */ selector) => () => /** @type {HTMLElement | null} */ (current()?.querySelector(selector))?.click();
  bind(signal, "List", [["s", "select the row", press("input")], ["r", "run again", press("[data-act=retry]")], ["x", "cancel", press("[data-act=cancel]")],
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
 * A query in which some names come several times.
 * @param {string} path @param {Record<string, string | null>} lists @param {Record<string, unknown>} single
 */
function withList(path, lists, single) {
  const base = withQuery(path, single);
  const more = Object.entries(lists).flatMap(([name, text]) => (text ? text.split(",").map((value) => `${name}=${encodeURIComponent(value)}`) : []));
  return more.length ? `${base}${base.includes("?") ? "&" : "?"}${more.join("&")}` : base;
}

/** Whether a run that was just heard of belongs on this page. @param {any} run @param {URLSearchParams} query */
function fits(run, query) {
  const among = (/** @type {string} */ name) => !query.get(name) || query.get(name)?.split(",").includes(run[name]);
  const { to } = rangeOf(query);
  return !query.has("cursor") && !to && among("status") && among("cause") && (!query.get("schedule_id") || query.get("schedule_id") === run.schedule_id) &&
    (run.schedule_name ?? "").toLowerCase().includes((query.get("q") ?? "").toLowerCase());
}

/** Keeps the focus where it is. @param {HTMLElement} place @param {URLSearchParams} query */
function showFilters(place, query) {
  const active = new Set((query.get("status") ?? "").split(",").filter(Boolean));
  if (!place.firstChild) {
    const cause = h("select", { "data-of": "cause", onchange: () => refine({ cause: cause.value, cursor: null }) },
      h("option", { value: "" }, "Any"), Object.entries(CAUSES).map(([value, text]) => h("option", { value }, text)));
    place.append(searchField(query, "Schedule"), h("div", { class: "filters range" }), h("label", null, "Cause", cause),
      h("div", { class: "actions states", role: "group", "aria-label": "Status" }, STATUSES.map((status) =>
        h("button", { type: "button", class: "small", "data-status": status, onclick: () => toggle(status) }, mark(status), word(status)))));
  }
  /** @type {HTMLSelectElement} */ (place.querySelector("[data-of=cause]")).value = query.get("cause") ?? "";
  for (const button of place.querySelectorAll("[data-status]")) button.setAttribute("aria-pressed", String(active.has(button.getAttribute("data-status") ?? "")));
  const range = /** @type {HTMLElement} */ (place.querySelector(".range"));
  if (range.dataset.of !== `${query.get("range")} ${query.get("from")} ${query.get("to")}`) {
    const at = Array.from(range.querySelectorAll("input, select")).indexOf(/** @type {Element} */ (document.activeElement));
    fill(range, rangePicker(query, "", "All time"));
    range.dataset.of = `${query.get("range")} ${query.get("from")} ${query.get("to")}`;
    if (at >= 0) /** @type {HTMLElement[]} */ (Array.from(range.querySelectorAll("input, select")))[at]?.focus();
  }
}

/** @param {string} status */
function toggle(status) {
  const active = new Set((currentRoute().query.get("status") ?? "").split(",").filter(Boolean));
  if (!active.delete(status)) active.add(status);
  refine({ status: [...active].join(","), cursor: null });
}
