/**
 * Fields of the editor: a label, a control, what it means, and what is wrong with it.
 * @module
 */
import { h } from "../lib.js";

/**
 * A control that carries the value of that name.
 * @template {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} C
 * @param {string} name
 * @param {C} element
 * @param {import("./editor-draft.js").Values} values
 * @returns {C}
 */
export function control(name, element, values) {
  element.id = `f-${name}`;
  element.name = name;
  element.value = values[name] ?? "";
  element.setAttribute("aria-describedby",
    `f-${name}-fault${element.getAttribute("aria-describedby") ? ` ${element.getAttribute("aria-describedby")}` : ""}`);
  return element;
}

/**
 * @param {string} name
 * @param {string} label
 * @param {HTMLElement} element as `control` makes it
 * @param {import("../lib.js").Child} [hint]
 */
export function field(name, label, element, hint) {
  if (hint) element.setAttribute("aria-describedby", `f-${name}-hint ${element.getAttribute("aria-describedby") ?? ""}`.trim());
  return h("div", { class: "field" }, h("label", { for: `f-${name}` }, label), element,
    hint && h("span", { class: "hint", id: `f-${name}-hint` }, hint), h("span", { class: "fault", id: `f-${name}-fault` }));
}

/**
 * @param {string} name
 * @param {string} label
 * @param {import("./editor-draft.js").Values} values
 * @param {import("../lib.js").Child} [hint]
 * @param {Record<string, unknown>} [more]
 */
export const textField = (name, label, values, hint, more = {}) => field(name, label,
  control(name, h("input", { autocomplete: "off", ...more }), values), hint);

/**
 * @param {string} name
 * @param {string} label
 * @param {import("./editor-draft.js").Values} values
 * @param {import("../lib.js").Child} [hint]
 * @param {number} [min]
 */
export const numberField = (name, label, values, hint, min = 0) => textField(name, label, values, hint,
  { type: "number", inputmode: "numeric", min, step: 1 });

/**
 * @param {string} name
 * @param {string} label
 * @param {import("./editor-draft.js").Values} values
 * @param {[string, string][]} options
 * @param {string} [describedBy]
 */
export const choiceField = (name, label, values, options, describedBy) => field(name, label,
  control(name, h("select", { "aria-describedby": describedBy ?? null }, options.map(([value, text]) => h("option", { value }, text))),
    values));
