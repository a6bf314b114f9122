/**
 * What the command palette and the help for keys show.
 * @module
 */
import { get, withQuery } from "./api.js";
import { dialog } from "./dialogs.js";
import { shortcuts } from "./keys.js";
import { debounced, fill, freshId, h } from "./lib.js";
import { go, link } from "./router.js";

/** @typedef {{group: string, text: string, hint: string, act: () => void}} Entry */
const FOUND = 8;

/** @type {[text: string, path: string[], query?: Record<string, string>, keys?: string][]} */
const SCREENS = [
  ["Overview", [], {}, "g o"], ["Schedules", ["schedules"], {}, "g s"], ["New schedule", ["schedules", "new"], {}, "n"],
  ["Runs", ["runs"], {}, "g r"],
  ["Runs that wait for a person", ["runs"], { status: "paused" }], ["Runs at work", ["runs"], { status: "running,pending" }],
  ["Failures", ["failures"], {}, "g f"], ["Failures of yesterday", ["failures"], { range: "yesterday" }],
  ["Figures: lateness", ["figures"], {}, "g i"], ["Figures: accounts of every fire", ["figures"], { tab: "accounts" }],
  ["Figures: durations and cost", ["figures"], { tab: "durations" }],
  ["Workers", ["workers"], {}, "g w"], ["About", ["about"]],
];

/**
 * @param {{text: string, hash: string}[]} recent where one was, newest first
 * @param {string} text what was written already
 * @returns {Promise<Entry | null>} what was chosen
 */
export function palette(recent, text) {
  const here = actionsHere();
  const [listId, id] = [freshId("palette"), freshId("palette-input")];
  /** @type {Entry[]} */
  let shown = [];
  /** @type {Entry[]} */
  let schedules = [];
  let at = 0;
  return dialog("Search and commands", (close) => {
    const list = h("ul", { id: listId, role: "listbox", "aria-label": "Results", class: "plain palette" });
    const input = h("input", { id, type: "text", role: "combobox", autocomplete: "off", spellcheck: "false", "aria-expanded": "true",
      "aria-controls": listId, "aria-autocomplete": "list", "aria-label": "Search schedules, screens and commands",
      placeholder: "A schedule, a screen, a command …", value: text, autofocus: true, maxlength: 255 });
    const count = h("p", { class: "visually-hidden", role: "status" });
    const none = h("p", { class: "dim palette", hidden: true }, "Nothing is called that.");

    function paint() {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fits = (/** @type {Entry} */ entry) => words.every((word) => entry.text.toLowerCase().includes(word));
      const known = [...here, ...recent.map(toRecent), ...SCREENS.map(toScreen)].filter(fits);
      // Those that one writes for come first; without a word, what one did lately.
      const isHere = (/** @type {Entry} */ entry) => entry.group === "Here";
      shown = words.length ? [...known.filter(isHere), ...schedules, ...known.filter((entry) => !isHere(entry))] : known;
      at = Math.min(at, Math.max(0, shown.length - 1));
      let group = "";
      fill(list, shown.map((entry, index) => [
        entry.group === group ? null : h("li", { role: "presentation", class: "group" }, (group = entry.group)),
        h("li", { role: "option", id: `${listId}-${index}`, "aria-selected": String(index === at), onclick: () => close(entry),
          onmousemove: () => index === at || move(index) },
          h("span", null, entry.text), h("span", { class: "dim" }, entry.hint)),
      ]));
      [list.hidden, none.hidden] = [!shown.length, shown.length > 0];
      input.setAttribute("aria-expanded", String(shown.length > 0));
      count.textContent = `${shown.length} results`;
      move(at);
    }

    /** @param {number} to */
    function move(to) {
      if (!shown.length) return input.removeAttribute("aria-activedescendant");
      list.querySelector('[aria-selected="true"]')?.setAttribute("aria-selected", "false");
      at = (to + shown.length) % shown.length;
      const chosen = list.querySelector(`#${listId}-${at}`);
      chosen?.setAttribute("aria-selected", "true");
      chosen?.scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", `${listId}-${at}`);
    }

    const ask = debounced(async () => {
      const q = input.value.trim();
      const found = q ? await get(withQuery("/schedules", { q, limit: FOUND, sort: "name" })).catch(() => null) : null;
      if (q !== input.value.trim() || !input.isConnected) return;
      schedules = (found?.data ?? []).map(toSchedule);
      paint();
    }, 150);

    input.addEventListener("input", () => {
      at = 0;
      paint();
      ask();
    });
    input.addEventListener("keydown", (event) => {
      const steps = /** @type {Record<string, number>} */ ({ ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: shown.length - 1,
        PageDown: Math.min(at + 8, shown.length - 1), PageUp: Math.max(at - 8, 0) });
      if (event.key === "Enter" && !event.isComposing) close(shown[at] ?? null);
      else if (event.key in steps && !(/Home|End/.test(event.key) && input.value)) move(steps[event.key]);
      else return;
      event.preventDefault();
    });
    paint();
    if (text) ask();
    return h("div", { class: "palette-box" }, input, count, list, none,
      h("p", { class: "dim keys" }, h("kbd", null, "↑"), " ", h("kbd", null, "↓"), " choose ", h("kbd", null, "Enter"), " do it ",
        h("kbd", null, "Esc"), " close"));
  });
}

/** @param {any} one @returns {Entry} */
const toSchedule = (one) => ({ group: "Schedules", text: one.name, hint: one.enabled ? one.explanation ?? "" : "paused",
  act: () => go(link(["schedules", one.id])) });
/** @param {{text: string, hash: string}} one @returns {Entry} */
const toRecent = ({ text, hash }) => ({ group: "Lately", text, hint: "", act: () => go(hash) });
/** @param {(typeof SCREENS)[number]} screen @returns {Entry} */
const toScreen = ([text, path, query = {}, keys = ""]) => ({ group: "Go to", text, hint: keys, act: () => go(link(path, query)) });

/**
 * What can be done on the page that is shown.
 * @returns {Entry[]}
 */
function actionsHere() {
  const buttons = /** @type {HTMLElement[]} */ (Array.from(document.querySelectorAll("main [data-shortcut]:not(:disabled)")))
    .filter((button) => button.offsetParent && button.tagName !== "INPUT")
    .map((button) => ({ group: "Here", text: button.textContent?.trim() ?? "", hint: button.getAttribute("data-shortcut") ?? "",
      act: () => button.click() }));
  const keys = new Set(buttons.map((entry) => entry.hint));
  const bound = [...shortcuts].filter(({ group, keys: of }) => !/^(Everywhere|List|Run)$/.test(group) && !keys.has(of))
    .map(({ does, keys: hint, act }) => ({ group: "Here", text: does.charAt(0).toUpperCase() + does.slice(1), hint, act }));
  return [...buttons, ...bound];
}

export function help() {
  /** @type {Map<string, import("./keys.js").Shortcut[]>} */
  const groups = new Map();
  for (const shortcut of shortcuts) groups.set(shortcut.group, [...(groups.get(shortcut.group) ?? []), shortcut]);
  return dialog("Keys", () => h("div", { class: "grid help" }, [...groups].reverse().map(([group, all]) =>
    h("section", null, h("h3", null, group), h("dl", { class: "facts" }, all.map(({ keys, does }) => [
      h("dt", null, keys.split(" ").map((key, at) => [at ? " " : "", h("kbd", null, key)])), h("dd", null, does)]))))), { wide: true });
}
