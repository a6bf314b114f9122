/**
 * What narrows the list of schedules. All of it stands in the address.
 * @module
 */
import { quoted } from "../actions.js";
import { debounced, h } from "../lib.js";
import { refine } from "../router.js";

const TEXTS = [["tag", "Tag"], ["target", "Target"], ["owner", "Owner"], ["managed_by", "Managed by"]];

/**
 * What the server is asked for.
 * @param {URLSearchParams} query
 * @returns {Record<string, string | null>}
 */
export function whereOf(query) {
  const enabled = { enabled: "true", paused: "false" }[query.get("state") ?? ""] ?? null;
  return { q: query.get("q"), enabled, ...Object.fromEntries(TEXTS.map(([name]) => [name, query.get(name ?? "")])) };
}

/**
 * The same for the command line.
 * @param {URLSearchParams} query
 */
export function optionsOf(query) {
  const state = { enabled: " --enabled", paused: " --disabled" }[query.get("state") ?? ""] ?? "";
  return state + ["q", "sort", ...TEXTS.map(([name]) => name ?? "")].map((name) => {
    const value = query.get(name);
    return value ? ` --${name === "q" ? "search" : name.replace("_", "-")} ${quoted(value)}` : "";
  }).join("");
}

/** @param {URLSearchParams} query */
export function filterBar(query) {
  /** @type {Map<string, HTMLInputElement | HTMLSelectElement>} */
  const controls = new Map();
  // Another filter starts at the first page.
  const change = (/** @type {string} */ name) => refine({ [name]: controls.get(name)?.value.trim(), cursor: null, page: null });
  const soon = debounced(change, 250);
  const text = (/** @type {string} */ name, /** @type {string} */ label, /** @type {Record<string, unknown>} */ more = {}) => {
    const input = h("input", { value: query.get(name) ?? "", maxlength: 255, oninput: () => soon(name), ...more });
    controls.set(name, input);
    return h("label", null, label, input);
  };
  const choice = (/** @type {string} */ name, /** @type {string} */ label, /** @type {[string, string][]} */ options) => {
    const select = h("select", { onchange: () => change(name) }, options.map(([value, shown]) => h("option", { value }, shown)));
    select.value = query.get(name) ?? "";
    controls.set(name, select);
    return h("label", null, label, select);
  };
  const more = h("details", { open: TEXTS.some(([name]) => query.has(name ?? "")) }, h("summary", null, "More filters"),
    h("div", { class: "filters" }, TEXTS.map(([name = "", label = ""]) => text(name, label))));
  const element = h("form", { class: "filters", role: "search", "aria-label": "Schedules",
    onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
    text("q", "Search", { type: "search", placeholder: "Name, description, endpoint or tag", size: 34 }),
    choice("state", "State", [["", "All"], ["enabled", "Enabled"], ["paused", "Paused"]]),
    choice("sort", "Sorted by", [["", "Next fire"], ["name", "Name"], ["newest", "Newest"]]), more);
  return {
    element,
    search: /** @type {HTMLInputElement} */ (controls.get("q")),
    /** @param {URLSearchParams} now */
    update(now) {
      for (const [name, control] of controls) if (control !== document.activeElement) control.value = now.get(name) ?? "";
      if (TEXTS.some(([name]) => now.has(name ?? ""))) more.open = true;
    },
  };
}
