/**
 * Payloads: JSON that people write, with the place of a fault, and a run with a payload of its own.
 * @module
 */
import { asCurl, perform, trigger } from "../actions.js";
import { copyable, dialog } from "../dialogs.js";
import { freshId, h, say } from "../lib.js";
import { jsonFault } from "./schedule-json.js";

/**
 * @typedef {{value: Record<string, any> | null, fault: string, at: number | null}} Read `at`: where the fault is, in characters
 */

/**
 * The payload that a text says; an empty one says none.
 * @param {string} text
 * @returns {Read}
 */
export function readPayload(text) {
  if (!text.trim()) return { value: null, fault: "", at: null };
  let isRounded = false;
  try {
    const value = JSON.parse(text, (_, part) => {
      isRounded ||= Number.isInteger(part) && !Number.isSafeInteger(part);
      return part;
    });
    if (value === null || typeof value !== "object" || Array.isArray(value)) return { value: null,
      fault: "A payload is a JSON object: { … }", at: 0 };
    return { value, fault: isRounded ? "It has a whole number that browsers round: write it as a text, or use the command line." : "",
      at: null };
  } catch (error) {
    return { value: null, ...placed(text, /** @type {Error} */ (error).message) };
  }
}

/** @param {string} text @param {string} message in the browser's words, for what we know no place of */
function placed(text, message) {
  const found = jsonFault(text);
  if (!found) return { fault: `Not JSON: ${message}`, at: null };
  const before = text.slice(0, found.at).split("\n");
  return { fault: `Not JSON, line ${before.length}, column ${(before.at(-1) ?? "").length + 1}: ${found.fault}.`, at: found.at };
}

/**
 * A field for a payload, which says what is wrong as one types.
 * @param {{text: string, label: string, hint?: string, id?: string, changed?: (text: string) => void, rows?: number}} options
 */
export function payloadField({ text, label, hint, id = freshId("payload"), changed, rows = 8 }) {
  const fault = h("span", { class: "fault", id: `${id}-fault`, "aria-live": "polite" });
  const area = h("textarea", { id, name: "payload", rows, spellcheck: "false", value: text, "aria-describedby": `${id}-hint ${id}-fault` });
  const there = h("button", { type: "button", class: "small", hidden: true }, "Go to the fault");
  const tidy = h("button", { type: "button", class: "small" }, "Tidy");
  const check = () => {
    const read = readPayload(area.value);
    say(fault, read.fault);
    if (read.fault) area.setAttribute("aria-invalid", "true");
    else area.removeAttribute("aria-invalid");
    there.hidden = read.at === null;
    return read;
  };
  area.addEventListener("input", () => (check(), changed?.(area.value)));
  there.addEventListener("click", () => {
    const { at } = check();
    area.focus();
    if (at !== null) area.setSelectionRange(at, Math.min(at + 1, area.value.length));
  });
  tidy.addEventListener("click", () => {
    const { value, fault: wrong } = check();
    if (value && !wrong) (area.value = JSON.stringify(value, null, 2)), changed?.(area.value);
  });
  const element = h("div", { class: "field" }, h("label", { for: id }, label), area, h("div", { class: "actions" }, fault, there, tidy),
    h("span", { class: "hint", id: `${id}-hint` }, hint ?? "A JSON object; empty: none."));
  check();
  return { element, area, check };
}

/** @param {any} schedule */
export async function askPayload(schedule) {
  await dialog(`Run ${schedule.name} with a payload`, (close) => {
    const field = payloadField({ text: schedule.payload ? JSON.stringify(schedule.payload, null, 2) : "{\n  \n}",
      label: "Payload of this run",
      hint: "For this run only, in place of the schedule's own.", rows: 12,
      // They are of the payload as it was.
      changed: () => commands.replaceChildren() });
    const commands = h("div");
    const action = () => trigger(schedule, field.check().value ?? {});
    const run = async () => {
      if (field.check().fault) return field.area.focus();
      if ((await perform(action())) !== undefined) close(true);
    };
    field.area.setAttribute("autofocus", "");
    field.element.addEventListener("keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey)
      && (event.preventDefault(), void run()));
    return [field.element, commands, h("footer", null,
      h("button", { type: "button", onclick: () => commands.replaceChildren(copyable(action().cli, "command line"),
        copyable(asCurl(action()), "curl")) }, "Commands"),
      h("button", { type: "button", onclick: () => close(null) }, "Cancel"),
      h("button", { type: "button", class: "primary", title: "Ctrl+Enter", onclick: run }, "Run now"))];
  }, { wide: true });
}
