/**
 * What is wrong, beside each field and as a list that leads to them.
 * @module
 */
import { fill, h, say } from "../lib.js";
import { fieldName } from "./schedule-words.js";

/** @typedef {{field: string, message: string}} Fault */

/**
 * The control for a field of the server, such as "tags.0".
 * @param {string} path
 */
function controlOf(path) {
  const name = path.split(".")[0] ?? "";
  return name === "interval_seconds" ? "every" : name;
}

export class Marks {
  /** @param {(name: string) => HTMLElement | null} find the control of a name */
  constructor(find) {
    this.find = find;
    /**
     * What is wrong with each control, by who says so.
     * @type {Map<string, Record<string, string>>}
     */
    this.marks = new Map();
    this.summary = h("div", { class: "note bad", tabindex: "-1", role: "group", "aria-labelledby": "faults-title", hidden: true });
  }

  /**
   * Those of the same `origin` that were there before are gone.
   * @param {Fault[]} faults
   * @param {string} origin
   */
  set(faults, origin) {
    for (const name of [...this.marks.keys()]) this.clear(name, origin);
    for (const { field, message } of faults) {
      const name = controlOf(field);
      this.marks.set(name, { ...this.marks.get(name), [origin]: message });
      this.show(name);
    }
  }

  /** @param {string} name @param {string} origin */
  clear(name, origin) {
    const mark = this.marks.get(name);
    if (!mark?.[origin]) return;
    delete mark[origin];
    this.show(name);
  }

  /** @param {string} name */
  show(name) {
    const text = Object.values(this.marks.get(name) ?? {})[0] ?? "";
    const place = document.getElementById(`f-${name}-fault`);
    const control = this.find(name);
    if (!control || !place) return;
    say(place, text);
    if (text) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  }

  /**
   * All of them at once, where the focus goes.
   * @param {Fault[]} faults
   */
  refuse(faults) {
    this.set(faults, "server");
    this.summary.hidden = false;
    fill(this.summary, h("h2", { id: "faults-title" }, faults.length === 1 ? "One thing is to be put right"
      : `${faults.length} things are to be put right`),
      h("ul", null, faults.map(({ field, message }) => h("li", null, this.find(controlOf(field))
        ? h("button", { type: "button", class: "quiet linklike", onclick: () => this.focus(controlOf(field)) },
          `${fieldName(field)}: ${message}`) : field ? `${fieldName(field)}: ${message}` : message))));
    this.summary.focus();
  }

  /** @param {string} name */
  focus(name) {
    const control = this.find(name);
    for (let box = control?.closest("details"); box; box = box.parentElement?.closest("details")) box.open = true;
    control?.focus();
  }
}
