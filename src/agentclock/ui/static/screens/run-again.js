/**
 * Running something again with another payload: an editor of JSON that says where a fault is and what differs from before.
 * @module
 */
import { perform, retry } from "../actions.js";
import { get, part } from "../api.js";
import { dialog, toast } from "../dialogs.js";
import { fill, freshId, h } from "../lib.js";
import { payloadField, readPayload } from "./schedule-payload.js";

/** Beyond so many lines the middle that differs is shown as a whole. */
const MOST_LINES = 400;

/**
 * Asks for the payload and runs it. Answers the new run, null when it was not made.
 * @param {{id: string, schedule_id: string}} run
 * @param {{payload?: unknown} | null} [schedule] when it is known already
 */
export async function editAndRunAgain(run, schedule = null) {
  /** @type {unknown} */
  let payload;
  try {
    const path = `/schedules/${part(run.schedule_id)}`;
    const [whole, of] = await Promise.all([get(`${path}/runs/${part(run.id)}`), schedule ?? get(path).catch(() => null)]);
    payload = payloadOf(whole, of);
  } catch (error) {
    toast(`The payload could not be read: ${/** @type {Error} */ (error).message}`, "bad");
    return null;
  }
  if (document.querySelector("dialog[open]")) return null; // it was asked for twice while the answer was on its way
  return dialog("Run again with another payload", (close) => editor(payload, async (changed, reason) => {
    const action = retry(run, changed);
    const answer = await perform({ ...action, body: { .../** @type {object} */ (action.body), ...(reason ? { reason } : {}) } });
    if (answer) close(answer);
  }, () => close(null)), { wide: true });
}

/**
 * What the run was given: its own payload, else the schedule's, else what is known to have been sent.
 * @param {any} run
 * @param {any} schedule
 */
export function payloadOf(run, schedule) {
  if (run.payload !== null && run.payload !== undefined) return run.payload;
  if (schedule) return schedule.payload ?? {};
  if (!run.input || !("input_content" in Object(run.input))) return run.input ?? {};
  const { input_content: message, user_id: _owner, ...rest } = run.input;
  return { message, ...rest };
}

/**
 * @param {unknown} before
 * @param {(payload: unknown, reason: string) => Promise<void>} send
 * @param {() => void} leave
 */
function editor(before, send, leave) {
  const old = JSON.stringify(before, null, 2);
  const difference = h("div", { class: "diff", role: "region", "aria-label": "Changes" });
  const field = payloadField({ text: old, label: "Payload", rows: 12, hint: "For this run only. The schedule's own stays as it is.",
    changed: look });
  const reason = h("input", { id: freshId("why"), maxlength: 500, autocomplete: "off" });
  const button = h("button", { type: "submit", class: "primary", title: "Ctrl+Enter" }, "Run again with this payload");
  function look() {
    const { value, fault } = readPayload(field.area.value);
    if (!fault) fill(difference, differences(old, JSON.stringify(value ?? {}, null, 2)));
  }
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const { value, fault } = field.check();
    if (fault) return field.area.focus();
    button.disabled = true;
    await send(value ?? {}, reason.value.trim());
    button.disabled = false;
  };
  field.area.setAttribute("autofocus", "");
  look();
  const form = h("form", { onsubmit: submit, onkeydown: (/** @type {KeyboardEvent} */ event) =>
    event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.requestSubmit() },
    field.element, h("div", { class: "field" }, h("h3", null, "Changes"), difference),
    h("div", { class: "field" }, h("label", { for: reason.id }, "Reason (optional)"), reason),
    h("footer", null, h("button", { type: "button", onclick: leave }, "Cancel"), button));
  return form;
}

/** @param {string} before @param {string} after */
export function differences(before, after) {
  if (before === after) return h("p", { class: "dim" }, "Nothing is changed yet: it would be the same payload again.");
  return h("pre", { tabindex: "0" }, lineDiff(before.split("\n"), after.split("\n")).map(([sign, line]) =>
    h(sign === "+" ? "ins" : sign === "-" ? "del" : "span", null, `${sign} ${line}\n`)));
}

/**
 * Lines with "+", "-" or " " before them; what is far from any change is left out.
 * @param {string[]} a
 * @param {string[]} b
 * @returns {[string, string][]}
 */
export function lineDiff(a, b) {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const [before, after] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  /** @type {[string, string][]} */
  const middle = before.length > MOST_LINES || after.length > MOST_LINES
    ? [...before.map((line) => /** @type {[string, string]} */ (["-", line])),
      ...after.map((line) => /** @type {[string, string]} */ (["+", line]))]
    : common(before, after);
  const around = (/** @type {string[]} */ lines) => lines.map((line) => /** @type {[string, string]} */ ([" ", line]));
  return [...around(a.slice(Math.max(0, start - 2), start)), ...middle, ...around(end ? a.slice(a.length - end).slice(0, 2) : [])];
}

/**
 * By the longest common subsequence.
 * @param {string[]} a
 * @param {string[]} b
 * @returns {[string, string][]}
 */
function common(a, b) {
  const best = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) best[i][j] = a[i] === b[j] ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
  }
  /** @type {[string, string][]} */
  const lines = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) lines.push([" ", a[i++]]), j++;
    else if (j >= b.length || (i < a.length && best[i + 1][j] >= best[i][j + 1])) lines.push(["-", a[i++]]);
    else lines.push(["+", b[j++]]);
  }
  return lines;
}
