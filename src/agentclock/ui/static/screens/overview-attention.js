/**
 * What somebody should look at, most urgent first, each with the one thing that helps.
 * @module
 */
import { get } from "../api.js";
import { actionButton, decide, resume, retry } from "../actions.js";
import { dateTime, fromNow } from "../format.js";
import { debounced, every, fill, h, keyed, say, svg } from "../lib.js";
import { link } from "../router.js";
import { BAD } from "../status.js";
import { connection, on } from "../store.js";

/**
 * @typedef {{kind: string, severity: string, schedule_id: string | null, schedule_name: string | null, run_id: string | null,
 *   since: string | null, count: number, title: string, hint: string | null}} Need
 */
const REFETCH_MS = 30_000;
const ROWS = 20;

/**
 * Shapes in a box of 16 by 16, and words.
 * @type {Record<string, [d: string, word: string]>}
 */
const SEVERITIES = {
  urgent: ["M8 1.5 15 14H1ZM8 6v4M8 12v.4", "Urgent"],
  warning: ["M8 1.5a6.5 6.5 0 1 0 .01 0M8 5v4M8 11v.4", "Warning"],
  notice: ["M2.5 2.5h11v11h-11ZM8 5v.4M8 7.5V11", "Notice"],
};

/** @param {HTMLElement} root @param {AbortSignal} signal */
export function attentionPanel(root, signal) {
  const list = h("ul", { class: "plain rows" });
  const note = h("p", { class: "loading" }, "Loading …");
  fill(root, h("header", null, h("h2", null, "Needs attention")), note, list);
  let fetchedAt = 0;

  async function load() {
    fetchedAt = performance.now();
    try {
      const { data } = await get(`/schedules/attention?limit=${ROWS}`, { signal });
      keyed(list, data, keyOf, (need) => tell(row(need, load), need), tell);
      note.className = "empty";
      note.hidden = data.length > 0;
      note.textContent = "All is well: nothing fails, waits or is overdue.";
    } catch (error) {
      if (signal.aborted) return;
      note.hidden = false;
      note.className = "error";
      note.textContent = /** @type {Error} */ (error).message;
    }
  }
  const soon = debounced(() => void (signal.aborted || load()), 2000);
  on("runs", (run) => run && (BAD.has(run.status) || run.status === "paused") && performance.now() - fetchedAt > 5000 && soon(), signal);
  on("schedules", soon, signal);
  on("connection", () => connection.state === "live" && fetchedAt && soon(), signal);
  every(() => connection.state !== "away" && performance.now() - fetchedAt >= REFETCH_MS && void load(), 1000, signal);
  void load();
}

/** @param {Need} need */
const keyOf = ({ kind, schedule_id, run_id, severity }) => [kind, schedule_id, run_id, severity].join(" ");

/** @param {Need} need @param {() => void} after */
function row(need, after) {
  const [shape, name] = SEVERITIES[need.severity] ?? SEVERITIES.notice;
  const { schedule_id: id, schedule_name: called } = need;
  return h("li", { class: "need" },
    h("span", { class: `badge v-${need.severity}` },
      svg("svg", { class: "mark", viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: shape })), name),
    h("div", null,
      h("p", null, id && [h("a", { href: link(["schedules", id]) }, called ?? id), ": "], h("span", { class: "what" })),
      h("p", { class: "dim more" })),
    h("div", { class: "actions" }, help(need, after)));
}

/**
 * What changes while it is shown.
 * @param {Element} element
 * @param {Need} need
 */
function tell(element, { since, title, hint }) {
  const began = since && `Since ${dateTime(since).replace(/:\d\d$/, "")}, ${fromNow(since)}.`;
  say(/** @type {Element} */ (element.querySelector(".what")), title);
  say(/** @type {Element} */ (element.querySelector(".more")), [began, hint].filter(Boolean).join(" "));
  return element;
}

/**
 * The one thing that helps.
 * @param {Need} need
 * @param {() => void} after
 */
function help({ kind, schedule_id, schedule_name, run_id, since, title }, after) {
  const schedule = { id: schedule_id ?? "", name: schedule_name ?? "" };
  const run = { id: run_id ?? "", schedule_id: schedule.id };
  const options = { small: true, about: schedule_name ?? title, after };
  const to = (/** @type {string} */ text, /** @type {string[]} */ path, /** @type {Record<string, unknown>} */ query = {}) =>
    h("a", { class: "button small", href: link(path, query), "aria-label": `${text}: ${schedule_name ?? title}` }, text);
  const open = run_id && to("Open run", ["runs", schedule.id, run_id]);
  switch (kind) {
    case "paused":
      return run_id && [actionButton(decide(run, true), options), actionButton(decide(run, false), options), open];
    case "disabled":
      return actionButton(resume(schedule), options);
    case "failing":
    case "lost":
      return run_id && [open, actionButton(retry(run), options)];
    case "long_running":
      return open;
    case "no_worker":
      return to("Workers", ["workers"]);
    default:
      return to("Why?", ["schedules", schedule.id], { at: since ?? "now" });
  }
}
