/**
 * Which stretch of time a list is about: a preset, or from and to; both live in the address.
 * @module
 */
import { h } from "../lib.js";
import { refine } from "../router.js";
import { now } from "../store.js";

const HOUR = 3600000;
const DAY = 24 * HOUR;
/**
 * The viewer's midnight, so many days ago.
 * @param {number} days
 */
const midnight = (days) => {
  const day = new Date(now());
  return new Date(day.getFullYear(), day.getMonth(), day.getDate() - days).getTime();
};
/** @type {Record<string, [string, () => [number, number | null]]>} */
const PRESETS = {
  "1h": ["Last hour", () => [now() - HOUR, null]],
  "24h": ["Last 24 hours", () => [now() - DAY, null]],
  today: ["Today", () => [midnight(0), null]],
  yesterday: ["Yesterday", () => [midnight(1), midnight(0)]],
  "7d": ["Last 7 days", () => [now() - 7 * DAY, null]],
  "30d": ["Last 30 days", () => [now() - 30 * DAY, null]],
};

/** @param {number | null} at */
const iso = (at) => (at === null ? null : new Date(at).toISOString());

/**
 * ISO times, null for no limit.
 * @param {URLSearchParams} query
 * @param {string} [standard] a preset, when the address names none
 * @returns {{from: string | null, to: string | null}}
 */
export function rangeOf(query, standard = "") {
  if (query.get("from") || query.get("to")) return { from: instant(query.get("from")), to: instant(query.get("to")) };
  const preset = PRESETS[query.get("range") ?? standard];
  if (!preset) return { from: null, to: null };
  const [from, to] = preset[1]();
  return { from: iso(from), to: iso(to) };
}

/**
 * What cannot be read as a time does not narrow anything.
 * @param {string | null} text
 */
function instant(text) {
  const at = text ? Date.parse(text) : NaN;
  return Number.isFinite(at) ? iso(at) : null;
}

/**
 * For an input of a local time.
 * @param {string | null} text
 */
function local(text) {
  const at = text ? Date.parse(text) : NaN;
  return Number.isFinite(at) ? new Date(at - new Date(at).getTimezoneOffset() * 60000).toISOString().slice(0, 16) : "";
}

/**
 * The controls for it; they write into the address, and go back to the first page.
 * @param {URLSearchParams} query
 * @param {string} standard
 * @param {string} [whole] what no limit is called, if that can be chosen
 */
export function rangePicker(query, standard, whole = "") {
  const range = rangeOf(query, standard);
  const isOwn = query.has("from") || query.has("to");
  const select = h("select", null,
    whole ? h("option", { value: "all" }, whole) : null,
    Object.entries(PRESETS).map(([value, [text]]) => h("option", { value }, text)),
    h("option", { value: "own" }, "From … to …"));
  select.value = isOwn ? "own" : query.get("range") ?? (standard || "all");
  const time = (/** @type {"from" | "to"} */ name, /** @type {string} */ text) => h("label", { hidden: !isOwn }, text, h("input", {
    type: "datetime-local", value: local(query.get(name)),
    onchange: (/** @type {Event} */ event) => {
      const { value } = /** @type {HTMLInputElement} */ (event.target);
      refine({ [name]: value && new Date(value).toISOString(), page: null, cursor: null });
    },
  }));
  select.addEventListener("change", () => refine(select.value === "own"
    ? { range: null, from: range.from ?? iso(now() - DAY), to: range.to ?? iso(now()), page: null, cursor: null }
    : { range: select.value === (standard || "all") ? null : select.value, from: null, to: null, page: null, cursor: null }));
  return [h("label", null, "Time", select), time("from", "From"), time("to", "To")];
}

/**
 * A field that searches while it is written in.
 * @param {URLSearchParams} query
 * @param {string} text its label
 */
export function searchField(query, text) {
  let timer = 0;
  return h("label", { class: "search" }, text, h("input", {
    type: "search", value: query.get("q") ?? "", maxlength: 255, placeholder: "Key: /", "data-shortcut": "/",
    oninput: (/** @type {Event} */ event) => {
      clearTimeout(timer);
      const { value } = /** @type {HTMLInputElement} */ (event.target);
      timer = window.setTimeout(() => refine({ q: value.trim(), page: null, cursor: null }), 250);
    },
  }));
}

/**
 * Page by page, in the address.
 * @param {number} page
 * @param {number} pages
 * @param {string} summary
 */
export function pager(page, pages, summary) {
  const step = (/** @type {number} */ to, /** @type {string} */ text) =>
    h("button", { type: "button", disabled: to < 1 || to > pages, onclick: () => refine({ page: to > 1 ? to : null }) }, text);
  return h("nav", { class: "actions pages", "aria-label": "Pages" }, h("span", { class: "dim", role: "status" }, summary),
    pages > 1 ? [step(page - 1, "← Before"), h("span", null, `Page ${page} of ${pages}`), step(page + 1, "Next →")] : null);
}
