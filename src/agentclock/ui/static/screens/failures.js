/**
 * What failed, by what went wrong: runs that failed in the same way are one entry, and can be run again as one.
 * @module
 */
import { get, withQuery } from "../api.js";
import { counted, dateTime, number } from "../format.js";
import { bind, listKeys } from "../keys.js";
import { debounced, fill, h, svg } from "../lib.js";
import { currentRoute, go, link, refine } from "../router.js";
import { badge } from "../status.js";
import { may, on } from "../store.js";
import { runsOf } from "./failures-runs.js";
import { rangeOf, rangePicker, searchField } from "./runs-range.js";

const STANDARD = "7d";
/** @typedef {{fingerprint: string, error: string | null, status: string, status_code: number | null, hint: string | null, count: number,
 *   schedules: {id: string, name: string | null, count: number}[], schedules_total: number, first_at: string, last_at: string,
 *   run_ids: string[]}} Group */

/**
 * @param {HTMLElement} root
 * @param {import("../router.js").Route} route
 * @param {AbortSignal} signal
 */
export async function show(root, route, signal) {
  const [filters, narrowed] = [h("div", { class: "filters" }), h("div", { class: "actions suggestions" })];
  const summary = h("span", { class: "dim", role: "status" });
  const list = h("ol", { class: "plain stack groups" });
  /** @type {{data: Group[], runs_looked_at: number, is_complete: boolean} | null} */
  let found = null;
  let loaded = "";
  let range = rangeOf(route.query, STANDARD);
  fill(root, h("div", { class: "head" }, h("h1", null, "Failures"), summary), filters, narrowed, list);

  async function load() {
    const { query } = currentRoute();
    range = rangeOf(query, STANDARD);
    const schedule_id = query.get("schedule_id");
    try {
      found = await get(withQuery("/runs/failures", { ...range, schedule_id, limit: 100 }), { signal });
      paint();
    } catch (error) {
      if (!signal.aborted) fill(list, h("li", { class: "panel error" }, /** @type {Error} */ (error).message));
    }
  }

  function paint() {
    const { query } = currentRoute();
    const wanted = (query.get("q") ?? "").toLowerCase();
    const open = query.get("open");
    const groups = (found?.data ?? []).filter((group) => !wanted || textOf(group).includes(wanted));
    const runs = groups.reduce((sum, group) => sum + group.count, 0);
    fill(summary, groups.length ? `${counted(runs, "run")} in ${counted(groups.length, "kind")}` : "",
      found?.is_complete ? "" : `; only the newest ${number(found?.runs_looked_at)} were looked at`);
    const at = list.contains(document.activeElement) ? document.activeElement?.closest("li[data-key]")?.getAttribute("data-key") : null;
    fill(list, groups.length ? groups.map((group) => entry(group, group.fingerprint === open)) : nothing(Boolean(wanted)));
    const again = at && list.querySelector(`li[data-key="${at}"]`);
    if (!again) return;
    again.setAttribute("aria-current", "true");
    again.querySelector("a")?.focus();
  }

  /** @param {Group} group @param {boolean} isOpen */
  function entry(group, isOpen) {
    const { path, query } = currentRoute();
    const toggled = new URLSearchParams(query);
    if (isOpen) toggled.delete("open");
    else toggled.set("open", group.fingerprint);
    const only = query.get("schedule_id");
    const count = only ? group.run_ids.length : group.count;
    const again = h("button", { type: "button", disabled: !may("schedules:write"),
      "aria-label": `Run again all ${count}: ${title(group)}` }, `Run all again (${number(count)})`);
    again.addEventListener("click", async () => {
      again.disabled = true;
      const { bulk, retryGroup } = await import("./runs-bulk.js");
      again.disabled = false;
      const done = only ? await bulk("retry", group.run_ids.map((id) => ({ id, schedule_id: only, name: id })))
        : await retryGroup({ fingerprint: group.fingerprint, ...range }, count);
      if (done !== null) void load();
    });
    return h("li", { class: "panel group", "data-key": group.fingerprint, "data-row": true },
      h("header", null, badge(group.status), group.status_code && h("span", { class: "tag" }, group.status_code),
        h("h2", null, h("a", { href: link(path, toggled), "aria-expanded": String(isOpen), onclick: (/** @type {Event} */ event) => {
          event.preventDefault();
          refine({ open: isOpen ? null : group.fingerprint });
        } }, title(group))),
        h("div", { class: "actions" }, strip(group, range), h("b", { class: "count" }, counted(group.count, "run")), again)),
      group.hint && h("p", { class: "hint" }, h("b", null, "What helps: "), group.hint),
      h("p", { class: "dim" }, `${dateTime(group.first_at)} – ${dateTime(group.last_at)} · `,
        group.schedules.slice(0, 5).map((one, at) => [at ? ", " : "",
          h("a", { href: link(["schedules", one.id]) }, one.name ?? "a deleted schedule"), one.count > 1 ? ` (${one.count})` : ""]),
        group.schedules_total > 5 ? ` and ${number(group.schedules_total - 5)} more schedules` : ""),
      isOpen ? runsOf(group, signal) : null);
  }

  const suggest = debounced(async () => {
    const { query } = currentRoute();
    const [q, only] = [query.get("q"), query.get("schedule_id")];
    const some = q ? await get(withQuery("/schedules", { q, limit: 6, sort: "name" }), { signal }).catch(() => null) : null;
    if (signal.aborted) return;
    const hadFocus = narrowed.contains(document.activeElement);
    fill(narrowed,
      only ? h("button", { type: "button", class: "small", "aria-pressed": "true", onclick: () => refine({ schedule_id: null }) },
        "One schedule only ✕") : null,
      some?.data.filter((/** @type {any} */ one) => one.id !== only).map((/** @type {any} */ one) =>
        h("button", { type: "button", class: "small", onclick: () => refine({ schedule_id: one.id, q: null }) }, `Only ${one.name}`)));
    if (hadFocus) (narrowed.querySelector("button") ?? filters.querySelector("input"))?.focus();
  }, 300);

  function update() {
    const { query } = currentRoute();
    const about = ["range", "from", "to", "schedule_id"].map((name) => query.get(name)).join(" ");
    if (filters.dataset.of !== about) {
      const hadFocus = filters.querySelector("select") === document.activeElement;
      fill(filters, searchField(query, "Error or schedule"), rangePicker(query, STANDARD));
      if (hadFocus) filters.querySelector("select")?.focus();
      filters.dataset.of = about;
    }
    suggest();
    if (loaded === about) paint();
    else void load();
    loaded = about;
  }

  const rows = () => /** @type {HTMLElement[]} */ (Array.from(list.querySelectorAll("[data-row]")));
  const current = listKeys(signal, rows);
  const press = (/** @type {string} */ selector) => () => /** @type {HTMLElement | null} */ (current()?.querySelector(selector))?.click();
  bind(signal, "Failures", [
    ["r", "run again", press("[data-act=retry]")],
    ["e", "run again with another payload", async () => {
      const row = current();
      const made = row?.dataset.run
        ? await (await import("./run-again.js")).editAndRunAgain({ id: row.dataset.run, schedule_id: row.dataset.schedule ?? "" }) : null;
      if (made) go(link(["runs", made.schedule_id, made.id]));
    }],
    ["/", "search", () => /** @type {HTMLElement | null} */ (root.querySelector('[data-shortcut="/"]'))?.focus()],
  ]);
  // Nothing is put under a reader's hands: a button says that there is more.
  on("runs", (run) => {
    if (!run || range.to || !["failed", "timeout", "lost"].includes(run.status) || root.querySelector(".fresh")) return;
    summary.append(h("button", { type: "button", class: "small fresh", onclick: load }, "There are new ones: show"));
  }, signal);
  fill(list, h("li", { class: "loading" }, "Loading …"));
  update();
  return { update };
}

/** @param {Group} group */
const title = (group) => group.error ?? "No error was told";
/** @param {Group} group */
const textOf = (group) =>
  [group.error, group.hint, group.status, group.status_code, ...group.schedules.map((one) => one.name)].join(" ").toLowerCase();

/** @param {boolean} isFiltered */
const nothing = (isFiltered) => h("li", { class: "panel empty" },
  h("p", null, isFiltered ? "No failure has this in its error or in the name of its schedule." : "Nothing failed in this time."),
  h("p", null, isFiltered ? "Widen the time, or choose a schedule above." : "Widen the time to see earlier ones."));

/**
 * When the newest of them were, as ticks over the time asked for. Ids of runs begin with their time (RFC 9562).
 * @param {Group} group
 * @param {{from: string | null, to: string | null}} range
 */
function strip(group, range) {
  const from = Date.parse(range.from ?? group.first_at);
  const span = Math.max(1, (range.to ? Date.parse(range.to) : Date.now()) - from);
  const ticks = group.run_ids.map((id) => Math.round(((parseInt(id.replace("-", "").slice(0, 12), 16) - from) / span) * 118) + 1);
  return svg("svg", { class: "spark", width: 120, height: 20, viewBox: "0 0 120 20", "aria-hidden": "true" },
    svg("path", { class: "base", d: "M0 19.5H120" }),
    svg("path", { class: `s-${group.status}`, d: ticks.map((x) => `M${Math.max(1, Math.min(119, x))} 3V18`).join("") }));
}
