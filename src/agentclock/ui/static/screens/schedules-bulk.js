/**
 * What is done to many schedules at once, and what came of each.
 * @module
 */
import { get, post, withQuery } from "../api.js";
import { showCommands } from "../actions.js";
import { confirmed, dialog, toast } from "../dialogs.js";
import { counted, number } from "../format.js";
import { h, say } from "../lib.js";
import { may } from "../store.js";

/** So many the server takes in one request. */
const BATCH = 1000;
/** A list of more lines is no help. */
const LINES = 500;

/** @typedef {{verb: string, label: string, done: string, permission: string, danger?: boolean}} Bulk */
/** @type {Bulk[]} */
const BULKS = [
  { verb: "enable", label: "Resume", done: "resumed", permission: "schedules:write" },
  { verb: "disable", label: "Pause", done: "paused", permission: "schedules:write" },
  { verb: "trigger", label: "Run now", done: "triggered", permission: "schedules:write" },
  { verb: "delete", label: "Delete", done: "deleted", permission: "schedules:delete", danger: true },
];

/**
 * @param {() => Map<string, string>} picked ids and names
 * @param {() => void} after
 */
export function bulkButtons(picked, after) {
  const button = (/** @type {Bulk} */ bulk) => h("button", {
    type: "button", class: bulk.danger ? "danger" : null, disabled: !may(bulk.permission),
    title: may(bulk.permission) ? null : "Your token does not allow this", "aria-label": `${bulk.label} the selected schedules`,
    onclick: async () => (await perform(bulk, picked())) && after(),
  }, bulk.label);
  const commands = () => {
    const ids = [...picked().keys()].slice(0, BATCH);
    void showCommands(BULKS.map(({ verb, label, permission }) => ({ label: `${label} these ${number(ids.length)}`, method: "POST",
      path: `/schedules/bulk/${verb}`, permission, body: { ids }, done: "", cli: asCommand(verb, ids) })));
  };
  return [...BULKS.map(button), h("button", { type: "button", onclick: commands }, "Commands")];
}

/** @param {string} verb @param {string[]} ids */
const asCommand = (verb, ids) => (verb === "trigger" ? `for id in ${ids.join(" ")}; do agentclock schedules trigger "$id"; done`
  : `agentclock schedules ${verb} ${ids.join(" ")}${verb === "delete" ? " --yes" : ""}`);

/** @param {Bulk} bulk @param {Map<string, string>} picked @returns {Promise<boolean>} whether it came to the end */
async function perform(bulk, picked) {
  const names = [...picked.values()];
  const some = names.slice(0, 10).join(", ") + (names.length > 10 ? ` and ${number(names.length - 10)} more` : "");
  if (!(await confirmed(`${bulk.label} ${counted(names.length, "schedule")}?`,
    `${some}.${bulk.danger ? " They will fire no more and their waiting runs are cancelled. This cannot be taken back." : ""}`,
    `${bulk.label} ${number(names.length)}`, { danger: bulk.danger }))) return false;
  const ids = [...picked.keys()];
  /** @type {{id: string, error: string}[]} */
  const failures = [];
  let done = 0;
  const isWhole = await inSteps(`${bulk.label} ${counted(ids.length, "schedule")}`, ids.length, async (from) => {
    const batch = ids.slice(from, from + BATCH);
    const answer = await post(`/schedules/bulk/${bulk.verb}`, { ids: batch });
    done += answer.done;
    for (const row of answer.data) if (!row.ok) failures.push({ id: row.id, error: row.error ?? `status ${row.status_code}` });
    return from + batch.length;
  });
  if (failures.length === 0 && done > 0) toast(`${counted(done, "schedule")} ${bulk.done}.`, "good");
  if (failures.length > 0) {
    await dialog(`${number(done)} ${bulk.done}, ${number(failures.length)} failed`, (close) => [
      h("ul", { class: "plain rows", tabindex: "0", "aria-label": "What failed" }, failures.slice(0, LINES).map(({ id, error }) =>
        h("li", null, h("strong", null, picked.get(id) ?? id), h("span", { class: "error" }, error)))),
      failures.length > LINES && h("p", { class: "dim" }, `and ${number(failures.length - LINES)} more`),
      h("footer", null, h("button", { type: "button", class: "primary", onclick: () => close(true) }, "Close"))], { wide: true });
  }
  return isWhole;
}

/**
 * Takes one step after the other while a dialog shows how far it is and lets a person stop it.
 * @param {string} title
 * @param {number} total
 * @param {(from: number) => Promise<number>} step answers how far it is now
 * @returns {Promise<boolean>} whether it came to the end
 */
async function inSteps(title, total, step) {
  const bar = h("progress", { max: total, value: 0, "aria-label": title });
  const text = h("p", { role: "status" }, "…");
  let isStopped = false;
  /** @type {(value: unknown) => void} */
  let shut = () => {};
  const shown = total > BATCH ? dialog(title, (close) => {
    shut = close;
    return [bar, text, h("footer", null, h("button", { type: "button", onclick: () => close(null) }, "Stop"))];
  }) : Promise.resolve(true);
  void shown.then((result) => (isStopped = result !== true));
  let at = 0;
  try {
    while (at < total && !isStopped) {
      const next = await step(at);
      if (next <= at) break;
      at = next;
      bar.value = at;
      say(text, `${number(at)} of ${number(total)}`);
    }
  } catch (error) {
    toast(`${title}: stopped after ${number(at)}: ${/** @type {Error} */ (error).message}`, "bad");
    isStopped = true;
  }
  shut(true);
  return !isStopped;
}

/**
 * Ids and names of all schedules that match.
 * @param {Record<string, unknown>} where
 * @param {number} total
 * @returns {Promise<Map<string, string> | null>} null: it was stopped
 */
export async function allThatMatch(where, total) {
  const found = new Map();
  let cursor = /** @type {string | null} */ (null);
  const isWhole = await inSteps("Looking for all that match", total, async () => {
    const { data, meta } = /** @type {any} */ (await get(withQuery("/schedules", { ...where, limit: BATCH, cursor })));
    for (const row of data) found.set(row.id, row.name);
    cursor = meta.next_cursor;
    return cursor ? found.size : total;
  });
  return isWhole ? found : null;
}
