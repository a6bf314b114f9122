/**
 * What a person can do, each thing once: as a request, as the command line says it, and in words.
 * @module
 */
import { ApiError, fullUrl, part, send } from "./api.js";
import { confirmed, copyable, dialog, toast } from "./dialogs.js";
import { h } from "./lib.js";
import { link } from "./router.js";
import { may, session } from "./store.js";

/**
 * `done`: what is said when it was done. `question`: asked before, when it cannot be taken back.
 * @typedef {{label: string, method: string, path: string, body?: unknown, cli: string, permission: string,
 *   done: string, question?: string, danger?: boolean, key?: string}} Action
 */
/** @typedef {{id: string, name: string}} Named */
/** @typedef {{id: string, schedule_id: string}} OfRun */

const WRITE = "schedules:write";
/**
 * For a shell.
 * @param {string} text
 */
export const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
/** @param {OfRun} run */
const runPath = (run) => `/schedules/${part(run.schedule_id)}/runs/${part(run.id)}`;
/** @param {Named} schedule */
const schedulePath = (schedule) => `/schedules/${part(schedule.id)}`;

/** @param {Named} s @param {unknown} [payload] @returns {Action} */
export const trigger = (s, payload) => ({
  label: "Run now", method: "POST", path: `${schedulePath(s)}/trigger?wait=0`, permission: WRITE, key: "t",
  ...(payload === undefined ? {} : { body: { payload, payload_mode: "replace" } }),
  cli: `agentclock schedules trigger ${quoted(s.name)}${payload === undefined ? "" : ` --replace --payload ${quoted(JSON.stringify(payload))}`}`,
  done: `${s.name} was triggered.`,
});
/** @param {Named} s @returns {Action} */
export const pause = (s) => ({
  label: "Pause", method: "POST", path: `${schedulePath(s)}/disable`, permission: WRITE, key: "p",
  cli: `agentclock schedules disable ${quoted(s.name)}`, done: `${s.name} is paused: it fires no more until it is resumed.`,
});
/** @param {Named} s @returns {Action} */
export const resume = (s) => ({
  label: "Resume", method: "POST", path: `${schedulePath(s)}/enable`, permission: WRITE, key: "p",
  cli: `agentclock schedules enable ${quoted(s.name)}`, done: `${s.name} fires again from now on.`,
});
/** @param {Named} s @returns {Action} */
export const remove = (s) => ({
  label: "Delete", method: "DELETE", path: schedulePath(s), permission: "schedules:delete", danger: true,
  cli: `agentclock schedules delete ${quoted(s.name)} --yes`, done: `${s.name} is deleted.`,
  question: `“${s.name}” will fire no more and its waiting runs are cancelled. This cannot be taken back.`,
});
/** @param {OfRun} run @returns {Action} */
export const cancel = (run) => ({
  label: "Cancel", method: "POST", path: `${runPath(run)}/cancel?wait=0`, permission: "runs:cancel", key: "x",
  cli: `agentclock runs cancel ${quoted(run.id)}`, done: "Cancelling: the agent is told to stop.",
});
/** @param {OfRun} run @param {unknown} [payload] @returns {Action} */
export const retry = (run, payload) => ({
  label: payload === undefined ? "Run again" : "Run again with this payload", method: "POST", path: `${runPath(run)}/retry?wait=0`, permission: WRITE, key: "r",
  body: payload === undefined ? {} : { payload, payload_mode: "replace" },
  cli: `agentclock runs retry ${quoted(run.id)}${payload === undefined ? "" : ` --payload ${quoted(JSON.stringify(payload))}`}`,
  done: "Another run was made.",
});
/**
 * The answer of a person to a paused run. `answers` as /continue takes them.
 * @param {OfRun} run @param {boolean} isYes @param {Record<string, unknown>} [body] @returns {Action}
 */
export const decide = (run, isYes, body = {}) => ({
  label: isYes ? "Approve" : "Reject", method: "POST", path: `${runPath(run)}/continue?wait=0`, permission: "runs:approve",
  danger: !isYes, key: isYes ? "a" : undefined,
  body: { ...body, action: isYes ? "approve" : "reject" },
  cli: `agentclock runs ${isYes ? "approve" : "reject"} ${quoted(run.id)}`,
  done: isYes ? "Approved: the agent goes on." : "Rejected.",
});

/** @param {Action} action */
export const isAllowed = (action) => may(action.permission) || (["runs:cancel", "runs:approve"].includes(action.permission) && may(WRITE));

/**
 * Does it, asking first where that is due, and says how it went. Answers what the server answered, undefined when it
 * was not done.
 * @param {Action} action
 * @returns {Promise<any>}
 */
export async function perform(action) {
  if (action.question && !(await confirmed(`${action.label}?`, action.question, action.label, { danger: action.danger }))) return undefined;
  try {
    const answer = await send(action.method, action.path, action.body);
    const run = answer && answer.schedule_id && answer.fire_at ? answer : null;
    toast(action.done, "good", run && { href: link(["runs", run.schedule_id, run.id]), text: "Watch" });
    return answer ?? null;
  } catch (error) {
    if (await resumed(action, error)) return perform({ ...action, question: undefined });
    toast(`${action.label}: ${/** @type {Error} */ (error).message}`, "bad");
    return undefined;
  }
}

/**
 * Whether the schedule stood still, and was resumed so that this can be done: somebody was asked first.
 * @param {Action} action
 * @param {unknown} error
 */
async function resumed(action, error) {
  if (!(error instanceof ApiError) || error.status !== 409 || error.message !== "Schedule is disabled") return false;
  const text = "Its schedule is paused, and a paused schedule starts nothing, by its clock or by hand. "
    + "Once it is resumed, it also fires by its clock again.";
  if (!(await confirmed(`${action.label}: resume the schedule?`, text, `Resume and ${action.label[0].toLowerCase()}${action.label.slice(1)}`))) return false;
  const id = decodeURIComponent(action.path.split("/")[2]);
  return (await perform(resume({ id, name: "The schedule" }))) !== undefined;
}

/**
 * A button that does it; disabled while it is being done and for those who may not.
 * @param {Action} action
 * @param {{after?: (answer: any) => void, class?: string, label?: string, small?: boolean, about?: string}} [options]
 */
export function actionButton(action, options = {}) {
  const allowed = isAllowed(action);
  const button = h("button", {
    type: "button", class: [options.class ?? (action.danger ? "danger" : ""), options.small ? "small" : ""].join(" ").trim() || null,
    disabled: !allowed, title: allowed ? (action.key ? `Key: ${action.key}` : null) : "Your token does not allow this",
    "aria-label": options.about ? `${options.label ?? action.label}: ${options.about}` : null,
  }, options.label ?? action.label);
  button.addEventListener("click", async () => {
    button.disabled = true;
    const answer = await perform(action);
    button.disabled = false;
    if (answer !== undefined) options.after?.(answer);
  });
  return button;
}

/**
 * The request as curl does it.
 * @param {Action} action
 */
export function asCurl(action) {
  const lines = [`curl -X ${action.method} ${quoted(fullUrl(action.path))}`];
  if (session.value && session.value.mode !== "open") lines.push(`  -H "Authorization: Bearer $AGENTCLOCK_TOKEN"`);
  if (action.body !== undefined) lines.push("  -H 'Content-Type: application/json'", `  -d ${quoted(JSON.stringify(action.body))}`);
  return lines.join(" \\\n");
}

/**
 * A button that shows the commands for what can be done here.
 * @param {() => Action[]} actions
 */
export function commandsButton(actions) {
  return h("button", { type: "button", title: "The same from a shell (key: c)", "data-shortcut": "c", onclick: () => showCommands(actions()) }, "Commands");
}

/** @param {Action[]} actions */
export function showCommands(actions) {
  return dialog("The same from a shell", () => actions.map((action) =>
    h("section", { class: "command" }, h("h3", null, action.label),
      copyable(action.cli, `command line of ${action.label}`), copyable(asCurl(action), `curl of ${action.label}`)),
  ), { wide: true });
}
