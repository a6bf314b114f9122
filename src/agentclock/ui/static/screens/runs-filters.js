/**
 * Which runs are listed: the controls, the question to the server, and whether a run that is just heard of belongs there.
 * @module
 */
import { withQuery } from "../api.js";
import { fill, h } from "../lib.js";
import { currentRoute, refine } from "../router.js";
import { STATUSES, mark, word } from "../status.js";
import { CAUSES } from "./run-facts.js";
import { rangeOf, rangePicker, searchField } from "./runs-range.js";

/**
 * A query in which some names come several times.
 * @param {string} path @param {Record<string, string | null>} lists @param {Record<string, unknown>} single
 */
export function withList(path, lists, single) {
  const base = withQuery(path, single);
  const more = Object.entries(lists).flatMap(([name, text]) =>
    (text ? text.split(",").map((value) => `${name}=${encodeURIComponent(value)}`) : []));
  return more.length ? `${base}${base.includes("?") ? "&" : "?"}${more.join("&")}` : base;
}

/**
 * Whether a run that was just heard of belongs on this page.
 * @param {any} run
 * @param {URLSearchParams} query
 */
export function fits(run, query) {
  const among = (/** @type {string} */ name) => !query.get(name) || query.get(name)?.split(",").includes(run[name]);
  const { to } = rangeOf(query);
  return !query.has("cursor") && !to && among("status") && among("cause") && among("schedule_id") &&
    (run.schedule_name ?? "").toLowerCase().includes((query.get("q") ?? "").toLowerCase());
}

/**
 * Keeps the focus where it is.
 * @param {HTMLElement} place
 * @param {URLSearchParams} query
 */
export function showFilters(place, query) {
  const active = new Set((query.get("status") ?? "").split(",").filter(Boolean));
  if (!place.firstChild) {
    const cause = h("select", { "data-of": "cause", onchange: () => refine({ cause: cause.value, cursor: null }) },
      h("option", { value: "" }, "Any"), Object.entries(CAUSES).map(([value, text]) => h("option", { value }, text)));
    place.append(searchField(query, "Schedule"), h("div", { class: "filters range" }), h("label", null, "Cause", cause),
      h("div", { class: "actions states", role: "group", "aria-label": "Status" }, STATUSES.map((status) =>
        h("button", { type: "button", class: "small", "data-status": status, onclick: () => toggle(status) },
          mark(status), word(status)))));
  }
  /** @type {HTMLSelectElement} */ (place.querySelector("[data-of=cause]")).value = query.get("cause") ?? "";
  for (const button of place.querySelectorAll("[data-status]")) {
    button.setAttribute("aria-pressed", String(active.has(button.getAttribute("data-status") ?? "")));
  }
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
